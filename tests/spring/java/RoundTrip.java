import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.annotation.RocketMQTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionState;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.apache.rocketmq.spring.support.RocketMQHeaders;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;

/**
 * A Spring Boot program whose template and listeners, of rocketmq-spring-boot-starter, talk to each other through a broker.
 *
 * <pre>
 * RoundTrip --rocketmq.name-server=HOST:PORT    prints "passed WHAT" for each thing that it does; the first that fails ends it with code 1
 * </pre>
 *
 * Its topics are there: spring-plain, spring-ordered, spring-again, spring-pulled, spring-deals, and the retry topic of the
 * group spring-again-group.
 */
@Configuration
@EnableAutoConfiguration
public class RoundTrip {
    private static final Duration WITHIN = Duration.ofSeconds(90);
    /** The machine may be busy with something else. */
    private static final long ANSWER_MS = 30_000;
    private static final int MESSAGES = 32;
    private static final int KEYS = 3;

    /** A payload that is sent as JSON. */
    public static final class Order {
        public int number;
        public String customer;

        static Order of(int number) {
            Order order = new Order();
            order.number = number;
            order.customer = "customer " + number;
            return order;
        }
    }

    /** What a listener has had. */
    private static class Got<T> {
        final List<T> all = Collections.synchronizedList(new ArrayList<>());
    }

    @RocketMQMessageListener(topic = "spring-plain", consumerGroup = "spring-plain-group")
    public static class Everything extends Got<MessageExt> implements RocketMQListener<MessageExt> {
        @Override public void onMessage(MessageExt message) {
            all.add(message);
        }
    }

    @RocketMQMessageListener(topic = "spring-plain", consumerGroup = "spring-blue-group", selectorExpression = "blue")
    public static class Blue extends Got<Order> implements RocketMQListener<Order> {
        @Override public void onMessage(Order order) {
            all.add(order);
        }
    }

    @RocketMQMessageListener(topic = "spring-ordered", consumerGroup = "spring-ordered-group", consumeMode = ConsumeMode.ORDERLY)
    public static class Ordered extends Got<String> implements RocketMQListener<String> {
        @Override public void onMessage(String text) {
            all.add(text);
        }
    }

    /** Refuses each message once. */
    @RocketMQMessageListener(topic = "spring-again", consumerGroup = "spring-again-group", delayLevelWhenNextConsume = 1)
    public static class Refusing extends Got<Integer> implements RocketMQListener<MessageExt> {
        @Override public void onMessage(MessageExt message) {
            all.add(message.getReconsumeTimes());
            if (message.getReconsumeTimes() == 0) {
                throw new IllegalStateException("refused");
            }
        }
    }

    @RocketMQMessageListener(topic = "spring-deals", consumerGroup = "spring-deals-group")
    public static class Deals extends Got<String> implements RocketMQListener<String> {
        @Override public void onMessage(String text) {
            all.add(text);
        }
    }

    /** Does what the message says; what is open it commits when it is asked. A component by its annotation. */
    @RocketMQTransactionListener
    public static class Deciding extends Got<String> implements RocketMQLocalTransactionListener {
        @Override public RocketMQLocalTransactionState executeLocalTransaction(Message message, Object state) {
            return (RocketMQLocalTransactionState) state;
        }

        @Override public RocketMQLocalTransactionState checkLocalTransaction(Message message) {
            all.add(new String((byte[]) message.getPayload(), StandardCharsets.UTF_8));
            return RocketMQLocalTransactionState.COMMIT;
        }
    }

    @Bean public Everything everything() {
        return new Everything();
    }

    @Bean public Blue blue() {
        return new Blue();
    }

    @Bean public Ordered ordered() {
        return new Ordered();
    }

    @Bean public Refusing refusing() {
        return new Refusing();
    }

    @Bean public Deals deals() {
        return new Deals();
    }

    /** One thing that is shown. */
    private interface Part {
        void show(ApplicationContext beans, RocketMQTemplate template) throws Exception;
    }

