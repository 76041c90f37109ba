// A normal life of the official SDK against the local Service Bus, over TLS and over a WebSocket.
package sdks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus/admin"
	"github.com/coder/websocket"
)

func env(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run this by `make sdks`", name)
	}
	return value
}

func trust(t *testing.T) *tls.Config {
	t.Helper()
	content, err := os.ReadFile(env(t, "AZURE_SERVICEBUS_CA_FILE"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(content)
	// The SDK takes the port for a part of the server's name wherever it isn't 5671.
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, found, wanted T) {
	t.Helper()
	if found != wanted {
		t.Fatalf("%v, expected %v", found, wanted)
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func openAdmin(t *testing.T) *admin.Client {
	t.Helper()
	transport := &http.Client{Transport: &http.Transport{TLSClientConfig: trust(t)}}
	options := &admin.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}}
	client, err := admin.NewClientFromConnectionString(env(t, "AZURE_SERVICEBUS_TLS_CONNECTION_STRING"), options)
	must(t, err)
	return client
}

var ways = map[string]func(*testing.T) *azservicebus.Client{
	"tls": func(t *testing.T) *azservicebus.Client {
		return open(t, env(t, "AZURE_SERVICEBUS_TLS_CONNECTION_STRING"), &azservicebus.ClientOptions{TLSConfig: trust(t)})
	},
	"websocket": func(t *testing.T) *azservicebus.Client {
		transport := &http.Client{Transport: &http.Transport{TLSClientConfig: trust(t)}}
		dial := func(ctx context.Context, args azservicebus.NewWebSocketConnArgs) (net.Conn, error) {
			options := &websocket.DialOptions{Subprotocols: []string{"amqp"}, HTTPClient: transport}
			connection, _, err := websocket.Dial(ctx, args.Host, options)
			if err != nil {
				return nil, err
			}
			return websocket.NetConn(context.Background(), connection, websocket.MessageBinary), nil
		}
		return open(t, env(t, "AZURE_SERVICEBUS_TLS_CONNECTION_STRING"), &azservicebus.ClientOptions{NewWebSocketConn: dial})
	},
	"emulator": func(t *testing.T) *azservicebus.Client {
		return open(t, env(t, "AZURE_SERVICEBUS_CONNECTION_STRING"), nil)
	},
}

func open(t *testing.T, text string, options *azservicebus.ClientOptions) *azservicebus.Client {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(text, options)
	must(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func overEachWay(t *testing.T, test func(*testing.T, *azservicebus.Client)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) { test(t, way(t)) })
	}
}

func queue(t *testing.T, properties *admin.QueueProperties) string {
	t.Helper()
	name := fmt.Sprintf("go-%d", time.Now().UnixNano())
	client := openAdmin(t)
	_, err := client.CreateQueue(within(t), name, &admin.CreateQueueOptions{Properties: properties})
	must(t, err)
	t.Cleanup(func() { _, _ = client.DeleteQueue(context.Background(), name, nil) })
	return name
}

func sender(t *testing.T, client *azservicebus.Client, name string) *azservicebus.Sender {
	t.Helper()
	opened, err := client.NewSender(name, nil)
	must(t, err)
	return opened
}

func receiver(t *testing.T, client *azservicebus.Client, name string, options *azservicebus.ReceiverOptions) *azservicebus.Receiver {
	t.Helper()
	opened, err := client.NewReceiverForQueue(name, options)
	must(t, err)
	return opened
}

type receives interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
}

func take(t *testing.T, from receives, count int) []*azservicebus.ReceivedMessage {
	t.Helper()
	var found []*azservicebus.ReceivedMessage
	for len(found) < count {
		messages, err := from.ReceiveMessages(within(t), count-len(found), nil)
		must(t, err)
		found = append(found, messages...)
	}
	return found
}

