// A normal life of the official SDK against the local Pub/Sub.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PubSub } from "@google-cloud/pubsub";

test("Pub/Sub", async () => {
  assert.ok(process.env.PUBSUB_EMULATOR_HOST, "run this by `make sdks`");
  const client = new PubSub({ projectId: process.env.PUBSUB_PROJECT_ID });
  const [topic] = await client.createTopic(`node-${process.pid}`);
  const [subscription] = await topic.createSubscription(`node-${process.pid}`, {
    enableMessageOrdering: true, filter: 'attributes.kind = "mine"', ackDeadlineSeconds: 30,
  });
  const publisher = client.topic(topic.name, { messageOrdering: true });
  for (let n = 0; n < 20; n += 1) {
    await publisher.publishMessage({
      json: { n }, orderingKey: "k", attributes: { kind: n % 2 === 0 ? "mine" : "other" },
    });
  }
  const found = await new Promise((resolve, reject) => {
    const got = [];
    subscription.on("error", reject);
    subscription.on("message", (message) => {
      message.ack();
      got.push(JSON.parse(message.data.toString()).n);
      if (got.length === 10) {
        resolve(got);
      }
    });
  });
  assert.deepEqual(found, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  await subscription.close();
  await client.close();
});
