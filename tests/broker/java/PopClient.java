import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * A push consumer of 5.5 that pops: the broker says that it does and which queues it has.
 *
 * <pre>
 * PopClient NAMESERVER BROKER_ADDRESS [OPERATORS_NAMESERVER]    prints "passed pop" and "passed ordered", or why not
 * </pre>
 *
 * Every message fails once and comes again; all are acked then, which the group's progress shows. Then another group reads in order, and
 * does not pop meanwhile, which only our broker refuses.
 */
public final class PopClient {
    private static final String TOPIC = "popped";
    private static final String GROUP = "popping";
    private static final String ORDERED = "ordered-or-popped";
    private static final int MESSAGES = 64;
    private static final long WITHIN_MS = 90_000;
    /** The machine may be busy with something else. */
    private static final int API_MS = 30_000;

    public static void main(String[] arguments) throws Exception {
        int code = 0;
        try {
            run(arguments[0], arguments[1], arguments[arguments.length == 3 ? 2 : 0]);
            System.out.println("passed pop");
            order(arguments[0], arguments[1]);
            System.out.println("passed ordered");
        } catch (Throwable failed) {
            failed.printStackTrace(System.out);
            code = 1;
        }
        // Clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    private static void run(String nameServer, String broker, String operators) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("pop-producers");
        producer.setNamesrvAddr(nameServer);
        producer.setSendMsgTimeout(30_000);
        producer.setMqClientApiTimeout(API_MS);
        producer.start();
        Set<String> sent = ConcurrentHashMap.newKeySet();
        for (int number = 0; number < MESSAGES; number++) {
            String text = "message-" + number;
            sent.add(text);
            producer.send(new Message(TOPIC, "tag", text.getBytes(StandardCharsets.UTF_8)));
        }
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(operators);
        admin.setMqClientApiTimeout(API_MS);
        admin.start();
        admin.setMessageRequestMode(broker, TOPIC, GROUP, MessageRequestMode.POP, 0, API_MS);

        Set<String> failed = ConcurrentHashMap.newKeySet();
        Set<String> consumed = ConcurrentHashMap.newKeySet();
        AtomicInteger popped = new AtomicInteger();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(nameServer);
        consumer.setMqClientApiTimeout(API_MS);
        consumer.setClientRebalance(false);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.subscribe(TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            boolean isFirst = false;
            for (var message : messages) {
                if (message.getProperty("POP_CK") != null) {
                    popped.incrementAndGet();
                }
                String text = new String(message.getBody(), StandardCharsets.UTF_8);
                if (failed.add(text)) {
                    isFirst = true;
                } else {
                    consumed.add(text);
                }
            }
            return isFirst ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (!consumed.equals(sent) || admin.examineConsumeStats(GROUP).computeTotalDiff() != 0) {
            if (System.currentTimeMillis() > deadline) {
                throw new AssertionError(consumed.size() + " of " + failed.size() + " came again, " + popped + " by pop, "
                    + admin.examineConsumeStats(GROUP).computeTotalDiff() + " are not finished");
            }
            TimeUnit.MILLISECONDS.sleep(200);
        }
        if (popped.get() < 2 * MESSAGES) {
            throw new AssertionError("only " + popped + " were popped");
        }
    }

    /** While a consumer reads a topic in order nobody of its group pops it; when it has gone they do, and what they have keeps others from order. */
    private static void order(String nameServer, String broker) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("order-producers");
        producer.setNamesrvAddr(nameServer);
        producer.setSendMsgTimeout(30_000);
        producer.setMqClientApiTimeout(API_MS);
        producer.start();
        MQClientAPIImpl api = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        MessageQueue queue = producer.send(new Message(ORDERED, "first".getBytes(StandardCharsets.UTF_8))).getMessageQueue();
        Set<String> received = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(ORDERED);
        consumer.setNamesrvAddr(nameServer);
        consumer.setMqClientApiTimeout(API_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(ORDERED, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(message -> received.add(new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        await(() -> received.contains("first"), "nothing is read in order");
        RemotingCommand refused = pop(api, broker);
        if (refused.getCode() != ResponseCode.NO_PERMISSION || !refused.getRemark().contains(ORDERED)) {
            throw new AssertionError(refused + " while it is read in order");
        }
        consumer.shutdown();
        producer.send(new Message(ORDERED, "second".getBytes(StandardCharsets.UTF_8)));
        await(() -> pop(api, broker).getCode() == ResponseCode.SUCCESS, "nothing is popped after it was read in order");
        LockBatchRequestBody lock = new LockBatchRequestBody();
        lock.setConsumerGroup(ORDERED);
        lock.setClientId("another");
        lock.getMqSet().add(queue);
        try {
            throw new AssertionError(api.lockBatchMQ(broker, lock, API_MS) + " are locked while messages are popped");
        } catch (MQBrokerException expected) {
            if (expected.getResponseCode() != ResponseCode.NO_PERMISSION) {
                throw expected;
            }
        }
    }

    private static RemotingCommand pop(MQClientAPIImpl api, String broker) throws Exception {
        PopMessageRequestHeader header = new PopMessageRequestHeader();
        header.setConsumerGroup(ORDERED);
        header.setTopic(ORDERED);
        header.setQueueId(-1);
        header.setMaxMsgNums(1);
        header.setInvisibleTime(60_000);
        header.setPollTime(0);
        header.setBornTime(System.currentTimeMillis());
        header.setInitMode(0);
        return api.getRemotingClient().invokeSync(broker, RemotingCommand.createRequestCommand(RequestCode.POP_MESSAGE, header), API_MS);
    }

    private static void await(Callable<Boolean> holds, String otherwise) throws Exception {
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (!holds.call()) {
            if (System.currentTimeMillis() > deadline) {
                throw new AssertionError(otherwise);
            }
            TimeUnit.MILLISECONDS.sleep(200);
        }
    }
}