func TestMessagesComeBackAsTheyWereSent(t *testing.T) {
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		name := queue(t, nil)
		out, in := sender(t, client, name), receiver(t, client, name, nil)
		must(t, out.SendMessage(within(t), &azservicebus.Message{
			Body: []byte("one"), MessageID: to.Ptr("m1"), Subject: to.Ptr("s"), CorrelationID: to.Ptr("c"),
			ApplicationProperties: map[string]any{"n": int64(7), "text": "x", "yes": true},
		}, nil))
		must(t, out.SendMessage(within(t), &azservicebus.Message{}, nil))
		batch, err := out.NewMessageBatch(within(t), nil)
		must(t, err)
		for n := range 10 {
			must(t, batch.AddMessage(&azservicebus.Message{Body: []byte(fmt.Sprint(n))}, nil))
		}
		must(t, out.SendMessageBatch(within(t), batch, nil))
		found := take(t, in, 12)
		equal(t, string(found[0].Body), "one")
		equal(t, found[0].MessageID, "m1")
		equal(t, found[0].ApplicationProperties["n"], any(int64(7)))
		equal(t, len(found[1].Body), 0)
		equal(t, string(found[11].Body), "9")
		for _, message := range found {
			must(t, in.RenewMessageLock(within(t), message, nil))
			must(t, in.CompleteMessage(within(t), message, nil))
		}
		peeked, err := in.PeekMessages(within(t), 10, nil)
		must(t, err)
		equal(t, len(peeked), 0)
	})
}

func TestAnnotatedMessages(t *testing.T) {
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		name := queue(t, nil)
		out, in := sender(t, client, name), receiver(t, client, name, nil)
		must(t, out.SendAMQPAnnotatedMessage(within(t), &azservicebus.AMQPAnnotatedMessage{
			Body:   azservicebus.AMQPAnnotatedMessageBody{Value: "a value"},
			Footer: map[any]any{"crc": int64(1)},
		}, nil))
		must(t, out.SendAMQPAnnotatedMessage(within(t), &azservicebus.AMQPAnnotatedMessage{
			Body: azservicebus.AMQPAnnotatedMessageBody{Sequence: [][]any{{int64(1), "b"}}},
		}, nil))
		must(t, out.SendAMQPAnnotatedMessage(within(t), &azservicebus.AMQPAnnotatedMessage{
			Body: azservicebus.AMQPAnnotatedMessageBody{Data: [][]byte{[]byte("first"), []byte("second")}},
		}, nil))
		found := take(t, in, 3)
		equal(t, found[0].RawAMQPMessage.Body.Value, any("a value"))
		equal(t, found[1].RawAMQPMessage.Body.Sequence[0][1], any("b"))
		equal(t, string(found[2].RawAMQPMessage.Body.Data[1]), "second")
		again := found[0].Message()
		must(t, out.SendMessage(within(t), again, nil))
	})
}

func TestSettlements(t *testing.T) {
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		name := queue(t, &admin.QueueProperties{MaxDeliveryCount: to.Ptr[int32](3)})
		out, in := sender(t, client, name), receiver(t, client, name, nil)
		must(t, out.SendMessage(within(t), &azservicebus.Message{Body: []byte("poison")}, nil))
		for n := range 3 {
			message := take(t, in, 1)[0]
			equal(t, message.DeliveryCount, uint32(n+1))
			options := &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"tried": int64(n)}}
			must(t, in.AbandonMessage(within(t), message, options))
		}
		letters := receiver(t, client, name, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
		letter := take(t, letters, 1)[0]
		equal(t, *letter.DeadLetterReason, "MaxDeliveryCountExceeded")
		equal(t, letter.ApplicationProperties["tried"], any(int64(2)))
		must(t, letters.CompleteMessage(within(t), letter, nil))

		must(t, out.SendMessage(within(t), &azservicebus.Message{Body: []byte("bad")}, nil))
		message := take(t, in, 1)[0]
		must(t, in.DeadLetterMessage(within(t), message, &azservicebus.DeadLetterOptions{
			Reason: to.Ptr("why"), ErrorDescription: to.Ptr("because"), PropertiesToModify: map[string]any{"by": "me"},
		}))
		letter = take(t, letters, 1)[0]
		equal(t, *letter.DeadLetterReason+*letter.DeadLetterErrorDescription, "whybecause")
		equal(t, letter.ApplicationProperties["by"], any("me"))

		must(t, out.SendMessage(within(t), &azservicebus.Message{Body: []byte("later")}, nil))
		message = take(t, in, 1)[0]
		must(t, in.DeferMessage(within(t), message, nil))
		deferred, err := in.ReceiveDeferredMessages(within(t), []int64{*message.SequenceNumber}, nil)
		must(t, err)
		must(t, in.CompleteMessage(within(t), deferred[0], nil))

		mode := &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete}
		must(t, out.SendMessage(within(t), &azservicebus.Message{Body: []byte("gone")}, nil))
		equal(t, string(take(t, receiver(t, client, name, mode), 1)[0].Body), "gone")
	})
}

