package gantry.example;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.TransactionChecker;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;

/**
 * What the official Java SDK of RocketMQ can do, feature by feature, against any RocketMQ 5 endpoint.
 *
 * <p>Each feature sends, receives and checks for itself, then prints one line of JSON:
 * {@code {"sdk":"java","feature":"fifo","ok":true,"detail":"..."}}; {@code ok} is null where the SDK has no such
 * feature. The exit code is 1 if any feature failed. The other four SDKs have the same program in their own language.
 */
public final class Example {
    // Every wait ends.
    private static final Duration POLL = Duration.ofSeconds(5); // one long poll; Apache refuses shorter ones
    private static final Duration INVISIBLE = Duration.ofSeconds(10); // the shortest time to consume Apache accepts
    private static final Duration SHORTENED = Duration.ofSeconds(3); // what the time to consume is changed to
    private static final Duration ARRIVES_WITHIN = Duration.ofSeconds(30); // for a message that must come
    private static final Duration ABSENT_FOR = Duration.ofSeconds(8); // for a message that must not come
    private static final Duration NOT_REDELIVERED_FOR = INVISIBLE.plusSeconds(5);
    private static final Duration DELAY = Duration.ofSeconds(4);
    // The server asks after 6 to 40 s, depending on its settings.
    private static final Duration CHECK_BACK_WITHIN = Duration.ofSeconds(90);
    private static final Duration REDELIVERED_WITHIN = Duration.ofSeconds(60);
    private static final Duration FEATURE_WITHIN = Duration.ofSeconds(240); // for all of a feature
    // Clocks are read in milliseconds on both sides.
    private static final long EARLY_TOLERANCE_MS = 100;

    // Topics outlive a run, so each message says which run it belongs to; those of others are acknowledged and ignored.
    private static final String RUN = UUID.randomUUID().toString();

    private static final ClientServiceProvider SERVICE = ClientServiceProvider.loadService();

    private final ClientConfiguration configuration;
    private final String prefix;

    private Example(String endpoint, String prefix, boolean isPlaintext) {
        var builder = ClientConfiguration.newBuilder().setEndpoints(endpoint);
        if (isPlaintext) {
            builder.enableSsl(false); // TLS is the SDK's default
        }
        this.configuration = builder.build();
        this.prefix = prefix;
    }

    /** One thing that the SDK can do; returns what was seen, throws what went wrong. */
    private interface Feature {
        String show(Example example) throws Exception;
    }

    private static final Map<String, Feature> FEATURES = new LinkedHashMap<>();

    static {
        FEATURES.put("normal", Example::normal);
        FEATURES.put("fifo", Example::fifo);
        FEATURES.put("delay", Example::delay);
        FEATURES.put("transaction", Example::transaction);
        FEATURES.put("push", Example::push);
        FEATURES.put("recall", Example::recall);
        FEATURES.put("filter", Example::filter);
    }

    public static void main(String[] arguments) throws Exception {
        String feature = "all";
        String endpoint = System.getenv().getOrDefault("GANTRY_ENDPOINT", "127.0.0.1:8081");
        String prefix = "example";
        boolean isPlaintext = false;
        var rest = Arrays.asList(arguments).iterator();
        while (rest.hasNext()) {
            String argument = rest.next();
            if (argument.equals("--plaintext")) {
                isPlaintext = true;
            } else if (argument.equals("--endpoint") && rest.hasNext()) {
                endpoint = rest.next();
            } else if (argument.equals("--prefix") && rest.hasNext()) {
                prefix = rest.next();
            } else if (argument.equals("all") || argument.equals("stream") || FEATURES.containsKey(argument)) {
                feature = argument;
            } else {
                System.err.println("usage: run [" + String.join("|", FEATURES.keySet())
                    + "|all|stream] [--endpoint host:port] [--prefix example] [--plaintext]");
                System.exit(2);
            }
        }

        var example = new Example(endpoint, prefix, isPlaintext);
        if (feature.equals("stream")) {
            example.stream();
        }
        boolean hasFailed = false;
        for (String name : feature.equals("all") ? FEATURES.keySet() : List.of(feature)) {
            boolean ok;
            String detail;
            try {
                var task = new FutureTask<>(() -> FEATURES.get(name).show(example));
                new Thread(task, name).start();
                detail = task.get(FEATURE_WITHIN.toSeconds(), TimeUnit.SECONDS);
                ok = true;
            } catch (Exception error) { // a feature that fails must not keep the next from its turn
                detail = (error instanceof ExecutionException ? error.getCause() : error).toString();
                ok = false;
                hasFailed = true;
            }
            System.out.printf("{\"sdk\":\"java\",\"feature\":\"%s\",\"ok\":%b,\"detail\":\"%s\"}%n",
                name, ok, escaped(detail));
        }
        System.exit(hasFailed ? 1 : 0);
    }

