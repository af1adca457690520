import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.consumer.store.RemoteBrokerOffsetStore;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A consumer group is moved from clients of 4.9 to clients of 5.x while messages are sent: one member after the other, and the producer.
 *
 * <pre>
 * Move NAMESERVER PROXY TOPIC    prints what it saw, or why it did not hold, with exit code 1
 * </pre>
 *
 * The topic and the group {@code <topic>-group} are there. What holds: every message is consumed; nothing that the group had committed
 * before the first 5.x member came is delivered to one; what is sent when the last 4.x member has left is delivered once. While there are
 * members of both, each kind has every message, from the first on that it gets.
 */
public final class Move {
    private static final Duration WITHIN = Duration.ofSeconds(90);
    /** The machine may be busy with something else. */
    private static final int API_MS = 30_000;
    private static final int SEND_EACH_MS = 5;
    /** Messages of each stage, at least. */
    private static final int STAGE = 200;

    private final String nameServer;
    private final ClientConfiguration proxy;
    private final String topic;
    private final ClientServiceProvider service = ClientServiceProvider.loadService();

    /** What each member has consumed, by text. */
    private final Map<String, List<String>> deliveries = new ConcurrentHashMap<>();
    private final List<String> acknowledged = Collections.synchronizedList(new ArrayList<>());
    private int sent;

    private Move(String nameServer, String proxy, String topic) {
        this.nameServer = nameServer;
        this.proxy = ClientConfiguration.newBuilder().setEndpoints(proxy).build();
        this.topic = topic;
    }

    public static void main(String[] arguments) {
        int code = 0;
        try {
            new Move(arguments[0], arguments[1], arguments[2]).run();
        } catch (Throwable failed) {
            failed.printStackTrace(System.out);
            code = 1;
        }
        // Clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    private void run() throws Exception {
        DefaultMQProducer oldProducer = oldProducer();
        Sender oldSender = text -> {
            byte[] body = text.getBytes(StandardCharsets.UTF_8);
            return oldProducer.send(new Message(topic, body)).getSendStatus() == SendStatus.SEND_OK;
        };
        DefaultMQPushConsumer first = oldMember("old-1");
        DefaultMQPushConsumer second = oldMember("old-2");
        // Until both have queues.
        await(() -> {
            send(oldSender, STAGE / 10);
            return has("old-1") && has("old-2");
        }, deliveries::toString);
        send(oldSender, STAGE);
        awaitAll();
        awaitCommitted(oldProducer);
        List<String> before = List.copyOf(acknowledged);

        // One member of each kind; from its first message on each kind has every message.
        newMember("new-1");
        first.shutdown();
        await(() -> {
            send(oldSender, STAGE / 10);
            return has("new-1");
        }, () -> "the first 5.x member gets nothing");
        int begun = acknowledged.size();
        send(oldSender, STAGE);
        Producer newProducer = service.newProducerBuilder().setClientConfiguration(proxy).setTopics(topic).build();
        Sender newSender = text -> {
            byte[] body = text.getBytes(StandardCharsets.UTF_8);
            newProducer.send(service.newMessageBuilder().setTopic(topic).setBody(body).build());
            return true;
        };
        oldProducer.shutdown();
        send(newSender, STAGE);
        awaitAll();
        newMember("new-2");
        second.shutdown();
        List<String> mixed = after(begun);

        // 5.x alone.
        await(() -> {
            send(newSender, STAGE / 10);
            return has("new-2");
        }, () -> "the second 5.x member gets nothing");
        send(newSender, STAGE);
        awaitAll();
        List<String> alone = after(begun + mixed.size());
        await(() -> mixed.stream().allMatch(text -> times(text, "new") > 0), () -> "5.x has not all of the time with both");

        for (String text : before) {
            check(times(text, "new") == 0, text + " was committed, and came again: " + deliveries.get(text));
        }
        for (String text : mixed) {
            check(times(text, "new") == 1 && times(text, "old") > 0, text + " of the time with both: " + deliveries.get(text));
        }
        for (String text : alone) {
            check(deliveries.get(text).size() == 1, text + " after the move: " + deliveries.get(text));
        }
        System.out.println("passed: " + acknowledged.size() + " messages acknowledged, " + before.size() + " before, "
            + mixed.size() + " with both, " + alone.size() + " after");
    }

    /** Sends one message, and says whether it was acknowledged. */
    private interface Sender {
        boolean send(String text) throws Exception;
    }

    private void send(Sender sender, int messages) {
        try {
            for (int number = 0; number < messages; number++) {
                String text = "message-" + sent++;
                check(sender.send(text), text);
                acknowledged.add(text);
                TimeUnit.MILLISECONDS.sleep(SEND_EACH_MS);
            }
        } catch (Exception failed) {
            throw new IllegalStateException(failed);
        }
    }

    private void awaitAll() throws Exception {
        Supplier<List<String>> missing = () -> {
            List<String> texts = new ArrayList<>(acknowledged);
            texts.removeIf(deliveries::containsKey);
            return texts;
        };
        await(() -> missing.get().isEmpty(), () -> "not consumed: " + missing.get());
    }

    /** Waits until the broker knows of all that was consumed. */
    private void awaitCommitted(DefaultMQProducer producer) throws Exception {
        var client = producer.getDefaultMQProducerImpl().getmQClientFactory();
        // One of its own: asking a member's would set its place back.
        RemoteBrokerOffsetStore store = new RemoteBrokerOffsetStore(client, topic + "-group");
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            long end = producer.maxOffset(queue);
            await(() -> store.readOffset(queue, ReadOffsetType.READ_FROM_STORE) == end, () -> queue + " is not committed");
        }
    }

    /** What was acknowledged behind so many others. */
    private List<String> after(int others) {
        return List.copyOf(acknowledged.subList(others, acknowledged.size()));
    }

    private boolean has(String member) {
        return deliveries.values().stream().anyMatch(members -> members.contains(member));
    }

    private long times(String text, String kind) {
        return deliveries.get(text).stream().filter(member -> member.startsWith(kind)).count();
    }

    private void consumed(String text, String member) {
        deliveries.computeIfAbsent(text, unused -> Collections.synchronizedList(new ArrayList<>())).add(member);
    }

    private DefaultMQProducer oldProducer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(topic + "-producers");
        producer.setNamesrvAddr(nameServer);
        producer.setSendMsgTimeout(API_MS);
        producer.setMqClientApiTimeout(API_MS);
        producer.start();
        return producer;
    }

    private DefaultMQPushConsumer oldMember(String name) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-group");
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName(name);
        consumer.setMqClientApiTimeout(API_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(one -> consumed(new String(one.getBody(), StandardCharsets.UTF_8), name));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private void newMember(String name) throws Exception {
        service.newPushConsumerBuilder()
            .setClientConfiguration(proxy)
            .setConsumerGroup(topic + "-group")
            .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL))
            .setMessageListener(message -> {
                consumed(text(message), name);
                return ConsumeResult.SUCCESS;
            })
            .build();
    }

    private static String text(MessageView message) {
        return StandardCharsets.UTF_8.decode(message.getBody().duplicate()).toString();
    }

    private static void check(boolean holds, Object shown) {
        if (!holds) {
            throw new AssertionError(shown);
        }
    }

    private static void await(BooleanSupplier holds, Supplier<String> shown) throws Exception {
        long deadline = System.nanoTime() + WITHIN.toNanos();
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < deadline, shown.get());
            TimeUnit.MILLISECONDS.sleep(50);
        }
    }
}
