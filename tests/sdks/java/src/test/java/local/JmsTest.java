package local;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import com.azure.messaging.servicebus.administration.ServiceBusAdministrationClientBuilder;
import java.util.UUID;
import javax.jms.Connection;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** JMS by Apache Qpid against the local Service Bus: a key as SASL's user and password, with TLS and without. */
class JmsTest {
    enum Way { TLS, PLAIN }

    @ParameterizedTest
    @EnumSource(Way.class)
    void aNormalLife(Way way) throws Exception {
        String name = "jms-" + UUID.randomUUID();
        new ServiceBusAdministrationClientBuilder().connectionString(System.getenv("AZURE_SERVICEBUS_TLS_CONNECTION_STRING")).buildClient()
            .createQueue(name);
        String url = way == Way.TLS ? "amqps://localhost:5671" : "amqp://localhost:5672";
        JmsConnectionFactory factory = new JmsConnectionFactory("RootManageSharedAccessKey", "SAS_KEY_VALUE", url);
        try (Connection connection = factory.createConnection()) {
            connection.start();
            Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
            Queue queue = session.createQueue(name);
            MessageProducer producer = session.createProducer(queue);
            TextMessage text = session.createTextMessage("one");
            text.setIntProperty("n", 7);
            producer.send(text);
            producer.send(session.createMessage());
            MapMessage map = session.createMapMessage();
            map.setString("a", "b");
            producer.send(map);
            MessageConsumer consumer = session.createConsumer(queue);
            TextMessage first = (TextMessage) consumer.receive(20_000);
            assertEquals("one", first.getText());
            assertEquals(7, first.getIntProperty("n"));
            assertNotNull(consumer.receive(20_000));
            Message last = consumer.receive(20_000);
            assertEquals("b", ((MapMessage) last).getString("a"));
            last.acknowledge();
        }
    }
}
