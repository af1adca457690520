import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Fills a cluster of one broker and has Apache's mqadmin ask about it, all in one JVM because each start costs seconds.
 *
 * <pre>
 * Mqadmin NAMESERVER BROKER_ADDRESS COMMAND...
 * </pre>
 *
 * Commands are words of mqadmin's; {broker}, {id}, {unique} and {client} stand for the broker's address, the first message's two ids
 * and the consumer's. What mqadmin prints stands between the lines "begin COMMAND" and "end". Commands before "--" make what is then
 * filled: eight messages in the topic "asked", two a queue, with keys, consumed by the group "asked-group", whose consumer stays. Then the
 * block "monitors" is what {@link Monitors} finds.
 */
public final class Mqadmin {
    private static final PrintStream OUT = System.out;
    private static final String TOPIC = "asked";
    private static final String GROUP = "asked-group";
    private static final int QUEUES = 4;
    private static final int MESSAGES = 8;
    private static final long WITHIN_MS = 60_000;
    private static final long PERSIST_EVERY_MS = 500;
    private static final long TRACES_WITHIN_MS = 7_000;

    private final String nameServer;
    private String broker;
    private String id = "";
    private String unique = "";
    private String client = "";

    private Mqadmin(String nameServer, String broker) {
        this.nameServer = nameServer;
        this.broker = broker;
    }

    public static void main(String[] arguments) throws Exception {
        Mqadmin mqadmin = new Mqadmin(arguments[0], arguments[1]);
        for (int at = 2; at < arguments.length; at++) {
            if (arguments[at].equals("--")) {
                mqadmin.fill();
                mqadmin.monitor();
            } else {
                mqadmin.run(arguments[at]);
            }
        }
        // Clients leave threads behind.
        OUT.flush();
        Runtime.getRuntime().halt(0);
    }

    private void fill() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("asked-producers", true, null);
        producer.setNamesrvAddr(nameServer);
        producer.setSendMsgTimeout(30_000);
        producer.start();
        for (int number = 0; number < MESSAGES; number++) {
            Message message = new Message(TOPIC, "TagA", "key-" + number, ("body-" + number).getBytes(StandardCharsets.UTF_8));
            SendResult sent = send(producer, message, number % QUEUES);
            if (number == 0) {
                id = sent.getOffsetMsgId();
                unique = sent.getMsgId();
            }
        }
        CountDownLatch consumed = new CountDownLatch(MESSAGES);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(nameServer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval((int) PERSIST_EVERY_MS);
        consumer.subscribe(TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> consumed.countDown());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        if (!consumed.await(WITHIN_MS, TimeUnit.MILLISECONDS)) {
            throw new IllegalStateException(consumed.getCount() + " messages were not consumed");
        }
        awaitProgress();
        // Heartbeats of both are known then; traces are sent within five seconds.
        TimeUnit.MILLISECONDS.sleep(TRACES_WITHIN_MS);
    }

    private void monitor() throws Exception {
        OUT.println("begin monitors");
        Monitors.run(OUT, nameServer, broker, TOPIC, GROUP, client, id);
        OUT.println("end");
    }

    /** What was consumed is committed: the client begins with that ten seconds after its start, however slow its listener's threads are. */
    private void awaitProgress() throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameServer);
        admin.start();
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (admin.examineConsumeStats(GROUP, TOPIC).computeTotalDiff() > 0) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("the progress of " + GROUP + " was not committed");
            }
            TimeUnit.MILLISECONDS.sleep(PERSIST_EVERY_MS);
        }
        admin.shutdown();
    }

    /** The route of a topic that was just made comes a moment later. */
    private SendResult send(DefaultMQProducer producer, Message message, int queue) throws Exception {
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (true) {
            try {
                String name = producer.fetchPublishMessageQueues(TOPIC).get(0).getBrokerName();
                return producer.send(message, new MessageQueue(TOPIC, name, queue));
            } catch (Exception failed) {
                if (System.currentTimeMillis() > deadline) {
                    throw failed;
                }
                TimeUnit.MILLISECONDS.sleep(200);
            }
        }
    }

    private void run(String command) {
        String words = command.replace("{broker}", broker).replace("{id}", id).replace("{unique}", unique).replace("{client}", client);
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream both = new PrintStream(printed, true, StandardCharsets.UTF_8);
        PrintStream err = System.err;
        System.setOut(both);
        System.setErr(both);
        long began = System.currentTimeMillis();
        try {
            MQAdminStartup.main0((words + " -n " + nameServer).split(" "), null);
        } finally {
            System.setOut(OUT);
            System.setErr(err);
        }
        OUT.println("begin " + command);
        OUT.println(printed.toString(StandardCharsets.UTF_8));
        OUT.println("took " + (System.currentTimeMillis() - began) + " ms");
        OUT.println("end");
    }
}