    public static void main(String[] arguments) {
        int code = 0;
        try {
            var beans = new SpringApplicationBuilder(RoundTrip.class)
                .web(WebApplicationType.NONE)
                .properties(Map.of(
                    "rocketmq.producer.group", "spring-producers",
                    "rocketmq.producer.send-message-timeout", ANSWER_MS,
                    "rocketmq.pull-consumer.group", "spring-pulled-group",
                    "rocketmq.pull-consumer.topic", "spring-pulled"))
                .run(arguments);
            RocketMQTemplate template = beans.getBean(RocketMQTemplate.class);
            Map<String, Part> parts = new LinkedHashMap<>();
            parts.put("plain", RoundTrip::plain);
            parts.put("ordered", RoundTrip::ordered);
            parts.put("again", RoundTrip::again);
            parts.put("deals", RoundTrip::deals);
            parts.put("pulled", RoundTrip::pulled);
            for (var part : parts.entrySet()) {
                part.getValue().show(beans, template);
                System.out.println("passed " + part.getKey());
            }
            beans.close();
            System.out.println("passed close");
        } catch (Throwable failed) {
            failed.printStackTrace(System.out);
            code = 1;
        }
        // A client that cannot be closed must not keep the test.
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    /** Text, objects, keys, tags, a batch; waiting, with a callback and neither. */
    private static void plain(ApplicationContext beans, RocketMQTemplate template) throws Exception {
        List<String> keys = new ArrayList<>();
        CountDownLatch done = new CountDownLatch(MESSAGES);
        for (int number = 0; number < MESSAGES; number++) {
            keys.add("sync-" + number);
            SendResult result = template.syncSend("spring-plain:red", keyed("text", "sync-" + number));
            check(result.getSendStatus() == SendStatus.SEND_OK, result);
            template.convertAndSend("spring-plain:blue", Order.of(number));
            keys.add("async-" + number);
            template.asyncSend("spring-plain", keyed("text", "async-" + number), new SendCallback() {
                @Override public void onSuccess(SendResult result) {
                    done.countDown();
                }
                @Override public void onException(Throwable failed) {
                    failed.printStackTrace();
                }
            });
            keys.add("oneway-" + number);
            template.sendOneWay("spring-plain", keyed("text", "oneway-" + number));
        }
        List<Message<String>> batch = new ArrayList<>();
        for (int number = 0; number < MESSAGES; number++) {
            keys.add("batch-" + number);
            batch.add(keyed("text", "batch-" + number));
        }
        template.syncSend("spring-plain", batch);
        check(done.await(WITHIN.toSeconds(), TimeUnit.SECONDS), "async sends");
        List<MessageExt> all = beans.getBean(Everything.class).all;
        List<Order> blue = beans.getBean(Blue.class).all;
        await(() -> all.size() == keys.size() + MESSAGES && blue.size() == MESSAGES, () -> all.size() + " and " + blue.size());
        List<String> found = new ArrayList<>();
        all.stream().filter(message -> message.getKeys() != null).forEach(message -> found.add(message.getKeys()));
        Collections.sort(found);
        Collections.sort(keys);
        check(found.equals(keys), found);
        check(blue.stream().allMatch(order -> order.customer.equals("customer " + order.number)), blue);
    }

    /** Messages of a key come in the order in which they were sent. */
    private static void ordered(ApplicationContext beans, RocketMQTemplate template) throws Exception {
        for (int number = 0; number < MESSAGES; number++) {
            for (int key = 0; key < KEYS; key++) {
                template.syncSendOrderly("spring-ordered", key + ":" + number, "key " + key);
            }
        }
        List<String> all = beans.getBean(Ordered.class).all;
        await(() -> all.size() == KEYS * MESSAGES, () -> all.size() + " came");
        for (int key = 0; key < KEYS; key++) {
            String prefix = key + ":";
            List<String> expected = new ArrayList<>();
            for (int number = 0; number < MESSAGES; number++) {
                expected.add(prefix + number);
            }
            List<String> found = new ArrayList<>(all);
            found.removeIf(text -> !text.startsWith(prefix));
            check(found.equals(expected), found);
        }
    }

    private static void again(ApplicationContext beans, RocketMQTemplate template) throws Exception {
        template.convertAndSend("spring-again", "message");
        List<Integer> attempts = beans.getBean(Refusing.class).all;
        await(() -> attempts.size() == 2, attempts::toString);
        check(attempts.equals(List.of(0, 1)), attempts);
    }

    /** Committed at once, rolled back, and committed when the broker asks. */
    private static void deals(ApplicationContext beans, RocketMQTemplate template) throws Exception {
        for (var state : List.of(RocketMQLocalTransactionState.COMMIT, RocketMQLocalTransactionState.ROLLBACK,
                RocketMQLocalTransactionState.UNKNOWN)) {
            TransactionSendResult result =
                template.sendMessageInTransaction("spring-deals", MessageBuilder.withPayload(state.name()).build(), state);
            check(result.getSendStatus() == SendStatus.SEND_OK, result);
            boolean isCommitted = result.getLocalTransactionState() == LocalTransactionState.COMMIT_MESSAGE;
            check(isCommitted == (state == RocketMQLocalTransactionState.COMMIT), result);
        }
        List<String> found = beans.getBean(Deals.class).all;
        List<String> asked = beans.getBean(Deciding.class).all;
        await(() -> found.contains("COMMIT") && found.contains("UNKNOWN"), found::toString);
        check(asked.contains("UNKNOWN") && !found.contains("ROLLBACK"), asked + ", delivered " + found);
    }

    /** The template receives by itself. */
    private static void pulled(ApplicationContext beans, RocketMQTemplate template) throws Exception {
        for (int number = 0; number < MESSAGES; number++) {
            template.convertAndSend("spring-pulled", "pulled " + number);
        }
        List<String> found = new ArrayList<>();
        await(() -> {
            found.addAll(template.receive(String.class));
            return found.size() == MESSAGES;
        }, () -> found.size() + " came");
    }

    private static Message<String> keyed(String text, String key) {
        return MessageBuilder.withPayload(text).setHeader(RocketMQHeaders.KEYS, key).build();
    }

    private static void check(boolean holds, Object shown) {
        if (!holds) {
            throw new AssertionError(shown);
        }
    }

    private static void await(BooleanSupplier holds, java.util.function.Supplier<String> shown) throws Exception {
        long deadline = System.nanoTime() + WITHIN.toNanos();
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < deadline, shown.get());
            TimeUnit.MILLISECONDS.sleep(50);
        }
    }
}
