// A name server and a broker of Apache RocketMQ in this process, on loopback ports that nothing else of ours uses.

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.common.topic.TopicValidator;
import org.apache.rocketmq.namesrv.NamesrvStartup;

final class Apache {
    static final String NAME_SERVER = "127.0.0.1:39876";
    static final String BROKER = "127.0.0.1:30911";
    static final String BROKER_NAME = "apache-a";

    private static final int ATTEMPTS_MAX = 60;

    private Apache() {
    }

    /** Starts both; the broker opens `directory`, whose log has segments of this length. */
    static BrokerController start(Path directory, long segmentBytes) throws Exception {
        System.setProperty("rocketmq.home.dir", directory + ".home");
        System.setProperty("user.home", directory + ".home");
        Path settings = Files.createDirectories(Path.of(directory + ".home")).resolve("settings");
        Files.writeString(settings, "listenPort=39876\n");
        NamesrvStartup.main0(new String[] {"-c", settings.toString()});
        Files.writeString(settings, String.join("\n",
            "brokerClusterName=DefaultCluster", "brokerName=" + BROKER_NAME, "brokerId=0", "brokerIP1=127.0.0.1",
            "brokerIP2=127.0.0.1", "listenPort=30911", "haListenPort=30912", "namesrvAddr=" + NAME_SERVER,
            "storePathRootDir=" + directory, "storePathCommitLog=" + directory + "/commitlog",
            "autoCreateTopicEnable=false", "autoCreateSubscriptionGroup=true", "transactionCheckInterval=5000",
            // Small files keep the directory small; the log rolls several times.
            "mappedFileSizeCommitLog=" + segmentBytes, "mappedFileSizeConsumeQueue=4000",
            "mappedFileSizeTimerLog=65536", "maxHashSlotNum=100", "maxIndexNum=400", "maxMessageSize=32768",
            "diskMaxUsedSpaceRatio=99", "waitTimeMillsInSendQueue=10000"));
        BrokerController broker = BrokerStartup.createBrokerController(new String[] {"-c", settings.toString()});
        BrokerStartup.start(broker);
        awaitRoute(broker);
        return broker;
    }

    /** The name server hears of a broker some time after its start; before that clients find no topic. */
    private static void awaitRoute(BrokerController broker) throws Exception {
        for (int attempt = 0; ; attempt++) {
            try {
                broker.registerBrokerAll(true, false, true);
                broker.getBrokerOuterAPI().getTopicRouteInfoFromNameServer(TopicValidator.RMQ_SYS_SELF_TEST_TOPIC, 3000);
                return;
            } catch (MQBrokerException unknown) {
                if (attempt == ATTEMPTS_MAX) {
                    throw unknown;
                }
                Thread.sleep(1000);
            }
        }
    }
}
