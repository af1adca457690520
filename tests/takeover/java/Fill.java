// Fills an Apache RocketMQ broker's fresh directory with one of everything that a takeover has to look at, for the
// tests of `gantry store check`. One process: name server, broker, 4.x client.
//
//   java … Fill DIRECTORY clean|kill [DELAY_MS INVISIBLE_MS]
//
// `kill` ends the process without a stop, as SIGKILL does. Timers are due after an hour, and pops invisible for ten minutes,
// unless told otherwise. Expectations are counted in tests/takeover/README.md.

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.constant.ConsumeInitMode;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

public class Fill {
    static long invisibleMs;

    public static void main(String[] arguments) {
        try {
            fill(arguments);
            System.exit(0);
        } catch (Throwable error) {
            // Apache's threads would keep the process alive.
            error.printStackTrace();
            System.exit(1);
        }
    }

    static void fill(String[] arguments) throws Exception {
        Path directory = Path.of(arguments[0]).toAbsolutePath();
        boolean isClean = arguments[1].equals("clean");
        long delayMs = arguments.length > 2 ? Long.parseLong(arguments[2]) : 3_600_000;
        invisibleMs = arguments.length > 3 ? Long.parseLong(arguments[3]) : 600_000;
        BrokerController broker = Apache.start(directory, 65536);

        for (String[] topic : new String[][] {{"plain", "NORMAL"}, {"ordered", "FIFO"}, {"late", "DELAY"},
            {"deals", "TRANSACTION"}, {"popped", "NORMAL"}, {"any", null}}) {
            TopicConfig config = new TopicConfig(topic[0], 3, 3, 6, 0);
            Map<String, String> attributes = new HashMap<>();
            if (topic[1] != null) {
                attributes.put("+message.type", topic[1]);
            }
            config.setAttributes(attributes);
            broker.getTopicConfigManager().updateTopicConfig(config);
        }
        for (String topic : new String[] {"%RETRY%readers", "%DLQ%readers"}) {
            broker.getTopicConfigManager().updateTopicConfig(new TopicConfig(topic, 1, 1, 6, 0));
        }
        for (String group : new String[] {"readers", "poppers"}) {
            SubscriptionGroupConfig config = new SubscriptionGroupConfig();
            config.setGroupName(group);
            config.setRetryMaxTimes(5);
            config.setConsumeMessageOrderly(group.equals("readers"));
            broker.getSubscriptionGroupManager().updateSubscriptionGroupConfig(config);
        }
        broker.registerBrokerAll(true, false, true);

        TransactionMQProducer producer = new TransactionMQProducer("producers");
        producer.setNamesrvAddr(Apache.NAME_SERVER);
        producer.setSendMsgTimeout(20000);
        producer.setTransactionListener(new Decider());
        producer.start();

        for (int n = 0; n < 300; n++) {
            producer.send(message("plain", "body-" + n + "-" + "x".repeat(n), "tag" + n % 3, "key-" + n),
                new MessageQueue("plain", Apache.BROKER_NAME, n % 3));
        }
        List<Message> batch = new ArrayList<>();
        for (int n = 0; n < 10; n++) {
            batch.add(message("any", "batch-" + n, "tag", "batch-key-" + n));
        }
        producer.send(batch, new MessageQueue("any", Apache.BROKER_NAME, 0));
        for (int level = 17; level <= 18; level++) {
            Message message = message("late", "level-" + level, "tag", "level-" + level);
            message.setDelayTimeLevel(level);
            producer.send(message);
        }
        Message soon = message("late", "level-1", "tag", "level-1");
        soon.setDelayTimeLevel(1);
        producer.send(soon);
        for (int n = 0; n < 4; n++) {
            Message message = message("late", "timer-" + n, "tag", "timer-" + n);
            // The first one is delivered before the end.
            message.setDelayTimeMs(n == 0 ? 1500 : delayMs + n * 1000L);
            producer.send(message);
        }
        for (String fate : new String[] {"commit", "commit", "rollback", "undecided", "undecided", "undecided"}) {
            producer.sendMessageInTransaction(message("deals", fate, "tag", fate), null);
        }
        producer.send(message("%RETRY%readers", "retried", "tag", "retried"));
        producer.send(message("%DLQ%readers", "dead", "tag", "dead"));
        for (int n = 0; n < 6; n++) {
            producer.send(message("popped", "popped-" + n, "tag", "popped-" + n),
                new MessageQueue("popped", Apache.BROKER_NAME, 0));
        }

        MQClientAPIImpl api = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        for (int queue = 0; queue < 3; queue++) {
            UpdateConsumerOffsetRequestHeader header = new UpdateConsumerOffsetRequestHeader();
            header.setConsumerGroup("readers");
            header.setTopic("plain");
            header.setQueueId(queue);
            header.setCommitOffset(40L + queue);
            api.updateConsumerOffset(Apache.BROKER, header, 10000);
        }
        List<MessageExt> popped = pop(api, 6);
        for (MessageExt message : popped.subList(0, 2)) {
            ack(api, message);
        }
        // Delayed, op and pop records are written behind: ops at the latest after 3 s.
        Thread.sleep(8000);
        System.out.println("popped " + popped.size());
        if (isClean) {
            producer.shutdown();
            broker.shutdown();
        } else {
            // Consumer offsets are written every 5 s, so they are there.
            Runtime.getRuntime().halt(9);
        }
    }

