// A normal life of the official SDK against the local SNS and SQS.
package sdks

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestSnsAndSqs(t *testing.T) {
	env(t, "AWS_ENDPOINT_URL")
	settings, err := config.LoadDefaultConfig(within(t))
	must(t, err)
	queues, topics := sqs.NewFromConfig(settings), sns.NewFromConfig(settings)
	name := fmt.Sprintf("go-%d.fifo", time.Now().UnixNano())
	fifo := map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	queue, err := queues.CreateQueue(within(t), &sqs.CreateQueueInput{QueueName: &name, Attributes: fifo})
	must(t, err)
	asked, err := queues.GetQueueAttributes(within(t), &sqs.GetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	must(t, err)
	arn := asked.Attributes["QueueArn"]
	topic, err := topics.CreateTopic(within(t), &sns.CreateTopicInput{
		Name: &name, Attributes: map[string]string{"FifoTopic": "true", "ContentBasedDeduplication": "true"},
	})
	must(t, err)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},` +
		`"Action":"sqs:SendMessage","Resource":"` + arn + `"}]}`
	_, err = queues.SetQueueAttributes(within(t), &sqs.SetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, Attributes: map[string]string{"Policy": policy},
	})
	must(t, err)
	_, err = topics.Subscribe(within(t), &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &arn,
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	must(t, err)
	for n := range 3 {
		_, err = topics.Publish(within(t), &sns.PublishInput{
			TopicArn: topic.TopicArn, Message: aws.String(fmt.Sprint(n)), MessageGroupId: aws.String("g"),
		})
		must(t, err)
	}
	for n := range 3 {
		got, err := queues.ReceiveMessage(within(t), &sqs.ReceiveMessageInput{
			QueueUrl: queue.QueueUrl, WaitTimeSeconds: 20, MaxNumberOfMessages: 1,
		})
		must(t, err)
		equal(t, *got.Messages[0].Body, fmt.Sprint(n))
		_, err = queues.DeleteMessage(within(t), &sqs.DeleteMessageInput{
			QueueUrl: queue.QueueUrl, ReceiptHandle: got.Messages[0].ReceiptHandle,
		})
		must(t, err)
	}
	_, err = queues.GetQueueUrl(within(t), &sqs.GetQueueUrlInput{QueueName: aws.String("nothing")})
	var missing *types.QueueDoesNotExist
	if !errors.As(err, &missing) {
		t.Fatalf("%v, expected that there is no such queue", err)
	}
}
