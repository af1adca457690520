// What an official client (the Java SDK of RocketMQ 5, gRPC) does on a server that goes on with a directory which Fill.java made:
// everything that Apache's broker left open goes on, and new messages come.
//
//   java … Use ENDPOINT
//
// Exit code 0: all was as it had to be. What it leaves, for Apache's broker: a delayed message `later` that is due two minutes
// after the start, a half message that nobody decided, `popped-4` and `popped-5` not acked, readers three messages further.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;

public class Use {
    static final ClientServiceProvider SERVICE = ClientServiceProvider.loadService();
    static final Duration WITHIN = Duration.ofSeconds(100);
    static ClientConfiguration configuration;

    public static void main(String[] arguments) throws Exception {
        configuration = ClientConfiguration.newBuilder().setEndpoints(arguments[0]).enableSsl(false).build();
        long start = System.currentTimeMillis();
        AtomicInteger checks = new AtomicInteger();
        Producer producer = SERVICE.newProducerBuilder().setClientConfiguration(configuration)
            .setTopics("plain", "late", "deals")
            // Two of the three that Apache left are committed; the third stays undecided.
            .setTransactionChecker(view -> body(view).equals("undecided") && checks.getAndIncrement() < 2
                ? TransactionResolution.COMMIT : TransactionResolution.UNKNOWN)
            .build();
        for (int n = 0; n < 100; n++) {
            producer.send(message("plain", "new-" + n).build());
        }
        ByteBuffer bytes = ByteBuffer.allocate(256);
        for (int n = 0; n < 256; n++) {
            bytes.put(n, (byte) n);
        }
        producer.send(SERVICE.newMessageBuilder().setTopic("plain").setKeys("bytes").setTag("tag")
            .setBody(bytes.array()).build());
        producer.send(message("late", "soon").setDeliveryTimestamp(start + 10_000).build());
        producer.send(message("late", "later").setDeliveryTimestamp(start + 120_000).build());
        for (boolean isCommit : new boolean[] {true, false}) {
            Transaction transaction = producer.beginTransaction();
            producer.send(message("deals", isCommit ? "new-commit" : "new-rollback").build(), transaction);
            if (isCommit) {
                transaction.commit();
            } else {
                transaction.rollback();
            }
        }

        expect("un-acked", received("poppers", "popped", 4, 2),
            List.of("popped-2", "popped-3", "popped-4", "popped-5"));
        // Where the group's offsets were, a queue each.
        expect("offsets", heads(received("readers", "plain", 3, 3)), List.of("body-120", "body-124", "body-128"));
        expect("transactions", received("dealers", "deals", 5, 5),
            List.of("commit", "commit", "new-commit", "undecided", "undecided"));
        expect("delayed", received("sleepers", "late", 6, 6),
            List.of("level-1", "soon", "timer-0", "timer-1", "timer-2", "timer-3"));
        producer.close();
        System.exit(0);
    }

    static MessageBuilder message(String topic, String body) {
        return SERVICE.newMessageBuilder().setTopic(topic).setKeys(body).setTag("tag")
            .setBody(body.getBytes(StandardCharsets.UTF_8));
    }

    static String body(MessageView view) {
        return StandardCharsets.UTF_8.decode(view.getBody()).toString();
    }

    /** Bodies of `count` messages, sorted; the first `acked` of them, by body, are acked. Fails when they do not come in time. */
    static List<String> received(String group, String topic, int count, int acked) throws Exception {
        SimpleConsumer consumer = SERVICE.newSimpleConsumerBuilder().setClientConfiguration(configuration)
            .setConsumerGroup(group).setAwaitDuration(Duration.ofSeconds(5))
            .setSubscriptionExpressions(Collections.singletonMap(topic, FilterExpression.SUB_ALL)).build();
        long deadline = System.currentTimeMillis() + WITHIN.toMillis();
        List<MessageView> views = new ArrayList<>();
        Set<String> seen = new HashSet<>();
        while (views.size() < count && System.currentTimeMillis() < deadline) {
            for (MessageView view : consumer.receive(count - views.size(), Duration.ofSeconds(120))) {
                if (!seen.add(view.getMessageId().toString())) {
                    throw new IllegalStateException("twice: " + body(view));
                }
                views.add(view);
            }
        }
        views.sort((one, other) -> body(one).compareTo(body(other)));
        for (MessageView view : views.subList(0, Math.min(acked, views.size()))) {
            consumer.ack(view);
        }
        consumer.close();
        return views.stream().map(Use::body).toList();
    }

    static List<String> heads(List<String> bodies) {
        return bodies.stream().map(body -> body.substring(0, body.lastIndexOf('-'))).toList();
    }

    static void expect(String what, List<String> found, List<String> expected) {
        System.out.println(what + ": " + found);
        if (!found.equals(expected)) {
            System.err.println(what + ": expected " + expected);
            System.exit(1);
        }
    }
}
