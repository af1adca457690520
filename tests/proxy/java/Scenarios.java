import apache.rocketmq.v2.Code;
import apache.rocketmq.v2.Message;
import apache.rocketmq.v2.MessagingServiceGrpc;
import apache.rocketmq.v2.Resource;
import apache.rocketmq.v2.SendMessageRequest;
import apache.rocketmq.v2.SendMessageResponse;
import apache.rocketmq.v2.SystemProperties;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.java.message.MessageIdCodec;
import org.apache.rocketmq.shaded.com.google.protobuf.ByteString;
import org.apache.rocketmq.shaded.io.grpc.ManagedChannel;
import org.apache.rocketmq.shaded.io.grpc.ManagedChannelBuilder;
import org.apache.rocketmq.shaded.io.grpc.Metadata;
import org.apache.rocketmq.shaded.io.grpc.stub.MetadataUtils;

/**
 * What the Java example does not show: a batch of messages in one send, where a message goes whose attempts are used up, and a lease that
 * is prolonged while its consumer works.
 *
 * <pre>
 * Scenarios batch|dead-letter|auto-renew --endpoint HOST:PORT
 * </pre>
 *
 * It prints a line of JSON as the examples do; the exit code is 1 if it did not hold. Topics are example-java-NAME, groups
 * {@code <topic>-group}; that of dead-letter has two attempts, and its dead-letter topic is there with a group of its own. Messages are
 * received with the SDK's consumers; the SDK has no batches, so these are sent with its stubs. auto-renew takes two minutes.
 */
public final class Scenarios {
    /** One long poll; Apache refuses shorter ones. */
    private static final Duration POLL = Duration.ofSeconds(5);
    /** The shortest time to consume that Apache accepts. */
    private static final Duration INVISIBLE = Duration.ofSeconds(10);
    private static final Duration ARRIVES_WITHIN = Duration.ofSeconds(60);
    private static final int BATCH = 3;
    /** Of the group's settings. */
    private static final int DELIVERIES = 2;
    /** A refused message comes again after it. */
    private static final Duration AGAIN_AFTER = Duration.ofSeconds(1);
    /** At first, and each time that it is prolonged. */
    private static final Duration LEASED_FOR = Duration.ofSeconds(60);
    private static final Duration NEEDED = LEASED_FOR.plusSeconds(15);
    private static final Duration SEND_EACH = Duration.ofSeconds(2);

    private static final ClientServiceProvider SERVICE = ClientServiceProvider.loadService();

    private final String endpoint;
    private final String topic;
    private final ClientConfiguration configuration;

    private Scenarios(String endpoint, String name) {
        this.endpoint = endpoint;
        this.topic = "example-java-" + name;
        this.configuration = ClientConfiguration.newBuilder().setEndpoints(endpoint).build();
    }

    public static void main(String[] arguments) {
        if (arguments.length != 3 || !arguments[1].equals("--endpoint")) {
            System.err.println("usage: Scenarios batch|dead-letter|auto-renew --endpoint HOST:PORT");
            System.exit(2);
        }
        String name = arguments[0];
        boolean ok = true;
        String detail;
        try {
            detail = new Scenarios(arguments[2], name).show(name);
        } catch (Throwable failed) {
            ok = false;
            detail = failed.toString();
        }
        String escaped = detail.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ");
        System.out.printf("{\"sdk\":\"java\",\"feature\":\"%s\",\"ok\":%b,\"detail\":\"%s\"}%n", name, ok, escaped);
        // Clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(ok ? 0 : 1);
    }

    private String show(String name) throws Exception {
        switch (name) {
            case "batch": return batch();
            case "dead-letter": return deadLetter();
            case "auto-renew": return autoRenew();
            default: throw new IllegalArgumentException(name);
        }
    }

    /** Sends messages in one request and receives each. */
    private String batch() throws Exception {
        Inbox inbox = new Inbox(topic, group());
        List<String> bodies = new ArrayList<>();
        for (int number = 0; number < BATCH; number++) {
            bodies.add(UUID.randomUUID().toString());
        }
        Set<String> ids = sendAll(bodies);
        check(ids.size() == BATCH, "ids are " + ids);
        List<String> found = new ArrayList<>();
        for (MessageView message : inbox.receiveAll(bodies)) {
            found.add(text(message));
            inbox.consumer.ack(message);
        }
        Collections.sort(found);
        Collections.sort(bodies);
        check(found.equals(bodies), "sent " + bodies + ", delivered " + found);
        return BATCH + " messages of one send stored and delivered";
    }

