// Opens a directory with Apache's broker, pulls every message of every topic with the 4.x client and writes down what it got:
// what a handing back is compared by.
//
//   java … Read DIRECTORY SEGMENT_BYTES SECONDS REPORT
//
// Before it pulls it waits SECONDS for delayed messages and for checks of half messages, which it commits. Lines of REPORT,
// fields separated by tabs:
//
//   message topic queue offset body (Base64) unique-key keys tags
//   queue topic queue first-offset next-offset
//   offset topic group queue offset
//   check body

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentMap;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.constant.PermName;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.topic.TopicValidator;

public class Read {
    static final List<String> REPORT = Collections.synchronizedList(new ArrayList<>());

    public static void main(String[] arguments) {
        try {
            read(arguments);
            System.exit(0);
        } catch (Throwable error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    static void read(String[] arguments) throws Exception {
        BrokerController broker =
            Apache.start(Path.of(arguments[0]).toAbsolutePath(), Long.parseLong(arguments[1]));
        offsets(broker);
        TransactionMQProducer producer = new TransactionMQProducer("producers");
        producer.setNamesrvAddr(Apache.NAME_SERVER);
        producer.setTransactionListener(new Committer());
        producer.start();
        // Only who knows a broker sends it heartbeats, and only those are asked about their transactions.
        boolean hasDeals = broker.getTopicConfigManager().getTopicConfigTable().containsKey("deals");
        for (int attempt = 0; hasDeals && !broker.getProducerManager().groupOnline("producers"); attempt++) {
            if (attempt == 120) {
                throw new IllegalStateException("the broker does not hear the producers");
            }
            MQClientInstance client = producer.getDefaultMQProducerImpl().getMqClientFactory();
            client.updateTopicRouteInfoFromNameServer("deals");
            client.sendHeartbeatToAllBrokerWithLock();
            Thread.sleep(500);
        }
        Thread.sleep(1000L * Long.parseLong(arguments[2]));
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("looker");
        consumer.setNamesrvAddr(Apache.NAME_SERVER);
        consumer.start();
        Map<String, TopicConfig> topics = new TreeMap<>(broker.getTopicConfigManager().getTopicConfigTable());
        for (TopicConfig topic : topics.values()) {
            boolean isOwn = (topic.getPerm() & PermName.PERM_INHERIT) != 0
                || TopicValidator.isSystemTopic(topic.getTopicName());
            for (int queue = 0; !isOwn && queue < topic.getReadQueueNums(); queue++) {
                pull(consumer, new MessageQueue(topic.getTopicName(), Apache.BROKER_NAME, queue));
            }
        }
        consumer.shutdown();
        producer.shutdown();
        Files.write(Path.of(arguments[3]), REPORT, StandardCharsets.UTF_8);
        broker.shutdown();
    }

    static void report(Object... fields) {
        List<String> texts = new ArrayList<>();
        for (Object field : fields) {
            texts.add(field == null ? "" : field.toString());
        }
        REPORT.add(String.join("\t", texts));
    }

    static void pull(DefaultMQPullConsumer consumer, MessageQueue queue) throws Exception {
        long next = consumer.minOffset(queue);
        long end = consumer.maxOffset(queue);
        report("queue", queue.getTopic(), queue.getQueueId(), next, end);
        while (next < end) {
            PullResult pulled = consumer.pull(queue, "*", next, 32);
            if (pulled.getPullStatus() != PullStatus.FOUND) {
                throw new IllegalStateException(queue + " at " + next + ": " + pulled.getPullStatus());
            }
            for (MessageExt message : pulled.getMsgFoundList()) {
                report("message", queue.getTopic(), queue.getQueueId(), message.getQueueOffset(),
                    Base64.getEncoder().encodeToString(message.getBody()),
                    message.getProperty(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX), message.getKeys(),
                    message.getTags());
            }
            next = pulled.getNextBeginOffset();
        }
    }

    static void offsets(BrokerController broker) {
        Map<String, ConcurrentMap<Integer, Long>> table =
            new TreeMap<>(broker.getConsumerOffsetManager().getOffsetTable());
        table.forEach((key, queues) -> queues.forEach((queue, offset) -> {
            String[] pair = key.split("@");
            report("offset", pair[0], pair[1], queue, offset);
        }));
    }

    static class Committer implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return LocalTransactionState.UNKNOW;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            report("check", new String(message.getBody(), StandardCharsets.UTF_8));
            return LocalTransactionState.COMMIT_MESSAGE;
        }
    }
}
