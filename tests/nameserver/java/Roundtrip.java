import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A producer sends, a consumer receives, both find the broker through a name server. It uses only what clients of 4.9 have too.
 *
 * <pre>
 * Roundtrip NAMESERVER TOPIC
 * </pre>
 */
public final class Roundtrip {
    private static final long WITHIN_MS = 60_000;
    private static final int MESSAGES = 8;

    public static void main(String[] arguments) throws Exception {
        run(arguments[0], arguments[1]);
        // Clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    static void run(String nameServer, String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("producers");
        producer.setNamesrvAddr(nameServer);
        producer.setInstanceName("producer-" + System.nanoTime());
        producer.start();
        for (int message = 0; message < MESSAGES; message++) {
            producer.send(new Message(topic, ("message " + message).getBytes(StandardCharsets.UTF_8)), WITHIN_MS);
        }
        producer.shutdown();

        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("consumers");
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName("consumer-" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        int received = 0;
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (received < MESSAGES && System.currentTimeMillis() < deadline) {
            List<MessageExt> messages = consumer.poll(1000);
            received += messages.size();
        }
        consumer.shutdown();
        System.out.println("received " + (received >= MESSAGES ? "all" : received + " of " + MESSAGES));
    }
}
