package local;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.azure.core.amqp.AmqpRetryOptions;
import com.azure.core.amqp.AmqpTransportType;
import com.azure.core.amqp.models.AmqpAnnotatedMessage;
import com.azure.core.amqp.models.AmqpMessageBody;
import com.azure.core.exception.ResourceNotFoundException;
import com.azure.core.util.BinaryData;
import com.azure.messaging.servicebus.ServiceBusClientBuilder;
import com.azure.messaging.servicebus.ServiceBusException;
import com.azure.messaging.servicebus.ServiceBusFailureReason;
import com.azure.messaging.servicebus.ServiceBusMessage;
import com.azure.messaging.servicebus.ServiceBusMessageBatch;
import com.azure.messaging.servicebus.ServiceBusReceivedMessage;
import com.azure.messaging.servicebus.ServiceBusReceiverClient;
import com.azure.messaging.servicebus.ServiceBusRuleManagerClient;
import com.azure.messaging.servicebus.ServiceBusSenderClient;
import com.azure.messaging.servicebus.ServiceBusSessionReceiverClient;
import com.azure.messaging.servicebus.administration.ServiceBusAdministrationClient;
import com.azure.messaging.servicebus.administration.ServiceBusAdministrationClientBuilder;
import com.azure.messaging.servicebus.administration.models.CorrelationRuleFilter;
import com.azure.messaging.servicebus.administration.models.CreateQueueOptions;
import com.azure.messaging.servicebus.administration.models.CreateRuleOptions;
import com.azure.messaging.servicebus.administration.models.QueueProperties;
import com.azure.messaging.servicebus.administration.models.RuleProperties;
import com.azure.messaging.servicebus.administration.models.SqlRuleAction;
import com.azure.messaging.servicebus.administration.models.SqlRuleFilter;
import com.azure.messaging.servicebus.models.AbandonOptions;
import com.azure.messaging.servicebus.models.DeadLetterOptions;
import com.azure.messaging.servicebus.models.ServiceBusReceiveMode;
import com.azure.messaging.servicebus.models.SubQueue;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Collectors;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.api.Test;

/** A normal life of the official SDK against the local Service Bus, over TLS, over a WebSocket, and as an emulator. */
class ServiceBusTest {
    enum Way { TLS, WEBSOCKET, EMULATOR }

    private static final String TLS = System.getenv("AZURE_SERVICEBUS_TLS_CONNECTION_STRING");
    private static final ServiceBusAdministrationClient ADMIN =
        new ServiceBusAdministrationClientBuilder().connectionString(TLS).buildClient();

    private static ServiceBusClientBuilder client(Way way) {
        String text = way == Way.EMULATOR ? System.getenv("AZURE_SERVICEBUS_CONNECTION_STRING") : TLS;
        return new ServiceBusClientBuilder()
            .connectionString(text)
            .retryOptions(new AmqpRetryOptions().setMaxRetries(0).setTryTimeout(Duration.ofSeconds(20)))
            .transportType(way == Way.WEBSOCKET ? AmqpTransportType.AMQP_WEB_SOCKETS : AmqpTransportType.AMQP);
    }

    private static String queue(CreateQueueOptions options) {
        String name = "java-" + UUID.randomUUID();
        ADMIN.createQueue(name, options);
        return name;
    }

    private static String queue() {
        return queue(new CreateQueueOptions());
    }

    private static ServiceBusSenderClient sender(Way way, String queue) {
        return client(way).sender().queueName(queue).buildClient();
    }

    private static ServiceBusReceiverClient receiver(Way way, String queue) {
        return client(way).receiver().queueName(queue).disableAutoComplete().buildClient();
    }

    private static List<ServiceBusReceivedMessage> take(ServiceBusReceiverClient receiver, int count) {
        List<ServiceBusReceivedMessage> found = new ArrayList<>();
        for (int turn = 0; found.size() < count && turn < 5; turn++) {
            receiver.receiveMessages(count - found.size(), Duration.ofSeconds(10)).forEach(found::add);
        }
        assertEquals(count, found.size());
        return found;
    }

