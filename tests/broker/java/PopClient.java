import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * A push consumer of 5.5 that pops: the broker says that it does and which queues it has.
 *
 * <pre>
 * PopClient NAMESERVER BROKER_ADDRESS    prints "passed pop", or why not
 * </pre>
 *
 * Every message fails once and comes again; all are acked then, which the group's progress shows.
 */
public final class PopClient {
    private static final String TOPIC = "popped";
    private static final String GROUP = "popping";
    private static final int MESSAGES = 64;
    private static final long WITHIN_MS = 90_000;
    /** The machine may be busy with something else. */
    private static final int API_MS = 30_000;

    public static void main(String[] arguments) throws Exception {
        int code = 0;
        try {
            run(arguments[0], arguments[1]);
            System.out.println("passed pop");
        } catch (Throwable failed) {
            failed.printStackTrace(System.out);
            code = 1;
        }
        // Clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    private static void run(String nameServer, String broker) throws Exception {
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
        admin.setNamesrvAddr(nameServer);
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
}