func TestALockThatIsLost(t *testing.T) {
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		name := queue(t, nil)
		out, in := sender(t, client, name), receiver(t, client, name, nil)
		must(t, out.SendMessage(within(t), &azservicebus.Message{Body: []byte("x")}, nil))
		message := take(t, in, 1)[0]
		must(t, in.CompleteMessage(within(t), message, nil))
		var failure *azservicebus.Error
		err := in.RenewMessageLock(within(t), message, nil)
		if !errors.As(err, &failure) || failure.Code != azservicebus.CodeLockLost {
			t.Fatalf("%v, expected a lost lock", err)
		}
	})
}

func TestScheduledMessages(t *testing.T) {
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		name := queue(t, nil)
		out, in := sender(t, client, name), receiver(t, client, name, nil)
		messages := []*azservicebus.Message{{Body: []byte("now")}, {Body: []byte("never")}}
		first, err := out.ScheduleMessages(within(t), messages[:1], time.Now(), nil)
		must(t, err)
		equal(t, len(first), 1)
		second, err := out.ScheduleMessages(within(t), messages[1:], time.Now().Add(time.Hour), nil)
		must(t, err)
		must(t, out.CancelScheduledMessages(within(t), second, nil))
		equal(t, string(take(t, in, 1)[0].Body), "now")
	})
}

func TestSessions(t *testing.T) {
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		name := queue(t, &admin.QueueProperties{RequiresSession: to.Ptr(true)})
		out := sender(t, client, name)
		for n := range 4 {
			session := to.Ptr([]string{"a", "b"}[n%2])
			must(t, out.SendMessage(within(t), &azservicebus.Message{Body: []byte(fmt.Sprint(n)), SessionID: session}, nil))
		}
		mine, err := client.AcceptSessionForQueue(within(t), name, "a", nil)
		must(t, err)
		next, err := client.AcceptNextSessionForQueue(within(t), name, nil)
		must(t, err)
		equal(t, mine.SessionID()+next.SessionID(), "ab")
		must(t, mine.RenewSessionLock(within(t), nil))
		for _, state := range [][]byte{[]byte("state"), nil} {
			must(t, mine.SetSessionState(within(t), state, nil))
			found, err := mine.GetSessionState(within(t), nil)
			must(t, err)
			equal(t, string(found), string(state))
			equal(t, found == nil, state == nil)
		}
		found := take(t, mine, 2)
		equal(t, string(found[0].Body)+string(found[1].Body), "02")
		for _, message := range found {
			must(t, mine.CompleteMessage(within(t), message, nil))
		}
		_, err = client.AcceptSessionForQueue(within(t), name, "b", nil)
		if err == nil || !strings.Contains(err.Error(), "com.microsoft:session-cannot-be-locked") {
			t.Fatalf("%v, expected a session that is locked", err)
		}
		must(t, mine.Close(within(t)))
		must(t, next.Close(within(t)))
	})
}

