import java.io.PrintStream;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExtImpl;

/**
 * Asks a filled cluster what RocketMQ's Dashboard and exporter ask, with the classes that they use, and looks at what they read of the
 * answers. Prints a line for each call: its request code, its name, and "ok" or what is wrong.
 */
final class Monitors {
    private static final long WITHIN_MS = 10_000;
    private static final String CLUSTER = "DefaultCluster";
    private static final String BROKER_NAME = "broker-a";
    /** What the exporter reads as whole numbers: it gives a broker up when one is missing. */
    private static final String[] WHOLE = {
        "msgPutTotalTodayNow", "msgGetTotalTodayNow", "msgPutTotalTodayMorning", "msgGetTotalTodayMorning", "msgPutTotalYesterdayMorning",
        "msgGetTotalYesterdayMorning", "sendThreadPoolQueueHeadWaitTimeMills", "queryThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills", "queryThreadPoolQueueSize", "pullThreadPoolQueueSize", "sendThreadPoolQueueSize",
        "sendThreadPoolQueueCapacity", "pullThreadPoolQueueCapacity", "queryThreadPoolQueueCapacity", "commitLogMinOffset",
        "commitLogMaxOffset", "bootTimestamp", "brokerVersion", "dispatchMaxBuffer", "pageCacheLockTimeMills", "getMessageEntireTimeMax",
        "putMessageTimesTotal", "startAcceptSendRequestTimeStamp", "putMessageEntireTimeMax", "earliestMessageTimeStamp",
        "remainTransientStoreBufferNumbs", "putMessageSizeTotal", "dispatchBehindBytes",
    };
    private static final String[] RATES = {"putTps", "getMissTps", "getTransferedTps", "getTotalTps", "getFoundTps"};

    private final PrintStream out;
    private final DefaultMQAdminExt admin = new DefaultMQAdminExt("monitors", WITHIN_MS);
    private final String broker;

    private Monitors(PrintStream out, String nameServer, String broker) {
        this.out = out;
        this.broker = broker;
        admin.setNamesrvAddr(nameServer);
        admin.setInstanceName("monitors");
    }

    /** All calls, with what {@link Mqadmin} has filled the cluster with. */
    static void run(PrintStream out, String nameServer, String broker, String topic, String group, String client, String id)
        throws Exception {
        Monitors monitors = new Monitors(out, nameServer, broker);
        monitors.admin.start();
        try {
            monitors.cluster();
            monitors.topics(topic, group);
            monitors.groups(topic, group, client, id);
            monitors.queues(topic, id);
            monitors.changes(topic);
        } finally {
            monitors.admin.shutdown();
        }
    }

    private void cluster() {
        check("106 examineBrokerClusterInfo", () -> admin.examineBrokerClusterInfo().getClusterAddrTable().get(CLUSTER).contains(BROKER_NAME));
        check("28 fetchBrokerRuntimeStats", () -> readable(admin.fetchBrokerRuntimeStats(broker).getTable()));
        check("26 getBrokerConfig", () -> BROKER_NAME.equals(admin.getBrokerConfig(broker).getProperty("brokerName")));
        check("25 updateBrokerConfig", () -> {
            Properties properties = new Properties();
            properties.setProperty("defaultTopicQueueNums", "7");
            admin.updateBrokerConfig(broker, properties);
            return "7".equals(admin.getBrokerConfig(broker).getProperty("defaultTopicQueueNums"));
        });
        check("907 getBrokerHAStatus", () -> {
            var status = admin.getBrokerHAStatus(broker);
            return status.isMaster() && status.getMasterCommitLogMaxOffset() > 0 && status.getHaConnectionInfo().isEmpty();
        });
        check("319 getNameServerConfig", () -> admin.getNameServerConfig(null).values().iterator().next().containsKey("listenPort"));
        check("100 putKVConfig", () -> {
            admin.createAndUpdateKvConfig("monitored", "key", "value");
            return true;
        });
        check("101 getKVConfig", () -> "value".equals(admin.getKVConfig("monitored", "key")));
        check("219 getKVListByNamespace", () -> "value".equals(admin.getKVListByNamespace("monitored").getTable().get("key")));
        check("102 deleteKvConfig", () -> {
            admin.deleteKvConfig("monitored", "key");
            return admin.getKVListByNamespace("monitored").getTable().isEmpty();
        });
        check("328 getAllProducerInfo", () -> {
            var producers = admin.getAllProducerInfo(broker).getData().get("asked-producers");
            return producers.size() == 1 && producers.get(0).getClientId() != null && producers.get(0).getRemoteIP() != null;
        });
        check("306 cleanExpiredConsumerQueue", () -> admin.cleanExpiredConsumerQueue(CLUSTER));
        check("316 cleanUnusedTopic", () -> admin.cleanUnusedTopic(CLUSTER));
    }

