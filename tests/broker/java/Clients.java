import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Scenarios of Remoting clients against whatever brokers a name server knows. It uses only what clients of 4.9 and of 5.5 both have.
 *
 * <pre>
 * Clients NAMESERVER PREFIX SCENARIO...    each prints "passed SCENARIO" or "failed SCENARIO"; the code is 1 if one failed
 * </pre>
 *
 * They run side by side, as they wait most of the time. Topics and groups begin with the prefix, and are made by their first use. The scenario "survive" prints "acked N" while it sends, so
 * that somebody can kill the broker meanwhile, and reads everything that was acknowledged afterwards.
 */
public final class Clients {
    private static final long WITHIN_MS = 90_000;
    /** The machine may be busy with something else. */
    private static final int API_MS = 30_000;
    private static final int MESSAGES = 64;
    private static final int ACKED = 3_000;

    private final String nameServer;
    private final String prefix;

    private Clients(String nameServer, String prefix) {
        this.nameServer = nameServer;
        this.prefix = prefix;
    }

    public static void main(String[] arguments) throws Exception {
        Clients clients = new Clients(arguments[0], arguments[1]);
        AtomicInteger failures = new AtomicInteger();
        List<Thread> running = new ArrayList<>();
        for (String scenario : List.of(arguments).subList(2, arguments.length)) {
            Thread thread = new Thread(() -> {
                long began = System.currentTimeMillis();
                try {
                    clients.run(scenario);
                    System.out.println("passed " + scenario);
                } catch (Throwable failed) {
                    System.out.println("failed " + scenario + ": " + failed);
                    failed.printStackTrace();
                    failures.incrementAndGet();
                }
                System.err.println(clients.prefix + " " + scenario + " took " + (System.currentTimeMillis() - began) + " ms");
            });
            thread.start();
            running.add(thread);
        }
        for (Thread thread : running) {
            thread.join();
        }
        // Clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(failures.get() == 0 ? 0 : 1);
    }

    private void run(String scenario) throws Exception {
        switch (scenario) {
            case "send": send(); break;
            case "litepull": litePull(); break;
            case "clustering": clustering(); break;
            case "broadcasting": broadcasting(); break;
            case "later": later(); break;
            case "orderly": orderly(); break;
            case "delay": delay(); break;
            case "transaction": transaction(); break;
            case "reply": reply(); break;
            case "trace": trace(); break;
            case "consumertrace": consumerTrace(); break;
            case "survive": survive(); break;
            default: throw new IllegalArgumentException(scenario);
        }
    }

