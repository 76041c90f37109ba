// A normal life of the official SDK against the local Pub/Sub.
package sdks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestPubsub(t *testing.T) {
	env(t, "PUBSUB_EMULATOR_HOST")
	project := env(t, "PUBSUB_PROJECT_ID")
	client, err := pubsub.NewClient(within(t), project)
	must(t, err)
	defer client.Close()
	number := time.Now().UnixNano()
	topic := fmt.Sprintf("projects/%s/topics/go-%d", project, number)
	letters := topic + "-letters"
	for _, name := range []string{topic, letters} {
		_, err = client.TopicAdminClient.CreateTopic(within(t), &pubsubpb.Topic{Name: name})
		must(t, err)
	}
	ordered := fmt.Sprintf("projects/%s/subscriptions/go-%d", project, number)
	_, err = client.SubscriptionAdminClient.CreateSubscription(within(t), &pubsubpb.Subscription{
		Name: ordered, Topic: topic, EnableMessageOrdering: true, Filter: `attributes.kind = "mine"`,
		EnableExactlyOnceDelivery: true, AckDeadlineSeconds: 30,
		RetryPolicy: &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(time.Second)},
	})
	must(t, err)
	publisher := client.Publisher(topic)
	publisher.EnableMessageOrdering = true
	defer publisher.Stop()
	var results []*pubsub.PublishResult
	for n := range 20 {
		results = append(results, publisher.Publish(within(t), &pubsub.Message{
			Data: []byte(fmt.Sprint(n)), OrderingKey: "k", Attributes: map[string]string{"kind": []string{"mine", "other"}[n%2]},
		}))
	}
	for _, result := range results {
		_, err := result.Get(within(t))
		must(t, err)
	}
	ctx, cancel := context.WithCancel(within(t))
	var guard sync.Mutex
	var found []string
	must(t, client.Subscriber(ordered).Receive(ctx, func(ctx context.Context, message *pubsub.Message) {
		result := message.AckWithResult()
		if status, err := result.Get(ctx); err != nil || status != pubsub.AcknowledgeStatusSuccess {
			t.Errorf("ack: %v %v", status, err)
		}
		guard.Lock()
		defer guard.Unlock()
		found = append(found, string(message.Data))
		if len(found) == 10 {
			cancel()
		}
	}))
	equal(t, fmt.Sprint(found), "[0 2 4 6 8 10 12 14 16 18]")
}