    /** As the exporter reads it, and clusterList of 5.5. */
    private static boolean readable(Map<String, String> table) {
        for (String key : WHOLE) {
            Long.parseLong(table.get(key));
        }
        for (String key : RATES) {
            for (String rate : table.get(key).split(" ")) {
                Double.parseDouble(rate);
            }
        }
        for (String step : table.get("putMessageDistributeTime").split(" ")) {
            Integer.parseInt(step.split(":")[1]);
        }
        String[] capacity = table.get("commitLogDirCapacity").split(" ");
        double used = Double.parseDouble(table.get("commitLogDiskRatio"));
        Double.parseDouble(table.get("consumeQueueDiskRatio"));
        Double.parseDouble(table.get("putMessageAverageSize"));
        String[] behind = table.get("remainHowManyDataToFlush").split(" ");
        Double.parseDouble(behind[0]);
        return "KMGTPE".indexOf(capacity[3].charAt(0)) >= 0 && Double.parseDouble(capacity[2]) > 0
            && capacity[7].endsWith(".") && Double.parseDouble(capacity[6]) >= 0 && used > 0 && used < 1 && !behind[1].isEmpty()
            && Long.parseLong(table.get("earliestMessageTimeStamp")) > 0 && table.get("runtime").contains("days")
            && table.get("brokerVersionDesc").startsWith("V");
    }

    private void topics(String topic, String group) {
        check("206 fetchAllTopicList", () -> admin.fetchAllTopicList().getTopicList().contains(topic));
        check("224 fetchTopicsByCLuster", () -> admin.fetchTopicsByCLuster(CLUSTER).getTopicList().contains(topic));
        check("304 getSystemTopicList", () -> api().getSystemTopicList(WITHIN_MS).getTopicList().contains(BROKER_NAME));
        check("305 getSystemTopicListFromBroker", () -> api().getSystemTopicListFromBroker(broker, WITHIN_MS).getTopicList().contains(CLUSTER));
        check("105 examineTopicRouteInfo", () -> admin.examineTopicRouteInfo(topic).getBrokerDatas().get(0).selectBrokerAddr().equals(broker));
        check("202 examineTopicStats", () -> admin.examineTopicStats(topic).getOffsetTable().size() == 4);
        check("21 getAllTopicConfig", () -> admin.getAllTopicConfig(broker, WITHIN_MS).getTopicConfigTable().containsKey(topic));
        check("351 examineTopicConfig", () -> admin.examineTopicConfig(broker, topic).getReadQueueNums() == 4);
        check("300 queryTopicConsumeByWho", () -> admin.queryTopicConsumeByWho(topic).getGroupList().contains(group));
        for (String name : new String[] {"TOPIC_PUT_NUMS", "TOPIC_PUT_SIZE"}) {
            check("315 viewBrokerStatsData " + name, () -> admin.viewBrokerStatsData(broker, name, topic).getStatsMinute().getSum() >= 0);
        }
        for (String name : new String[] {"GROUP_GET_NUMS", "GROUP_GET_SIZE"}) {
            String key = topic + "@" + group;
            check("315 viewBrokerStatsData " + name, () -> admin.viewBrokerStatsData(broker, name, key).getStatsMinute().getSum() >= 0);
        }
        for (String name : new String[] {"BROKER_PUT_NUMS", "BROKER_GET_NUMS"}) {
            check("315 viewBrokerStatsData " + name, () -> admin.viewBrokerStatsData(broker, name, CLUSTER).getStatsMinute().getSum() >= 0);
        }
    }

    private void groups(String topic, String group, String client, String id) {
        check("201 getAllSubscriptionGroup",
            () -> admin.getAllSubscriptionGroup(broker, WITHIN_MS).getSubscriptionGroupTable().containsKey(group));
        check("352 examineSubscriptionGroupConfig", () -> admin.examineSubscriptionGroupConfig(broker, group).getGroupName().equals(group));
        check("203 examineConsumerConnectionInfo", () -> {
            var connection = admin.examineConsumerConnectionInfo(group);
            return connection.getConnectionSet().iterator().next().getClientId().equals(client)
                && connection.getSubscriptionTable().containsKey(topic) && connection.getMessageModel() != null;
        });
        check("204 examineProducerConnectionInfo",
            () -> admin.examineProducerConnectionInfo("asked-producers", topic).getConnectionSet().size() == 1);
        check("208 examineConsumeStats", () -> admin.examineConsumeStats(group).computeTotalDiff() == 0);
        check("317 fetchConsumeStatsInBroker", () -> admin.fetchConsumeStatsInBroker(broker, false, WITHIN_MS).getConsumeStatsList().size() > 0);
        check("303 queryConsumeTimeSpan", () -> admin.queryConsumeTimeSpan(topic, group).get(0).getMaxTimeStamp() > 0);
        check("343 queryTopicsByConsumer", () -> admin.queryTopicsByConsumer(group).getTopicList().contains(topic));
        check("345 querySubscription", () -> admin.querySubscription(group, topic).getSubString().equals("*"));
        check("307 getConsumerRunningInfo", () -> admin.getConsumerRunningInfo(group, client, true).getMqTable().size() > 0);
        check("223 getConsumeStatus", () -> admin.getConsumeStatus(topic, group, client).get(client).size() == 4);
        check("309 consumeMessageDirectly", () -> admin.consumeMessageDirectly(group, client, topic, id).getConsumeResult() != null);
        check("308 queryCorrectionOffset", () -> {
            Map<Integer, Long> offsets = api().queryCorrectionOffset(broker, topic, "nobody", Set.of("other"), WITHIN_MS);
            return offsets.get(0) == 2 && offsets.size() == 4;
        });
        check("353 updateAndGetGroupReadForbidden", () -> {
            boolean before = admin.updateAndGetGroupReadForbidden(broker, "forbidden", topic, null).getReadable();
            boolean forbidden = admin.updateAndGetGroupReadForbidden(broker, "forbidden", topic, false).getReadable();
            boolean after = admin.updateAndGetGroupReadForbidden(broker, "forbidden", topic, true).getReadable();
            return before && !forbidden && after;
        });
    }