    /** All ways of sending, read by a pull consumer that goes through the queues itself. */
    private void send() throws Exception {
        String topic = prefix + "-send";
        DefaultMQProducer producer = producer();
        Set<String> sent = new HashSet<>();
        for (int number = 0; number < MESSAGES; number++) {
            SendResult result = producer.send(message(topic, "sync-" + number, sent));
            check(result.getSendStatus() == SendStatus.SEND_OK && result.getOffsetMsgId().length() == 32, result);
        }
        CountDownLatch latch = new CountDownLatch(MESSAGES);
        for (int number = 0; number < MESSAGES; number++) {
            producer.send(message(topic, "async-" + number, sent), new SendCallback() {
                @Override public void onSuccess(SendResult result) {
                    latch.countDown();
                }
                @Override public void onException(Throwable failed) {
                    failed.printStackTrace();
                }
            });
        }
        check(latch.await(WITHIN_MS, TimeUnit.MILLISECONDS), "async sends");
        for (int number = 0; number < MESSAGES; number++) {
            producer.sendOneway(message(topic, "oneway-" + number, sent));
        }
        List<Message> batch = new ArrayList<>();
        for (int number = 0; number < MESSAGES; number++) {
            batch.add(message(topic, "batch-" + number, sent));
        }
        String[] ids = producer.send(batch).getOffsetMsgId().split(",");
        check(ids.length == MESSAGES, ids.length);
        for (int number = 0; number < MESSAGES; number++) {
            SendResult result = producer.send(message(topic, "ordered-" + number, sent), (queues, one, key) -> queues.get(1), "key");
            check(result.getMessageQueue().getQueueId() == 1, result);
        }

        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(prefix + "-pullers");
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName(instance());
        consumer.setMqClientApiTimeout(API_MS);
        consumer.start();
        Set<String> received = new HashSet<>();
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (!received.containsAll(sent) && System.currentTimeMillis() < deadline) {
            int ordered = 0;
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                long offset = consumer.minOffset(queue);
                while (offset < consumer.maxOffset(queue)) {
                    PullResult pulled = consumer.pull(queue, "*", offset, 32);
                    check(pulled.getPullStatus() == PullStatus.FOUND, pulled);
                    for (MessageExt one : pulled.getMsgFoundList()) {
                        String text = text(one);
                        received.add(text);
                        check(one.getTopic().equals(topic) && one.getKeys().equals(text), one);
                        if (text.startsWith("ordered-")) {
                            check(text.equals("ordered-" + ordered++), one);
                        }
                    }
                    offset = pulled.getNextBeginOffset();
                }
                check(consumer.pull(queue, "*", offset, 32).getPullStatus() == PullStatus.NO_NEW_MSG, queue);
                check(consumer.pull(queue, "*", offset + 9, 32).getPullStatus() == PullStatus.OFFSET_ILLEGAL, queue);
                consumer.updateConsumeOffset(queue, offset);
                check(consumer.searchOffset(queue, 0) == consumer.minOffset(queue), queue);
                check(consumer.earliestMsgStoreTime(queue) > 0 || offset == 0, queue);
            }
        }
        check(received.equals(sent), received.size() + " of " + sent.size());
        consumer.shutdown();
        producer.shutdown();
    }

    private void litePull() throws Exception {
        String topic = prefix + "-lite";
        Set<String> sent = fill(topic, MESSAGES);
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(prefix + "-lite");
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName(instance());
        consumer.setMqClientApiTimeout(API_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "even");
        consumer.start();
        Set<String> received = new HashSet<>();
        sent.removeIf(text -> number(text) % 2 == 1);
        await(() -> {
            consumer.poll(500).forEach(one -> received.add(text(one)));
            return received.containsAll(sent);
        }, () -> received.size() + " of " + sent.size());
        check(received.equals(sent), "the filter lets others through");
        consumer.shutdown();
    }

    /** Two members of a group share the queues; what each has done the other need not do. */
    private void clustering() throws Exception {
        String topic = prefix + "-clustering";
        fill(topic, 1);
        Map<String, String> received = new ConcurrentHashMap<>();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String name : new String[] {"one", "two"}) {
            members.add(push(topic, "clustering", "CLUSTERING", (messages, context) -> {
                messages.forEach(one -> received.put(text(one), name));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }));
        }
        // Until both have queues.
        await(() -> {
            fill(topic, MESSAGES);
            return received.containsValue("one") && received.containsValue("two");
        }, () -> received.toString());
        Set<String> sent = fill(topic, 4 * MESSAGES);
        await(() -> received.keySet().containsAll(sent), () -> received.size() + " of " + sent.size());
        // The other takes over.
        members.get(0).shutdown();
        Set<String> more = fill(topic, 4 * MESSAGES);
        await(() -> received.keySet().containsAll(more), () -> received.size() + " after one left");
        members.get(1).shutdown();
    }

    private void broadcasting() throws Exception {
        String topic = prefix + "-broadcasting";
        fill(topic, 1);
        Set<String> one = ConcurrentHashMap.newKeySet();
        Set<String> two = ConcurrentHashMap.newKeySet();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (Set<String> received : List.of(one, two)) {
            members.add(push(topic, "broadcasting", "BROADCASTING", (messages, context) -> {
                messages.forEach(message -> received.add(text(message)));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }));
        }
        Set<String> sent = fill(topic, MESSAGES);
        await(() -> one.containsAll(sent) && two.containsAll(sent), () -> one.size() + " and " + two.size());
        members.forEach(DefaultMQPushConsumer::shutdown);
    }

    /** A message that could not be consumed comes again, as itself. */
    private void later() throws Exception {
        String topic = prefix + "-later";
        fill(topic, 1);
        Map<String, Integer> times = new ConcurrentHashMap<>();
        List<String> wrong = new ArrayList<>();
        DefaultMQPushConsumer consumer = push(topic, "later", "CLUSTERING", (messages, context) -> {
            for (MessageExt one : messages) {
                int seen = times.merge(text(one), 1, Integer::sum);
                if (one.getReconsumeTimes() != seen - 1 || !one.getTopic().equals(topic)) {
                    wrong.add(one.toString());
                }
                if (seen < 3) {
                    context.setDelayLevelWhenNextConsume(1);
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        Set<String> sent = fill(topic, 8);
        await(() -> sent.stream().allMatch(text -> times.getOrDefault(text, 0) == 3), () -> times.toString());
        check(wrong.isEmpty(), wrong);
        consumer.shutdown();
    }

    /** Each queue is consumed in order, by one member at a time. */
    private void orderly() throws Exception {
        String topic = prefix + "-orderly";
        fill(topic, 1);
        Map<MessageQueue, Long> next = new ConcurrentHashMap<>();
        Set<String> received = ConcurrentHashMap.newKeySet();
        List<String> wrong = new ArrayList<>();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int member = 0; member < 2; member++) {
            DefaultMQPushConsumer consumer = consumer(topic, "orderly", "CLUSTERING");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                for (MessageExt one : messages) {
                    Long expected = next.put(context.getMessageQueue(), one.getQueueOffset() + 1);
                    // One that was under way when the queue moved may come again, together with what follows it.
                    if (expected != null && one.getQueueOffset() > expected) {
                        wrong.add(one.toString());
                    }
                    received.add(text(one));
                }
                return ConsumeOrderlyStatus.SUCCESS;
            });
            consumer.start();
            members.add(consumer);
        }
        Set<String> sent = fill(topic, 4 * MESSAGES);
        await(() -> received.containsAll(sent), () -> received.size() + " of " + sent.size());
        check(wrong.isEmpty(), wrong);
        members.forEach(DefaultMQPushConsumer::shutdown);
    }

    private void delay() throws Exception {
        String topic = prefix + "-delay";
        fill(topic, 1);
        Map<String, Long> waited = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = push(topic, "delay", "CLUSTERING", (messages, context) -> {
            messages.forEach(one -> waited.put(text(one), System.currentTimeMillis() - one.getBornTimestamp()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        DefaultMQProducer producer = producer();
        Set<String> sent = new HashSet<>();
        Message message = message(topic, "delayed-0", sent);
        message.setDelayTimeLevel(2);
        producer.send(message);
        await(() -> waited.containsKey("delayed-0"), () -> waited.toString());
        check(waited.get("delayed-0") >= 4_000, waited);
        producer.shutdown();
        consumer.shutdown();
    }

    /** Committed at once, rolled back, and decided when the broker asks. */
    private void transaction() throws Exception {
        String topic = prefix + "-transaction";
        fill(topic, 1);
        Set<String> received = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = push(topic, "transaction", "CLUSTERING", (messages, context) -> {
            messages.forEach(one -> received.add(text(one)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        AtomicInteger asked = new AtomicInteger();
        TransactionMQProducer producer = new TransactionMQProducer(prefix + "-transactions");
        producer.setNamesrvAddr(nameServer);
        producer.setInstanceName(instance());
        producer.setMqClientApiTimeout(API_MS);
        producer.setTransactionListener(new TransactionListener() {
            @Override public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                return (LocalTransactionState) state;
            }
            @Override public LocalTransactionState checkLocalTransaction(MessageExt message) {
                asked.incrementAndGet();
                boolean isOurs = message.getTopic().equals(topic) && text(message).equals("unknown-0");
                return isOurs ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        producer.start();
        Set<String> sent = new HashSet<>();
        producer.sendMessageInTransaction(message(topic, "committed-0", sent), LocalTransactionState.COMMIT_MESSAGE);
        producer.sendMessageInTransaction(message(topic, "rolledback-0", sent), LocalTransactionState.ROLLBACK_MESSAGE);
        producer.sendMessageInTransaction(message(topic, "unknown-0", sent), LocalTransactionState.UNKNOW);
        await(() -> received.contains("committed-0") && received.contains("unknown-0"), () -> received + " asked " + asked);
        check(!received.contains("rolledback-0") && asked.get() > 0, received + " asked " + asked);
        producer.shutdown();
        consumer.shutdown();
    }

    /** A request is answered by whoever consumes it; the reply finds the producer that waits for it. */
    private void reply() throws Exception {
        String topic = prefix + "-reply";
        fill(topic, 1);
        DefaultMQProducer replying = producer();
        DefaultMQPushConsumer consumer = push(topic, "reply", "CLUSTERING", (messages, context) -> {
            for (MessageExt request : messages) {
                if (request.getProperty("REPLY_TO_CLIENT") != null) {
                    try {
                        byte[] body = ("reply to " + text(request)).getBytes(StandardCharsets.UTF_8);
                        replying.send(org.apache.rocketmq.client.utils.MessageUtil.createReplyMessage(request, body));
                    } catch (Exception failed) {
                        failed.printStackTrace();
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        DefaultMQProducer asking = producer();
        for (int number = 0; number < 8; number++) {
            Message request = message(topic, "request-" + number, new HashSet<>());
            Message reply = asking.request(request, WITHIN_MS);
            String said = new String(reply.getBody(), StandardCharsets.UTF_8);
            check(said.equals("reply to request-" + number), said);
        }
        consumer.shutdown();
        replying.shutdown();
        asking.shutdown();
    }

    /** What a producer tells of its messages is stored, and found by their ids. */
    private void trace() throws Exception {
        String topic = prefix + "-trace";
        fill(topic, 1);
        DefaultMQProducer producer = tracing();
        String id = producer.send(message(topic, "traced-0", new HashSet<>())).getMsgId();
        awaitTraces(producer, id, "Pub");
        producer.shutdown();
    }

    /** The same of a consumer. */
    private void consumerTrace() throws Exception {
        String topic = prefix + "-consumertrace";
        fill(topic, 1);
        DefaultMQPushConsumer consumer = subscribed(new DefaultMQPushConsumer(prefix + "-tracing", true, null), topic, "CLUSTERING");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        consumer.start();
        DefaultMQProducer producer = tracing();
        String id = producer.send(message(topic, "traced-0", new HashSet<>())).getMsgId();
        awaitTraces(producer, id, "Pub", "SubBefore", "SubAfter");
        consumer.shutdown();
        producer.shutdown();
    }

    private DefaultMQProducer tracing() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-traced", true, null);
        producer.setNamesrvAddr(nameServer);
        producer.setInstanceName(instance());
        producer.setSendMsgTimeout(30_000);
        producer.start();
        return producer;
    }

    private static void awaitTraces(DefaultMQProducer producer, String id, String... kinds) throws Exception {
        Set<String> missing = new HashSet<>(List.of(kinds));
        await(() -> {
            try {
                long now = System.currentTimeMillis();
                for (MessageExt one : producer.queryMessage("RMQ_SYS_TRACE_TOPIC", id, 32, 0, now).getMessageList()) {
                    for (String record : text(one).split("\u0002")) {
                        missing.removeIf(kind -> record.startsWith(kind + "\u0001") && record.contains(id));
                    }
                }
            } catch (Exception notYet) {
                // It is on its way.
            }
            return missing.isEmpty();
        }, () -> "not told of " + id + ": " + missing);
    }

    /** What was acknowledged is there, whatever happened to the broker. */
    private void survive() throws Exception {
        String topic = prefix + "-survive";
        DefaultMQProducer producer = producer();
        Set<String> acked = new HashSet<>();
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        for (int number = 0; acked.size() < ACKED && System.currentTimeMillis() < deadline; number++) {
            String text = "message-" + number;
            try {
                if (producer.send(message(topic, text, new HashSet<>()), 1_000).getSendStatus() == SendStatus.SEND_OK) {
                    acked.add(text);
                    System.out.println("acked " + acked.size());
                }
            } catch (Exception lost) {
                TimeUnit.MILLISECONDS.sleep(100);
            }
        }
        check(acked.size() == ACKED, acked.size() + " acknowledged");
        Set<String> received = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = push(topic, "survive", "CLUSTERING", (messages, context) -> {
            messages.forEach(one -> received.add(text(one)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        await(() -> received.containsAll(acked), () -> received.size() + " of " + acked.size());
        consumer.shutdown();
        producer.shutdown();
    }

    private DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-producers");
        producer.setNamesrvAddr(nameServer);
        producer.setInstanceName(instance());
        producer.setSendMsgTimeout(30_000);
        producer.setMqClientApiTimeout(API_MS);
        producer.start();
        return producer;
    }

    private DefaultMQPushConsumer push(String topic, String group, String model, MessageListenerConcurrently listener)
            throws Exception {
        DefaultMQPushConsumer consumer = consumer(topic, group, model);
        consumer.registerMessageListener(listener);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.start();
        return consumer;
    }

    private DefaultMQPushConsumer consumer(String topic, String group, String model) throws Exception {
        return subscribed(new DefaultMQPushConsumer(prefix + "-" + group), topic, model);
    }

    private DefaultMQPushConsumer subscribed(DefaultMQPushConsumer consumer, String topic, String model) throws Exception {
        consumer.setNamesrvAddr(nameServer);
        consumer.setInstanceName(instance());
        consumer.setMqClientApiTimeout(API_MS);
        setModel(consumer, model);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1_000);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    /** By its name: 4.9 and 5.5 have the type in different packages. */
    private static void setModel(DefaultMQPushConsumer consumer, String model) throws Exception {
        for (java.lang.reflect.Method method : DefaultMQPushConsumer.class.getMethods()) {
            if (method.getName().equals("setMessageModel")) {
                for (Object one : method.getParameterTypes()[0].getEnumConstants()) {
                    if (one.toString().equals(model)) {
                        method.invoke(consumer, one);
                    }
                }
            }
        }
    }

    private final AtomicInteger fills = new AtomicInteger();

    /** Sends messages over all queues; their texts, which no other call has, end with their numbers. */
    private Set<String> fill(String topic, int messages) {
        try {
            DefaultMQProducer producer = producer();
            int fill = fills.getAndIncrement();
            Set<String> sent = new HashSet<>();
            for (int number = 0; number < messages; number++) {
                producer.send(message(topic, "fill" + fill + "-" + number, sent));
            }
            producer.shutdown();
            return sent;
        } catch (Exception failed) {
            throw new IllegalStateException(failed);
        }
    }

    private static Message message(String topic, String text, Set<String> sent) {
        sent.add(text);
        return new Message(topic, number(text) % 2 == 0 ? "even" : "odd", text, text.getBytes(StandardCharsets.UTF_8));
    }

    private static int number(String text) {
        return Integer.parseInt(text.substring(text.lastIndexOf('-') + 1));
    }

    private static String text(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    private static String instance() {
        return "instance-" + System.nanoTime();
    }

    private static void check(boolean holds, Object shown) {
        if (!holds) {
            throw new AssertionError(shown);
        }
    }

    private static void await(BooleanSupplier holds, java.util.function.Supplier<String> shown) throws Exception {
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (!holds.getAsBoolean()) {
            check(System.currentTimeMillis() < deadline, shown.get());
            TimeUnit.MILLISECONDS.sleep(100);
        }
    }
}
