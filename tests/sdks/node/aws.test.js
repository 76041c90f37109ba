// A normal life of the official SDK against the local SNS and SQS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CreateTopicCommand, PublishCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import {
  CreateQueueCommand, DeleteMessageCommand, GetQueueAttributesCommand, GetQueueUrlCommand, QueueDoesNotExist,
  ReceiveMessageCommand, SetQueueAttributesCommand, SQSClient,
} from "@aws-sdk/client-sqs";

test("SNS and SQS", async () => {
  assert.ok(process.env.AWS_ENDPOINT_URL, "run this by `make sdks`");
  const queues = new SQSClient();
  const topics = new SNSClient();
  const name = `node-${process.pid}`;
  const { QueueUrl } = await queues.send(new CreateQueueCommand({ QueueName: name }));
  const { Attributes } = await queues.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }));
  const { TopicArn } = await topics.send(new CreateTopicCommand({ Name: name }));
  const statement = {
    Effect: "Allow", Principal: { Service: "sns.amazonaws.com" }, Action: "sqs:SendMessage", Resource: Attributes.QueueArn,
  };
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
  await queues.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }));
  await topics.send(new SubscribeCommand({
    TopicArn, Protocol: "sqs", Endpoint: Attributes.QueueArn,
    Attributes: { RawMessageDelivery: "true", FilterPolicy: JSON.stringify({ kind: ["mine"] }) },
  }));
  for (const kind of ["other", "mine"]) {
    const MessageAttributes = { kind: { DataType: "String", StringValue: kind } };
    await topics.send(new PublishCommand({ TopicArn, Message: kind, MessageAttributes }));
  }
  const receive = new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20, MessageAttributeNames: ["All"] });
  const { Messages } = await queues.send(receive);
  assert.deepEqual(Messages.map((one) => one.Body), ["mine"]);
  assert.equal(Messages[0].MessageAttributes.kind.StringValue, "mine");
  await queues.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: Messages[0].ReceiptHandle }));
  await assert.rejects(queues.send(new GetQueueUrlCommand({ QueueName: "nothing" })), QueueDoesNotExist);
});
