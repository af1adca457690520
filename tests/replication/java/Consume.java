// A push consumer of 4.x that consumes a topic of numbers until it has seen so many different ones.
//
//   java … Consume NAMESERVER TOPIC GROUP COUNT [PAUSE_MS [ORDERLY]]
//
// Each message takes it PAUSE_MS, 0 without it. With ORDERLY it consumes queues in order, for which it locks them. Prints how many different numbers it has seen, the least of them, and how many came again.
// Exit code 0: it was COUNT in time, and no more came.

import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

public final class Consume {
    /** Longest time without a new body, ms. */
    private static final long QUIET_MAX_MS = 60_000;
    private static final long LOOK_EVERY_MS = 100;
    /** The machine may be busy with something else. */
    private static final int API_MS = 30_000;
    /** Longest time for what is being consumed to end, before it is said where the group is, ms. */
    private static final long END_WITHIN_MS = 10_000;

    private Consume() {
    }

    public static void main(String[] arguments) throws Exception {
        int count = Integer.parseInt(arguments[3]);
        long pauseMs = arguments.length > 4 ? Long.parseLong(arguments[4]) : 0;
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        AtomicInteger repeats = new AtomicInteger();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments[2]);
        consumer.setNamesrvAddr(arguments[0]);
        consumer.setMqClientApiTimeout(API_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAwaitTerminationMillisWhenShutdown(END_WITHIN_MS);
        consumer.subscribe(arguments[1], "*");
        Consumer<List<MessageExt>> consume = messages -> {
            for (MessageExt message : messages) {
                if (!seen.add(Integer.valueOf(new String(message.getBody(), StandardCharsets.UTF_8).trim()))) {
                    repeats.incrementAndGet();
                }
                pause(pauseMs);
            }
        };
        if (arguments.length > 5) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                consume.accept(messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                consume.accept(messages);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        consumer.start();
        int before = -1;
        long changedAt = System.currentTimeMillis();
        while (seen.size() < count && System.currentTimeMillis() - changedAt < QUIET_MAX_MS) {
            if (seen.size() != before) {
                before = seen.size();
                changedAt = System.currentTimeMillis();
            }
            Thread.sleep(LOOK_EVERY_MS);
        }
        consumer.shutdown();
        System.out.println(seen.size() + " different from " + Collections.min(seen) + " on, " + repeats + " again");
        System.exit(seen.size() == count ? 0 : 1);
    }

    private static void pause(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }
}