    @ParameterizedTest
    @EnumSource(Way.class)
    void messagesComeBackAsTheyWereSent(Way way) {
        String name = queue();
        try (ServiceBusSenderClient out = sender(way, name); ServiceBusReceiverClient in = receiver(way, name)) {
            ServiceBusMessage first = new ServiceBusMessage("one").setMessageId("m1").setSubject("s");
            first.getApplicationProperties().putAll(Map.of("n", 7, "text", "x", "yes", true));
            out.sendMessage(first);
            ServiceBusMessageBatch batch = out.createMessageBatch();
            for (int n = 0; n < 10; n++) {
                assertTrue(batch.tryAddMessage(new ServiceBusMessage(String.valueOf(n))));
            }
            out.sendMessages(batch);
            out.sendMessage(new ServiceBusMessage(AmqpMessageBody.fromValue("value")));
            out.sendMessage(new ServiceBusMessage(AmqpMessageBody.fromSequence(List.of(1, "b"))));
            List<ServiceBusReceivedMessage> found = take(in, 13);
            assertEquals("one", found.get(0).getBody().toString());
            assertEquals("m1", found.get(0).getMessageId());
            assertEquals(Map.of("n", 7, "text", "x", "yes", true), found.get(0).getApplicationProperties());
            assertEquals("9", found.get(10).getBody().toString());
            assertEquals("value", found.get(11).getRawAmqpMessage().getBody().getValue());
            assertEquals(List.of(1, "b"), found.get(12).getRawAmqpMessage().getBody().getSequence());
            for (ServiceBusReceivedMessage message : found) {
                assertTrue(in.renewMessageLock(message).isAfter(OffsetDateTime.now()));
                in.complete(message);
            }
            assertNull(in.peekMessage());
        }
    }

    @ParameterizedTest
    @EnumSource(Way.class)
    void settlements(Way way) {
        String name = queue(new CreateQueueOptions().setMaxDeliveryCount(3));
        try (ServiceBusSenderClient out = sender(way, name);
            ServiceBusReceiverClient in = receiver(way, name);
            ServiceBusReceiverClient letters = client(way).receiver().queueName(name).disableAutoComplete()
                .subQueue(SubQueue.DEAD_LETTER_QUEUE).buildClient()) {
            out.sendMessage(new ServiceBusMessage("poison"));
            for (int n = 0; n < 3; n++) {
                ServiceBusReceivedMessage message = take(in, 1).get(0);
                assertEquals(n, message.getDeliveryCount());
                in.abandon(message, new AbandonOptions().setPropertiesToModify(Map.of("tried", n)));
            }
            ServiceBusReceivedMessage letter = take(letters, 1).get(0);
            assertEquals("MaxDeliveryCountExceeded", letter.getDeadLetterReason());
            assertEquals(2, letter.getApplicationProperties().get("tried"));
            letters.complete(letter);

            out.sendMessage(new ServiceBusMessage("bad"));
            in.deadLetter(take(in, 1).get(0), new DeadLetterOptions().setDeadLetterReason("why")
                .setDeadLetterErrorDescription("because").setPropertiesToModify(Map.of("by", "me")));
            letter = take(letters, 1).get(0);
            assertEquals("why", letter.getDeadLetterReason());
            assertEquals("because", letter.getDeadLetterErrorDescription());
            assertEquals("me", letter.getApplicationProperties().get("by"));

            out.sendMessage(new ServiceBusMessage("later"));
            ServiceBusReceivedMessage message = take(in, 1).get(0);
            in.defer(message);
            in.complete(in.receiveDeferredMessage(message.getSequenceNumber()));
            ServiceBusException failure = assertThrows(ServiceBusException.class, () -> in.renewMessageLock(message));
            assertEquals(ServiceBusFailureReason.MESSAGE_LOCK_LOST, failure.getReason());
        }
        try (ServiceBusSenderClient out = sender(way, name);
            ServiceBusReceiverClient in = client(way).receiver().queueName(name)
                .receiveMode(ServiceBusReceiveMode.RECEIVE_AND_DELETE).buildClient()) {
            out.sendMessage(new ServiceBusMessage("gone"));
            assertEquals("gone", take(in, 1).get(0).getBody().toString());
        }
        assertEquals(0, ADMIN.getQueueRuntimeProperties(name).getActiveMessageCount());
    }

    @ParameterizedTest
    @EnumSource(Way.class)
    void scheduledMessages(Way way) {
        String name = queue();
        try (ServiceBusSenderClient out = sender(way, name); ServiceBusReceiverClient in = receiver(way, name)) {
            long never = out.scheduleMessage(new ServiceBusMessage("never"), OffsetDateTime.now().plusHours(1));
            out.cancelScheduledMessage(never);
            out.scheduleMessage(new ServiceBusMessage("now"), OffsetDateTime.now());
            assertEquals("now", take(in, 1).get(0).getBody().toString());
        }
    }