    /** Sends messages in one request and answers their ids. */
    private Set<String> sendAll(List<String> bodies) {
        SendMessageRequest.Builder request = SendMessageRequest.newBuilder();
        for (String body : bodies) {
            String id = MessageIdCodec.getInstance().nextMessageId().toString();
            request.addMessages(Message.newBuilder()
                .setTopic(Resource.newBuilder().setName(topic))
                .setSystemProperties(SystemProperties.newBuilder().setMessageId(id))
                .setBody(ByteString.copyFromUtf8(body)));
        }
        Metadata client = new Metadata();
        client.put(Metadata.Key.of("x-mq-client-id", Metadata.ASCII_STRING_MARSHALLER), UUID.randomUUID().toString());
        client.put(Metadata.Key.of("x-mq-language", Metadata.ASCII_STRING_MARSHALLER), "JAVA");
        ManagedChannel channel = ManagedChannelBuilder.forTarget(endpoint).usePlaintext().build();
        SendMessageResponse answer = MessagingServiceGrpc.newBlockingStub(channel)
            .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(client))
            .withDeadlineAfter(ARRIVES_WITHIN.toSeconds(), TimeUnit.SECONDS)
            .sendMessage(request.build());
        channel.shutdown();
        check(answer.getStatus().getCode() == Code.OK, answer);
        Set<String> ids = new HashSet<>();
        answer.getEntriesList().forEach(entry -> {
            check(entry.getStatus().getCode() == Code.OK, answer);
            // Apache's proxy has one entry with all ids.
            ids.addAll(Arrays.asList(entry.getMessageId().split(",")));
        });
        return ids;
    }

    /** Refuses a message in each of its attempts, and finds it among the dead letters. */
    private String deadLetter() throws Exception {
        Inbox inbox = new Inbox(topic, group());
        Inbox undertaker = new Inbox("%DLQ%" + group(), topic + "-dead-group");
        List<String> body = List.of(UUID.randomUUID().toString());
        send(producer(), body.get(0));
        for (int attempt = 1; attempt <= DELIVERIES; attempt++) {
            MessageView message = inbox.receiveAll(body).get(0);
            int found = message.getDeliveryAttempt();
            check(found == attempt, "attempt is " + found + ", expected " + attempt);
            inbox.consumer.changeInvisibleDuration(message, AGAIN_AFTER);
        }
        int letters = 0;
        // Apache's proxy moves it away when somebody asks for messages.
        for (long deadline = deadline(); letters == 0 && System.nanoTime() < deadline;) {
            check(inbox.receive(body).isEmpty(), "delivered once more");
            letters += undertaker.receive(body).size();
        }
        check(letters == 1, letters + " dead letters");
        return "refused in both of " + DELIVERIES + " attempts: among the dead letters, not delivered again";
    }

    /** Consumes a message for longer than it was leased for, with a push consumer, whose leases are prolonged. */
    private String autoRenew() throws Exception {
        String body = UUID.randomUUID().toString();
        List<Integer> attempts = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch arrived = new CountDownLatch(1);
        CountDownLatch consumed = new CountDownLatch(1);
        SERVICE.newPushConsumerBuilder()
            .setClientConfiguration(configuration)
            .setConsumerGroup(group())
            .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL))
            .setMessageListener(message -> {
                if (text(message).equals(body)) {
                    attempts.add(message.getDeliveryAttempt());
                    arrived.countDown();
                    pause(NEEDED);
                    consumed.countDown();
                }
                return ConsumeResult.SUCCESS;
            })
            .build();
        // A group that is new begins at the end, when it first asks; what came before is not for it.
        Producer producer = producer();
        long deadline = deadline();
        while (!arrived.await(SEND_EACH.toMillis(), TimeUnit.MILLISECONDS)) {
            check(System.nanoTime() < deadline, "nothing arrives");
            send(producer, body);
        }
        check(consumed.await(NEEDED.plus(ARRIVES_WITHIN).toSeconds(), TimeUnit.SECONDS), "the listener does not come back");
        // The last lease is over then.
        pause(LEASED_FOR);
        // Those that were sent while the group began may come besides, each once.
        check(attempts.stream().allMatch(attempt -> attempt == 1), "delivered again: attempts are " + attempts);
        return "consumed for " + NEEDED.toSeconds() + " s by a lease of " + LEASED_FOR.toSeconds()
            + " s, acknowledged, not delivered again";
    }

    /** A simple consumer. A group that is new begins at the end of its topic: it is there once it has asked. */
    private final class Inbox {
        final SimpleConsumer consumer;

        Inbox(String topic, String group) throws ClientException {
            consumer = SERVICE.newSimpleConsumerBuilder()
                .setClientConfiguration(configuration)
                .setConsumerGroup(group)
                .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL))
                .setAwaitDuration(POLL)
                .build();
            receive(List.of());
        }

        /** Waits once, and hands out the messages with these bodies; others are of earlier runs, and acknowledged. */
        List<MessageView> receive(List<String> bodies) throws ClientException {
            List<MessageView> found = new ArrayList<>();
            for (MessageView message : consumer.receive(16, INVISIBLE)) {
                if (bodies.contains(text(message))) {
                    found.add(message);
                } else {
                    consumer.ack(message);
                }
            }
            return found;
        }

        /** Receives until there are as many messages as bodies. */
        List<MessageView> receiveAll(List<String> bodies) throws ClientException {
            List<MessageView> found = new ArrayList<>();
            for (long deadline = deadline(); found.size() < bodies.size();) {
                check(System.nanoTime() < deadline, found.size() + " of " + bodies.size() + " messages came");
                found.addAll(receive(bodies));
            }
            return found;
        }
    }

    private String group() {
        return topic + "-group";
    }

    private Producer producer() throws ClientException {
        return SERVICE.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic).build();
    }

    private void send(Producer producer, String body) throws ClientException {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        producer.send(SERVICE.newMessageBuilder().setTopic(topic).setBody(bytes).build());
    }

    private static String text(MessageView message) {
        return StandardCharsets.UTF_8.decode(message.getBody().duplicate()).toString();
    }

    private static long deadline() {
        return System.nanoTime() + ARRIVES_WITHIN.toNanos();
    }

    private static void pause(Duration duration) {
        try {
            Thread.sleep(duration.toMillis());
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    private static void check(boolean holds, Object shown) {
        if (!holds) {
            throw new IllegalStateException(shown.toString());
        }
    }
}