    /** As the inside of a JSON string. */
    private static String escaped(String text) {
        var json = new StringBuilder();
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.toString();
    }

    private static void check(boolean condition, String complaint, Object... values) {
        if (!condition) {
            throw new IllegalStateException(String.format(complaint, values));
        }
    }

    private String topic(String feature) {
        return prefix + "-java-" + feature;
    }

    private Producer newProducer(String topic) throws ClientException {
        return SERVICE.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic).build();
    }

    private Inbox newInbox(String topic) throws ClientException {
        return newInbox(topic, topic + "-group", FilterExpression.SUB_ALL);
    }

    private Inbox newInbox(String topic, String group, FilterExpression expression) throws ClientException {
        return new Inbox(SERVICE.newSimpleConsumerBuilder()
            .setClientConfiguration(configuration)
            .setConsumerGroup(group)
            .setSubscriptionExpressions(Map.of(topic, expression))
            .setAwaitDuration(POLL)
            .build());
    }

    private static MessageBuilder newMessage(String topic, String body) {
        return SERVICE.newMessageBuilder()
            .setTopic(topic)
            .setBody(body.getBytes(StandardCharsets.UTF_8))
            .addProperty("run", RUN);
    }

    private static String text(MessageView message) {
        ByteBuffer body = message.getBody();
        return StandardCharsets.UTF_8.decode(body.duplicate()).toString();
    }

    private static boolean isOurs(MessageView message) {
        return RUN.equals(message.getProperties().get("run"));
    }

    /** A simple consumer that hands out this run's messages one by one. */
    private static final class Inbox implements Closeable {
        private final SimpleConsumer consumer;
        private final List<MessageView> fetched = new ArrayList<>();

        Inbox(SimpleConsumer consumer) {
            this.consumer = consumer;
        }

        /** The next message, or null once {@code deadline}, in {@link System#nanoTime()}, has passed. */
        MessageView next(long deadline) throws ClientException {
            while (true) {
                while (!fetched.isEmpty()) {
                    MessageView message = fetched.remove(0);
                    if (isOurs(message)) {
                        return message;
                    }
                    consumer.ack(message);
                }
                if (System.nanoTime() - deadline >= 0) {
                    return null;
                }
                fetched.addAll(consumer.receive(16, INVISIBLE));
            }
        }

        MessageView one() throws ClientException {
            MessageView message = next(System.nanoTime() + ARRIVES_WITHIN.toNanos());
            check(message != null, "no message within %s", ARRIVES_WITHIN);
            return message;
        }

        /** Receives and acknowledges until there are {@code count} messages or the time is over; sorted. */
        List<String> bodies(int count, Duration within) throws ClientException {
            long deadline = System.nanoTime() + within.toNanos();
            var bodies = new ArrayList<String>();
            while (bodies.size() < count) {
                MessageView message = next(deadline);
                if (message == null) {
                    break;
                }
                consumer.ack(message);
                bodies.add(text(message));
            }
            Collections.sort(bodies);
            return bodies;
        }

        void expect(Duration within, String... expected) throws ClientException {
            List<String> bodies = bodies(Math.max(1, expected.length), within);
            check(bodies.equals(List.of(expected)), "expected %s, delivered %s", List.of(expected), bodies);
        }

        @Override
        public void close() throws IOException {
            consumer.close();
        }
    }

    /** See {@link Stream}. */
    private void stream() throws Exception {
        String topic = topic("stream");
        try (Producer producer = newProducer(topic); Inbox inbox = newInbox(topic)) {
            new Stream().run(producer, inbox.consumer, body -> newMessage(topic, body).build());
        }
    }

    private String normal() throws Exception {
        String topic = topic("normal");
        try (Producer producer = newProducer(topic); Inbox inbox = newInbox(topic)) {
            producer.send(newMessage(topic, "hello")
                .setTag("greeting").setKeys("k1", "k2").addProperty("colour", "blue").build());

            MessageView first = inbox.one();
            check(text(first).equals("hello"), "body is %s", text(first));
            check(first.getTag().orElse("").equals("greeting"), "tag is %s", first.getTag());
            check(new TreeSet<>(first.getKeys()).equals(new TreeSet<>(List.of("k1", "k2"))), "keys are %s",
                first.getKeys());
            check("blue".equals(first.getProperties().get("colour")), "properties are %s", first.getProperties());
            check(first.getDeliveryAttempt() == 1, "first delivery is attempt %d", first.getDeliveryAttempt());

            inbox.consumer.changeInvisibleDuration(first, SHORTENED);
            long changedAt = System.nanoTime();
            MessageView second = inbox.one();
            long waitedMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - changedAt);
            check(second.getMessageId().equals(first.getMessageId()), "another message came instead of the redelivery");
            check(second.getDeliveryAttempt() == 2, "second delivery is attempt %d", second.getDeliveryAttempt());
            check(waitedMs > SHORTENED.toMillis() - EARLY_TOLERANCE_MS, "delivered again after %d ms, before its time",
                waitedMs);

            inbox.consumer.ack(second);
            inbox.expect(NOT_REDELIVERED_FOR);
        }
        return "body, tag, keys and properties arrived; invisible time shortened, delivered again as attempt 2; "
            + "acknowledged, not delivered again";
    }

    private String fifo() throws Exception {
        String topic = topic("fifo");
        List<String> groups = List.of("red", "green", "blue");
        List<String> expected = List.of("0", "1", "2", "3");
        try (Producer producer = newProducer(topic); Inbox inbox = newInbox(topic)) {
            for (String number : expected) {
                for (String group : groups) {
                    producer.send(newMessage(topic, number).setMessageGroup(group).build());
                }
            }

            var order = new HashMap<String, List<String>>();
            long deadline = System.nanoTime() + ARRIVES_WITHIN.toNanos();
            for (int count = 0; count < groups.size() * expected.size(); count++) {
                MessageView message = inbox.next(deadline);
                if (message == null) {
                    break;
                }
                inbox.consumer.ack(message);
                order.computeIfAbsent(message.getMessageGroup().orElse("none"), group -> new ArrayList<>())
                    .add(text(message));
            }
            for (String group : groups) {
                check(expected.equals(order.get(group)), "order in group %s is %s", group, order.get(group));
            }
        }
        return "12 messages in 3 groups arrived in order within each group";
    }

    private String delay() throws Exception {
        String topic = topic("delay");
        try (Producer producer = newProducer(topic); Inbox inbox = newInbox(topic)) {
            long due = System.currentTimeMillis() + DELAY.toMillis();
            producer.send(newMessage(topic, "later").setDeliveryTimestamp(due).build());

            MessageView arrived = inbox.one();
            long earlyMs = due - System.currentTimeMillis();
            inbox.consumer.ack(arrived);
            check(earlyMs < EARLY_TOLERANCE_MS, "delivered %d ms early", earlyMs);
        }
        return "delivered, not before its time";
    }

    private String transaction() throws Exception {
        String topic = topic("transaction");
        var wasAsked = new AtomicBoolean();
        // Answers the server's question from what this run decided; a real one would look into its database.
        TransactionChecker checker = message -> {
            if (!isOurs(message)) {
                return TransactionResolution.ROLLBACK;
            }
            wasAsked.set(true);
            return TransactionResolution.COMMIT;
        };
        var builder = SERVICE.newProducerBuilder()
            .setClientConfiguration(configuration).setTopics(topic).setTransactionChecker(checker);
        try (Producer producer = builder.build(); Inbox inbox = newInbox(topic)) {
            var committed = producer.beginTransaction();
            producer.send(newMessage(topic, "committed").build(), committed);
            committed.commit();

            var rolledBack = producer.beginTransaction();
            producer.send(newMessage(topic, "rolled back").build(), rolledBack);
            rolledBack.rollback();

            inbox.expect(ARRIVES_WITHIN, "committed");

            producer.send(newMessage(topic, "unresolved").build(), producer.beginTransaction());
            inbox.expect(CHECK_BACK_WITHIN, "unresolved");
            check(wasAsked.get(), "delivered without asking the checker");

            inbox.expect(ABSENT_FOR);
        }
        return "committed one delivered, unresolved one delivered after check-back, rolled back one not delivered";
    }

    private String push() throws Exception {
        String topic = topic("push");
        List<String> attempts = Collections.synchronizedList(new ArrayList<>());
        var threeAttempts = new CountDownLatch(3);
        // Refuses the first delivery of the message "second chance".
        var builder = SERVICE.newPushConsumerBuilder()
            .setClientConfiguration(configuration)
            .setConsumerGroup(topic + "-group")
            .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL))
            .setMessageListener(message -> {
                if (!isOurs(message)) {
                    return ConsumeResult.SUCCESS;
                }
                String attempt = text(message) + " " + message.getDeliveryAttempt();
                boolean isFirstFailure = attempt.equals("second chance 1") && !attempts.contains(attempt);
                attempts.add(attempt);
                threeAttempts.countDown();
                return isFirstFailure ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
            });
        try (Producer producer = newProducer(topic); var consumer = builder.build()) {
            producer.send(newMessage(topic, "straight").build());
            producer.send(newMessage(topic, "second chance").build());
            threeAttempts.await(REDELIVERED_WITHIN.toSeconds(), TimeUnit.SECONDS);
        }
        Collections.sort(attempts);
        check(attempts.equals(List.of("second chance 1", "second chance 2", "straight 1")), "attempts are %s", attempts);
        return "one message consumed at once, one refused and consumed as attempt 2";
    }

    private String recall() throws Exception {
        String topic = topic("recall");
        try (Producer producer = newProducer(topic); Inbox inbox = newInbox(topic)) {
            long due = System.currentTimeMillis() + DELAY.plusSeconds(2).toMillis();
            var recalled = producer.send(newMessage(topic, "recalled").setDeliveryTimestamp(due).build());
            producer.send(newMessage(topic, "kept").setDeliveryTimestamp(due).build());
            producer.recallMessage(topic, recalled.getRecallHandle());

            inbox.expect(ARRIVES_WITHIN, "kept");
            inbox.expect(ABSENT_FOR);
        }
        return "recalled message not delivered, the other one delivered";
    }

    private String filter() throws Exception {
        String topic = topic("filter");
        var tags = new FilterExpression("a || b", FilterExpressionType.TAG);
        var sql = new FilterExpression("(amount > 10 AND region = 'eu') OR region = 'us'", FilterExpressionType.SQL92);
        String[][] messages = {{"a", "20", "eu"}, {"b", "5", "eu"}, {"c", "30", "us"}};
        try (Producer producer = newProducer(topic);
             Inbox byTag = newInbox(topic, topic + "-group", tags);
             Inbox bySql = newInbox(topic, topic + "-sql-group", sql)) {
            for (String[] message : messages) {
                producer.send(newMessage(topic, message[0])
                    .setTag(message[0]).addProperty("amount", message[1]).addProperty("region", message[2]).build());
            }
            byTag.expect(ARRIVES_WITHIN, "a", "b");
            byTag.expect(ABSENT_FOR);
            bySql.expect(ARRIVES_WITHIN, "a", "c");
            bySql.expect(ABSENT_FOR);
        }
        return "tag a || b: 2 of 3 messages; SQL92: 2 of 3 messages";
    }
}