    private void queues(String topic, String id) {
        MessageQueue queue = new MessageQueue(topic, BROKER_NAME, 0);
        check("29 searchOffset", () -> admin.searchOffset(queue, 0) == 0);
        check("30 maxOffset", () -> admin.maxOffset(queue) == 2);
        check("31 minOffset", () -> admin.minOffset(queue) == 0);
        check("32 earliestMsgStoreTime", () -> admin.earliestMsgStoreTime(queue) > 0);
        check("321 queryConsumeQueue", () -> admin.queryConsumeQueue(broker, topic, 0, 0, 2, null).getQueueData().size() == 2);
        check("33 viewMessage", () -> new String(admin.viewMessage(topic, id).getBody()).equals("body-0"));
        check("12 queryMessage", () -> admin.queryMessage(topic, "key-0", 8, 0, Long.MAX_VALUE).getMessageList().size() == 1);
    }

    private void changes(String topic) {
        check("17 createAndUpdateTopicConfig", () -> {
            TopicConfig config = admin.examineTopicConfig(broker, topic);
            admin.createAndUpdateTopicConfig(broker, config);
            return admin.examineTopicConfig(broker, topic).getWriteQueueNums() == config.getWriteQueueNums();
        });
        check("18 createAndUpdateTopicConfigList", () -> {
            TopicConfig fifo = new TopicConfig("listed-fifo", 3, 3, 6);
            fifo.setAttributes(Map.of("+message.type", "FIFO"));
            admin.createAndUpdateTopicConfigList(broker, List.of(new TopicConfig("listed", 2, 2, 6), fifo));
            return admin.examineTopicConfig(broker, "listed").getReadQueueNums() == 2
                && "FIFO".equals(admin.examineTopicConfig(broker, "listed-fifo").getAttributes().get("message.type"));
        });
        check("200 createAndUpdateSubscriptionGroupConfig", () -> {
            admin.createAndUpdateSubscriptionGroupConfig(broker, group("listed-one"));
            return admin.examineSubscriptionGroupConfig(broker, "listed-one").getRetryMaxTimes() == 5;
        });
        check("225 createAndUpdateSubscriptionGroupConfigList", () -> {
            admin.createAndUpdateSubscriptionGroupConfigList(broker, List.of(group("listed-two"), group("listed-three")));
            return admin.examineSubscriptionGroupConfig(broker, "listed-two").getRetryMaxTimes() == 5
                && admin.examineSubscriptionGroupConfig(broker, "listed-three").getRetryMaxTimes() == 5;
        });
        check("207 deleteSubscriptionGroup", () -> {
            admin.deleteSubscriptionGroup(broker, "listed-one", true);
            return !admin.getAllSubscriptionGroup(broker, WITHIN_MS).getSubscriptionGroupTable().containsKey("listed-one");
        });
        check("215 deleteTopicInBroker", () -> {
            admin.deleteTopicInBroker(Set.of(broker), "listed");
            return !admin.getAllTopicConfig(broker, WITHIN_MS).getTopicConfigTable().containsKey("listed");
        });
        check("216 deleteTopicInNameServer", () -> {
            admin.deleteTopicInNameServer(Set.copyOf(admin.getNameServerAddressList()), CLUSTER, "listed");
            return true;
        });
    }

    private static SubscriptionGroupConfig group(String name) {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(name);
        config.setRetryMaxTimes(5);
        return config;
    }

    /** What the Dashboard reaches in the same way. */
    private MQClientAPIImpl api() throws Exception {
        var field = DefaultMQAdminExt.class.getDeclaredField("defaultMQAdminExtImpl");
        field.setAccessible(true);
        return ((DefaultMQAdminExtImpl) field.get(admin)).getMqClientInstance().getMQClientAPIImpl();
    }

    private void check(String call, Callable<Boolean> ask) {
        String found;
        try {
            found = ask.call() ? "ok" : "says something else";
        } catch (Exception failed) {
            found = failed.toString().replace('\n', ' ');
        }
        out.println(call + ": " + found);
    }
}
