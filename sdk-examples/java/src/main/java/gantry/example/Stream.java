package gantry.example;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Function;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/**
 * Sends and receives until it is stopped, and says when it could: kill servers under it and see.
 *
 * <p>It sends one message after the other, every 50 ms if it can. What is received is acknowledged a second later, for as long as its handle
 * is good. Each success is a line with the time, in milliseconds since 1970, and the messages' bodies, no two of which are the same: "sent AT
 * BODY", "received AT BODY…", "acked RECEIVED_AT AT BODY". Failures are on stderr.
 */
final class Stream {
    private static final long SEND_EVERY_MS = 50;
    /** What is received is held so long before it is acknowledged. */
    private static final long HELD_FOR_MS = 1000;
    /** How long a message may be consumed: no acknowledgement is tried later. */
    private static final Duration INVISIBLE = Duration.ofSeconds(30);
    /** After a failure. */
    private static final long PAUSE_MS = 50;

    private record Held(MessageView message, long receivedAtMs) {
    }

    /** What is done again and again. */
    private interface Work {
        void once() throws Exception;
    }

    private final BlockingQueue<Held> held = new LinkedBlockingQueue<>();

    private final long beganAtMs = System.currentTimeMillis();
    private long number;

    /** {@code newMessage} makes what is sent of its body. */
    void run(Producer producer, SimpleConsumer consumer, Function<String, Message> newMessage) {
        new Thread(() -> forever(() -> receive(consumer)), "receive").start();
        new Thread(() -> forever(() -> acknowledge(consumer)), "acknowledge").start();
        forever(() -> send(producer, newMessage));
    }

    private void send(Producer producer, Function<String, Message> newMessage) throws Exception {
        long due = System.currentTimeMillis() + SEND_EVERY_MS;
        String body = beganAtMs + "-" + number++;
        producer.send(newMessage.apply(body));
        long sentAtMs = System.currentTimeMillis();
        System.out.println("sent " + sentAtMs + " " + body);
        Thread.sleep(Math.max(0, due - sentAtMs));
    }

    private void receive(SimpleConsumer consumer) throws Exception {
        List<MessageView> messages = consumer.receive(16, INVISIBLE);
        long receivedAtMs = System.currentTimeMillis();
        if (!messages.isEmpty()) {
            System.out.println("received " + receivedAtMs + " "
                + messages.stream().map(Stream::text).collect(Collectors.joining(" ")));
        }
        messages.forEach(message -> held.add(new Held(message, receivedAtMs)));
    }

    private void acknowledge(SimpleConsumer consumer) throws Exception {
        Held one = held.take();
        long receivedAtMs = one.receivedAtMs();
        Thread.sleep(Math.max(0, receivedAtMs + HELD_FOR_MS - System.currentTimeMillis()));
        try {
            consumer.ack(one.message());
            System.out.println("acked " + receivedAtMs + " " + System.currentTimeMillis() + " " + text(one.message()));
        } catch (Exception error) {
            if (System.currentTimeMillis() - receivedAtMs < INVISIBLE.toMillis()) {
                held.add(one);
            }
            throw error;
        }
    }

    private static String text(MessageView message) {
        return StandardCharsets.UTF_8.decode(message.getBody()).toString();
    }

    private static void forever(Work work) {
        while (true) {
            try {
                work.once();
            } catch (Exception error) {
                System.err.println(System.currentTimeMillis() + " " + error);
                try {
                    Thread.sleep(PAUSE_MS);
                } catch (InterruptedException stopped) {
                    return;
                }
            }
        }
    }
}