    static Message message(String topic, String body, String tag, String key) {
        return new Message(topic, tag, key, body.getBytes(StandardCharsets.UTF_8));
    }

    static List<MessageExt> pop(MQClientAPIImpl api, int most) throws Exception {
        PopMessageRequestHeader header = new PopMessageRequestHeader();
        header.setTopic("popped");
        header.setConsumerGroup("poppers");
        header.setQueueId(0);
        header.setMaxMsgNums(most);
        header.setInvisibleTime(invisibleMs);
        header.setPollTime(5000);
        header.setBornTime(System.currentTimeMillis());
        header.setInitMode(ConsumeInitMode.MIN);
        header.setExpType(ExpressionType.TAG);
        header.setExp("*");
        header.setOrder(false);
        CompletableFuture<PopResult> result = new CompletableFuture<>();
        api.popMessageAsync(Apache.BROKER_NAME, Apache.BROKER, header, 20000, new PopCallback() {
            @Override
            public void onSuccess(PopResult popped) {
                result.complete(popped);
            }

            @Override
            public void onException(Throwable error) {
                result.completeExceptionally(error);
            }
        });
        List<MessageExt> found = result.get(30, TimeUnit.SECONDS).getMsgFoundList();
        return found == null ? Collections.emptyList() : found;
    }

    static void ack(MQClientAPIImpl api, MessageExt message) throws Exception {
        String[] handle = ExtraInfoUtil.split(message.getProperty(MessageConst.PROPERTY_POP_CK));
        AckMessageRequestHeader header = new AckMessageRequestHeader();
        header.setTopic("popped");
        header.setConsumerGroup("poppers");
        header.setQueueId(ExtraInfoUtil.getQueueId(handle));
        header.setOffset(message.getQueueOffset());
        header.setExtraInfo(message.getProperty(MessageConst.PROPERTY_POP_CK));
        CompletableFuture<AckResult> result = new CompletableFuture<>();
        api.ackMessageAsync(Apache.BROKER, 20000, new AckCallback() {
            @Override
            public void onSuccess(AckResult acked) {
                result.complete(acked);
            }

            @Override
            public void onException(Throwable error) {
                result.completeExceptionally(error);
            }
        }, header);
        result.get(30, TimeUnit.SECONDS);
    }

    static class Decider implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            switch (message.getKeys()) {
                case "commit":
                    return LocalTransactionState.COMMIT_MESSAGE;
                case "rollback":
                    return LocalTransactionState.ROLLBACK_MESSAGE;
                default:
                    return LocalTransactionState.UNKNOW;
            }
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return LocalTransactionState.UNKNOW;
        }
    }
}