func TestManagement(t *testing.T) {
	client := openAdmin(t)
	info, err := client.GetNamespaceProperties(within(t), nil)
	must(t, err)
	equal(t, info.SKU, "Standard")
	name := queue(t, &admin.QueueProperties{
		LockDuration: to.Ptr("PT45S"), EnableBatchedOperations: to.Ptr(false), UserMetadata: to.Ptr("<mine>"),
	})
	read, err := client.GetQueue(within(t), name, nil)
	must(t, err)
	equal(t, *read.LockDuration+*read.UserMetadata, "PT45S<mine>")
	equal(t, *read.EnableBatchedOperations, false)
	read.MaxDeliveryCount = to.Ptr[int32](7)
	changed, err := client.UpdateQueue(within(t), name, read.QueueProperties, nil)
	must(t, err)
	equal(t, *changed.MaxDeliveryCount, 7)
	runtime, err := client.GetQueueRuntimeProperties(within(t), name, nil)
	must(t, err)
	equal(t, runtime.TotalMessageCount, int64(0))
	var names []string
	for pager := client.NewListQueuesPager(&admin.ListQueuesOptions{MaxPageSize: 1}); pager.More(); {
		page, err := pager.NextPage(within(t))
		must(t, err)
		for _, one := range page.Queues {
			names = append(names, one.QueueName)
		}
	}
	equal(t, slices.Contains(names, name), true)
	gone, err := client.GetQueue(within(t), "nothing", nil)
	must(t, err)
	equal(t, gone == nil, true)
}

func TestTopicsSubscriptionsAndRules(t *testing.T) {
	manager := openAdmin(t)
	topic := fmt.Sprintf("go-topic-%d", time.Now().UnixNano())
	_, err := manager.CreateTopic(within(t), topic, nil)
	must(t, err)
	defer func() { _, _ = manager.DeleteTopic(context.Background(), topic, nil) }()
	_, err = manager.CreateSubscription(within(t), topic, "s", nil)
	must(t, err)
	_, err = manager.CreateRule(within(t), topic, "s", &admin.CreateRuleOptions{
		Name:   to.Ptr("big"),
		Filter: &admin.SQLFilter{Expression: "n > @least", Parameters: map[string]any{"@least": int64(5)}},
		Action: &admin.SQLAction{Expression: "SET seen = 'yes'"},
	})
	must(t, err)
	_, err = manager.CreateRule(within(t), topic, "s", &admin.CreateRuleOptions{
		Name: to.Ptr("mine"), Filter: &admin.CorrelationFilter{Subject: to.Ptr("mine"), ApplicationProperties: map[string]any{"k": "v"}},
	})
	must(t, err)
	_, err = manager.DeleteRule(within(t), topic, "s", "$Default", nil)
	must(t, err)
	names := map[string]admin.RuleFilter{}
	for pager := manager.NewListRulesPager(topic, "s", nil); pager.More(); {
		page, err := pager.NextPage(within(t))
		must(t, err)
		for _, rule := range page.Rules {
			names[rule.Name] = rule.Filter
		}
	}
	equal(t, len(names), 2)
	equal(t, names["big"].(*admin.SQLFilter).Parameters["@least"], any(int64(5)))
	equal(t, *names["mine"].(*admin.CorrelationFilter).Subject, "mine")
	for pager := manager.NewListSubscriptionsPager(topic, nil); pager.More(); {
		page, err := pager.NextPage(within(t))
		must(t, err)
		for _, one := range page.Subscriptions {
			equal(t, one.SubscriptionName, "s")
		}
	}
	overEachWay(t, func(t *testing.T, client *azservicebus.Client) {
		out := sender(t, client, topic)
		for n := range 10 {
			must(t, out.SendMessage(within(t), &azservicebus.Message{ApplicationProperties: map[string]any{"n": int64(n)}}, nil))
		}
		in, err := client.NewReceiverForSubscription(topic, "s", nil)
		must(t, err)
		found := take(t, in, 4)
		equal(t, found[0].ApplicationProperties["n"], any(int64(6)))
		equal(t, found[0].ApplicationProperties["seen"], any("yes"))
		for _, message := range found {
			must(t, in.CompleteMessage(within(t), message, nil))
		}
	})
}

func TestAKeyThatIsWrong(t *testing.T) {
	name := queue(t, nil)
	text := env(t, "SERVICEBUS_TLS_WRONG_KEY")
	client := open(t, text, &azservicebus.ClientOptions{TLSConfig: trust(t), RetryOptions: azservicebus.RetryOptions{MaxRetries: -1}})
	var failure *azservicebus.Error
	err := sender(t, client, name).SendMessage(within(t), &azservicebus.Message{}, nil)
	if !errors.As(err, &failure) || failure.Code != azservicebus.CodeUnauthorizedAccess {
		t.Fatalf("%v, expected no access", err)
	}
}