    @ParameterizedTest
    @EnumSource(Way.class)
    void sessions(Way way) {
        String name = queue(new CreateQueueOptions().setSessionRequired(true));
        try (ServiceBusSenderClient out = sender(way, name);
            ServiceBusSessionReceiverClient sessions = client(way).sessionReceiver().queueName(name)
                .disableAutoComplete().buildClient()) {
            for (int n = 0; n < 4; n++) {
                out.sendMessage(new ServiceBusMessage(String.valueOf(n)).setSessionId(n % 2 == 0 ? "a" : "b"));
            }
            try (ServiceBusReceiverClient mine = sessions.acceptSession("a");
                ServiceBusReceiverClient next = sessions.acceptNextSession()) {
                assertEquals("b", next.getSessionId());
                assertTrue(mine.renewSessionLock().isAfter(OffsetDateTime.now()));
                mine.setSessionState("state".getBytes());
                assertEquals("state", new String(mine.getSessionState()));
                mine.setSessionState(null);
                assertNull(mine.getSessionState());
                List<ServiceBusReceivedMessage> found = take(mine, 2);
                assertEquals("2", found.get(1).getBody().toString());
                found.forEach(mine::complete);
                assertThrows(RuntimeException.class, () -> sessions.acceptSession("b"));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Way.class)
    void rulesOfASubscription(Way way) {
        String topic = "java-topic-" + UUID.randomUUID();
        ADMIN.createTopic(topic);
        ADMIN.createSubscription(topic, "s");
        try (ServiceBusRuleManagerClient rules =
            client(way).ruleManager().topicName(topic).subscriptionName("s").buildClient()) {
            rules.createRule("big", new CreateRuleOptions(new SqlRuleFilter("n > 5"))
                .setAction(new SqlRuleAction("SET seen = 'yes'")));
            CorrelationRuleFilter correlation = new CorrelationRuleFilter().setLabel("mine");
            correlation.getProperties().put("k", "v");
            rules.createRule("mine", new CreateRuleOptions(correlation));
            rules.deleteRule("$Default");
            Map<String, RuleProperties> found =
                rules.listRules().stream().collect(Collectors.toMap(RuleProperties::getName, rule -> rule));
            assertEquals(2, found.size());
            assertEquals("n > 5", ((SqlRuleFilter) found.get("big").getFilter()).getSqlExpression());
            assertEquals(Map.of("k", "v"), ((CorrelationRuleFilter) found.get("mine").getFilter()).getProperties());
        }
        try (ServiceBusSenderClient out = client(way).sender().topicName(topic).buildClient();
            ServiceBusReceiverClient in = client(way).receiver().topicName(topic).subscriptionName("s")
                .disableAutoComplete().buildClient()) {
            for (int n = 0; n < 10; n++) {
                ServiceBusMessage message = new ServiceBusMessage(String.valueOf(n));
                message.getApplicationProperties().put("n", n);
                out.sendMessage(message);
            }
            List<ServiceBusReceivedMessage> found = take(in, 4);
            assertEquals("6", found.get(0).getBody().toString());
            assertEquals("yes", found.get(0).getApplicationProperties().get("seen"));
            found.forEach(in::complete);
        }
    }

    @Test
    void management() {
        assertEquals("Standard", ADMIN.getNamespaceProperties().getMessagingSku().toString());
        String name = queue(new CreateQueueOptions().setLockDuration(Duration.ofSeconds(45))
            .setBatchedOperationsEnabled(false).setUserMetadata("<mine>"));
        QueueProperties read = ADMIN.getQueue(name);
        assertEquals(Duration.ofSeconds(45), read.getLockDuration());
        assertEquals("<mine>", read.getUserMetadata());
        assertFalse(read.isBatchedOperationsEnabled());
        assertEquals(7, ADMIN.updateQueue(read.setMaxDeliveryCount(7)).getMaxDeliveryCount());
        assertTrue(ADMIN.getQueueExists(name));
        assertFalse(ADMIN.getQueueExists("nothing"));
        assertTrue(ADMIN.listQueues().stream().anyMatch(queue -> queue.getName().equals(name)));
        assertThrows(ResourceNotFoundException.class, () -> ADMIN.getQueue("nothing"));
        ADMIN.deleteQueue(name);

        String topic = "java-topic-" + UUID.randomUUID();
        ADMIN.createTopic(topic);
        ADMIN.createSubscription(topic, "s");
        SqlRuleFilter filter = new SqlRuleFilter("n > @n");
        filter.getParameters().put("@n", 5);
        ADMIN.createRule(topic, "sql", "s", new CreateRuleOptions(filter));
        assertEquals(2, ADMIN.listRules(topic, "s").stream().count());
        RuleProperties rule = ADMIN.getRule(topic, "s", "sql");
        assertEquals("5", String.valueOf(((SqlRuleFilter) rule.getFilter()).getParameters().get("@n")));
        assertEquals(1, ADMIN.listSubscriptions(topic).stream().count());
        ADMIN.deleteTopic(topic);
    }

    @Test
    void aKeyThatIsWrong() {
        String name = queue();
        try (ServiceBusSenderClient out = client(Way.TLS).connectionString(System.getenv("SERVICEBUS_TLS_WRONG_KEY"))
            .sender().queueName(name).buildClient()) {
            ServiceBusException failure =
                assertThrows(ServiceBusException.class, () -> out.sendMessage(new ServiceBusMessage("x")));
            assertEquals(ServiceBusFailureReason.UNAUTHORIZED, failure.getReason());
        }
    }
}
