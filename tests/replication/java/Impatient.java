// Apache's broker as its start script starts it, which asks its master each second for what is not in the log, and not only each minute.

import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.store.config.BrokerRole;

public final class Impatient {
    private Impatient() {
    }

    public static void main(String[] arguments) {
        BrokerController broker = BrokerStartup.start(BrokerStartup.createBrokerController(arguments));
        if (broker.getMessageStoreConfig().getBrokerRole() == BrokerRole.SLAVE) {
            Executors.newSingleThreadScheduledExecutor().scheduleWithFixedDelay(
                broker.getSlaveSynchronize()::syncAll, 1, 1, TimeUnit.SECONDS);
        }
    }
}
