import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs steps against two name servers, each step against both before the next, in one JVM because each start costs seconds.
 *
 * <pre>
 * Ask OURS APACHES STEP...
 *   mqadmin WORDS    Apache's mqadmin; what it prints is printed between two marks
 *   await TOPIC      waits until the topic has a route
 *   roundtrip TOPIC  what Roundtrip does
 * </pre>
 *
 * Marks are lines: "begin NAME STEP" with NAME "ours" or "apaches", and "end".
 */
public final class Ask {
    private static final PrintStream OUT = System.out;
    private static final long AWAIT_MS = 60_000;

    public static void main(String[] arguments) throws Exception {
        for (int step = 2; step < arguments.length; step++) {
            for (int server = 0; server < 2; server++) {
                String[] words = arguments[step].split(" ", 2);
                OUT.println("begin " + (server == 0 ? "ours" : "apaches") + " " + arguments[step]);
                switch (words[0]) {
                    case "mqadmin" -> mqadmin(arguments[server], words[1]);
                    case "await" -> await(arguments[server], words[1]);
                    case "roundtrip" -> Roundtrip.run(arguments[server], words[1]);
                    default -> throw new IllegalArgumentException(arguments[step]);
                }
                OUT.println("end");
            }
        }
        // Clients leave threads behind.
        OUT.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void mqadmin(String nameServer, String words) {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream both = new PrintStream(printed, true, StandardCharsets.UTF_8);
        PrintStream err = System.err;
        System.setOut(both);
        System.setErr(both);
        try {
            MQAdminStartup.main0((words + " -n " + nameServer).split(" "), null);
        } finally {
            System.setOut(OUT);
            System.setErr(err);
        }
        OUT.println(printed.toString(StandardCharsets.UTF_8));
    }

    private static void await(String nameServer, String topic) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameServer);
        admin.setInstanceName("await-" + System.nanoTime());
        admin.start();
        long deadline = System.currentTimeMillis() + AWAIT_MS;
        while (true) {
            try {
                admin.examineTopicRouteInfo(topic);
                break;
            } catch (MQClientException missing) {
                if (System.currentTimeMillis() > deadline) {
                    throw missing;
                }
                TimeUnit.MILLISECONDS.sleep(100);
            }
        }
        admin.shutdown();
    }
}
