import java.io.*;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.Stores;

/**
 * Runs Apache Kafka's command-line tools in one process, and beside them the
 * clients that give the tools something to show. Commands come on stdin, a line
 * each, their words separated by tabs; the answer to each is a line with the exit
 * status and the number of lines that follow, and what was printed.
 *
 * <pre>java -cp ... Tools BOOTSTRAP</pre>
 *
 * A command whose first word has a dot is a class to run. The others are the cases
 * of {@link #step}.
 */
public class Tools {
    /** Stands for the end of the process, where a tool asks for it. */
    static class Exited extends Error {
        Exited(int status) { super("exit " + status, null, false, false); }
    }

    static String bootstrap;
    static final Map<String, Client> clients = new HashMap<>();
    static final PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
    static volatile int status; // of the tool that runs
    static volatile boolean exited;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        PrintStream errors = System.err;
        Exit.Procedure exit = (code, message) -> {
            if (!exited) status = code;
            exited = true;
            System.setOut(nowhere); // a process would not come to say more
            System.setErr(nowhere);
            throw new Exited(code);
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        Exit.setShutdownHookAdder((name, runnable) -> { });
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            List<String> words = List.of(line.split("\t"));
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream both = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(both);
            System.setErr(both);
            status = 0;
            exited = false;
            Thread t = new Thread(() -> run(words), "command");
            t.setDaemon(true);
            t.start();
            t.join(90_000);
            if (t.isAlive()) {
                System.out.println("still at it after 90 s");
                status = 124;
                for (StackTraceElement e : t.getStackTrace()) errors.println("  at " + e);
            }
            both.flush();
            String text = printed.toString(StandardCharsets.UTF_8);
            List<String> lines = text.isEmpty() ? List.of() : text.lines().toList();
            answers.println(status + " " + lines.size());
            lines.forEach(answers::println);
            answers.flush();
        }
        System.exit(0);
    }

    static void run(List<String> words) {
        try {
            step(words.get(0), words.subList(1, words.size()));
        } catch (Exited e) {
            // status says it
        } catch (Throwable e) {
            status = 1;
            for (; e != null; e = e.getCause()) {
                System.out.println("threw " + e);
                if (e.getCause() == null) Arrays.stream(e.getStackTrace()).limit(8).forEach(s -> System.out.println("\tat " + s));
            }
        }
    }

    static void step(String command, List<String> args) throws Throwable {
        switch (command) {
            case "produce" -> produce(args.get(0), Integer.parseInt(args.get(1)), Integer.parseInt(args.get(2)), Long.parseLong(args.get(3)));
            case "join" -> start(args.get(0), new Member(args));
            case "share" -> start(args.get(0), new Sharer(args));
            case "streams" -> start(args.get(0), new Application(args));
            case "begin" -> start(args.get(0), new Transaction(args));
            case "commit" -> ((Transaction) clients.get(args.get(0))).producer.commitTransaction();
            case "abort" -> ((Transaction) clients.get(args.get(0))).producer.abortTransaction();
            case "leave" -> clients.remove(args.get(0)).close();
            case "write" -> Files.write(Path.of(args.get(0)), args.subList(1, args.size()));
            case "cat" -> Files.readAllLines(Path.of(args.get(0))).forEach(System.out::println);
            default -> tool(command, args);
        }
    }

    /** Runs a tool's main, as if in a process of its own. */
    static void tool(String name, List<String> args) throws Throwable {
        Class<?> c = Class.forName(name);
        try {
            Field count = c.getDeclaredField("messageCount"); // of the console consumers
            count.setAccessible(true);
            count.setInt(null, 0);
        } catch (NoSuchFieldException e) {
            // another tool
        }
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", bootstrap));
        if (args.stream().anyMatch(a -> a.startsWith("--bootstrap-") || a.equals("version-mapping"))) all.clear(); // it says so itself
        all.addAll(args);
        try {
            c.getMethod("main", String[].class).invoke(null, (Object) all.toArray(new String[0]));
        } catch (java.lang.reflect.InvocationTargetException e) {
            throw e.getCause();
        }
    }

    // ---- clients ----

    interface Client {
        /** Returns when the client has come to do what it is for. */
        void start() throws Exception;

        void close() throws Exception;
    }

    static void start(String name, Client c) throws Exception {
        clients.put(name, c);
        c.start();
    }

    static Properties properties(List<String> more) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        for (String kv : more) p.put(kv.substring(0, kv.indexOf('=')), kv.substring(kv.indexOf('=') + 1));
        return p;
    }

    /** Writes records k0:v0 and so on, a second apart from the given time. */
    static void produce(String topic, int partition, int n, long from) throws Exception {
        try (var p = new KafkaProducer<>(properties(List.of("enable.idempotence=false")), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < n; i++) p.send(new ProducerRecord<>(topic, partition, from + 1000L * i, "k" + i, "v" + i)).get();
        }
    }

    /** A consumer that polls on its own thread. */
    abstract static class Poller implements Client {
        final CountDownLatch working = new CountDownLatch(1);
        private final Thread thread = new Thread(this::loop);
        private volatile boolean over;
        private volatile Throwable failed;

        abstract void open();

        abstract void poll();

        abstract void end();

        private void loop() {
            try {
                open();
                while (!over) poll();
                end();
            } catch (Throwable e) {
                failed = e;
                working.countDown();
            }
        }

        public void start() throws Exception {
            thread.setDaemon(true);
            thread.start();
            if (!working.await(60, TimeUnit.SECONDS)) throw new TimeoutException("nothing was assigned");
            if (failed != null) throw new ExecutionException(failed);
        }

        public void close() throws Exception {
            over = true;
            thread.join(30_000);
            if (failed != null) throw new ExecutionException(failed);
        }
    }

    /** A member of a classic or consumer group that commits what it read: NAME PROTOCOL GROUP TOPIC,TOPIC PROPERTY=VALUE... */
    static class Member extends Poller {
        private final Properties p;
        private final List<String> topics;
        private KafkaConsumer<String, String> consumer;

        Member(List<String> args) {
            List<String> more = new ArrayList<>(List.of("client.id=" + args.get(0), "group.protocol=" + args.get(1), "group.id=" + args.get(2),
                "auto.offset.reset=earliest", "enable.auto.commit=false"));
            more.addAll(args.subList(4, args.size()));
            p = properties(more);
            topics = List.of(args.get(3).split(","));
        }

        void open() {
            consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
            if (topics.get(0).startsWith("^")) consumer.subscribe(new SubscriptionPattern(topics.get(0).substring(1)));
            else consumer.subscribe(topics);
        }

        void poll() {
            if (!consumer.poll(Duration.ofMillis(100)).isEmpty()) consumer.commitSync();
            if (!consumer.assignment().isEmpty()) working.countDown();
        }

        void end() { consumer.close(); }
    }

    /** A member of a share group that accepts all it is given: NAME GROUP TOPIC PROPERTY=VALUE... */
    static class Sharer extends Poller {
        private final Properties p;
        private final List<String> topics;
        private KafkaShareConsumer<String, String> consumer;

        Sharer(List<String> args) {
            List<String> more = new ArrayList<>(List.of("client.id=" + args.get(0), "group.id=" + args.get(1)));
            more.addAll(args.subList(3, args.size()));
            p = properties(more);
            topics = List.of(args.get(2).split(","));
        }

        void open() {
            consumer = new KafkaShareConsumer<>(p, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(topics);
        }

        void poll() {
            consumer.poll(Duration.ofMillis(100));
            working.countDown();
        }

        void end() { consumer.close(); }
    }

    /** A transaction with one record in each of some partitions: NAME TRANSACTIONAL-ID TOPIC:PARTITION,... PROPERTY=VALUE... */
    static class Transaction implements Client {
        private final List<String> args;
        private final KafkaProducer<String, String> producer;

        Transaction(List<String> args) {
            this.args = args;
            List<String> more = new ArrayList<>(List.of("client.id=" + args.get(0), "transactional.id=" + args.get(1), "transaction.timeout.ms=600000"));
            more.addAll(args.subList(3, args.size()));
            producer = new KafkaProducer<>(properties(more), new StringSerializer(), new StringSerializer());
        }

        public void start() throws Exception {
            producer.initTransactions();
            producer.beginTransaction();
            for (String tp : args.get(2).split(",")) {
                int colon = tp.indexOf(':');
                producer.send(new ProducerRecord<>(tp.substring(0, colon), Integer.valueOf(tp.substring(colon + 1)), "k", "v")).get();
            }
        }

        public void close() { producer.close(Duration.ZERO); }
    }

    /** A Streams application that counts keys: NAME APPLICATION INPUT OUTPUT PROPERTY=VALUE... */
    static class Application implements Client {
        private final KafkaStreams app;
        private final CountDownLatch running = new CountDownLatch(1);

        Application(List<String> args) {
            List<String> more = new ArrayList<>(List.of("client.id=" + args.get(0), "application.id=" + args.get(1), "group.protocol=streams",
                "commit.interval.ms=100", "auto.offset.reset=earliest", "state.dir=" + System.getProperty("java.io.tmpdir") + "/" + args.get(0)));
            more.addAll(args.subList(4, args.size()));
            StreamsBuilder b = new StreamsBuilder();
            b.stream(args.get(2), Consumed.with(Serdes.String(), Serdes.String()))
                .groupBy((key, value) -> value, Grouped.with("by-value", Serdes.String(), Serdes.String()))
                .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts")).withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
                .toStream()
                .to(args.get(3), Produced.with(Serdes.String(), Serdes.Long()));
            app = new KafkaStreams(b.build(), properties(more));
            app.setStateListener((to, from) -> {
                if (to == KafkaStreams.State.RUNNING || to == KafkaStreams.State.ERROR) running.countDown();
            });
        }

        public void start() throws Exception {
            app.start();
            if (!running.await(60, TimeUnit.SECONDS)) throw new TimeoutException("the application is " + app.state());
        }

        public void close() { app.close(Duration.ofSeconds(30)); }
    }
}
