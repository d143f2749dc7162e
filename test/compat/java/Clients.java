import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/**
 * Apache Kafka's Java clients against a broker: transactions, consumers of both
 * group protocols, share consumers. Each part says what it saw, or throws.
 *
 * <pre>java -cp ... Clients.java BOOTSTRAP transactions|consumer|classic|share</pre>
 */
public class Clients {
    static String bootstrap;

    public static void main(String[] args) {
        bootstrap = args[0];
        try {
            part(args[1]);
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1); // members poll on
        }
        System.out.println("done " + args[1]);
        System.exit(0);
    }

    static void part(String name) throws Exception {
        switch (name) {
            case "transactions" -> transactions();
            case "consumer" -> consumers("consumer", List.of("uniform", "range"));
            case "classic" -> consumers("classic", List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor"));
            case "share" -> share();
            default -> throw new IllegalArgumentException(name);
        }
    }

    // ---- transactions ----

    static void transactions() throws Exception {
        try (Admin admin = admin()) {
            create(admin, "txn", 3);
            create(admin, "txn-in", 1);
            commitAndAbort(admin);
            fencing();
            timeout(admin);
            tools(admin);
        }
    }

    static void commitAndAbort(Admin admin) throws Exception {
        try (Producer<String, String> p = producer("t-1", 60_000)) {
            p.initTransactions();
            for (int round = 0; round < 4; round++) {
                p.beginTransaction();
                for (int i = 0; i < 3; i++) p.send(new ProducerRecord<>("txn", i, "k", (round % 2 == 0 ? "kept-" : "gone-") + round));
                p.flush(); // an abort drops what was not sent yet
                p.sendOffsetsToTransaction(Map.of(new TopicPartition("txn-in", 0), new OffsetAndMetadata(10 + round)), new ConsumerGroupMetadata("txn-group"));
                if (round % 2 == 0) p.commitTransaction();
                else p.abortTransaction();
            }
        }
        List<String> committed = readAll("txn", "read_committed"), all = readAll("txn", "read_uncommitted");
        check(committed.size() == 6 && committed.stream().allMatch(v -> v.startsWith("kept-")), "read_committed saw " + committed);
        check(all.size() == 12, "read_uncommitted saw " + all);
        await("the offset of the last commit", () -> {
            var o = get(admin.listConsumerGroupOffsets("txn-group").partitionsToOffsetAndMetadata()).get(new TopicPartition("txn-in", 0));
            return o != null && o.offset() == 12;
        });
        System.out.println("commit and abort: 6 of 12 records, offset 12");
    }

    static void fencing() {
        try (Producer<String, String> old = producer("t-2", 60_000); Producer<String, String> young = producer("t-2", 60_000)) {
            old.initTransactions();
            old.beginTransaction();
            old.send(new ProducerRecord<>("txn", 0, "k", "gone-zombie"));
            old.flush();
            young.initTransactions();
            Class<?> was = null;
            try {
                old.send(new ProducerRecord<>("txn", 0, "k", "gone-zombie"));
                old.commitTransaction();
            } catch (KafkaException e) {
                was = e.getClass();
            }
            check(was == ProducerFencedException.class || was == InvalidProducerEpochException.class || was == KafkaException.class, "the old producer got " + was);
            young.beginTransaction();
            young.send(new ProducerRecord<>("txn", 0, "k", "kept-young"));
            young.commitTransaction();
        }
        List<String> committed = readAll("txn", "read_committed");
        check(committed.size() == 7 && committed.stream().noneMatch(v -> v.startsWith("gone")), "after fencing: " + committed);
        System.out.println("fencing: the zombie's records are gone");
    }

    static void timeout(Admin admin) throws Exception {
        try (Producer<String, String> p = producer("t-3", 1_000)) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>("txn", 1, "k", "gone-late"));
            p.flush();
            await("the time-out ends the transaction", () ->
                get(admin.describeTransactions(List.of("t-3")).all()).get("t-3").state() == TransactionState.COMPLETE_ABORT);
            boolean refused = false;
            try {
                p.commitTransaction();
            } catch (KafkaException e) {
                refused = true;
            }
            check(refused, "a transaction that timed out was committed");
        }
        check(readAll("txn", "read_committed").size() == 7, "after the time-out");
        System.out.println("timeout: aborted by the coordinator, the commit refused");
    }

    static void tools(Admin admin) throws Exception {
        try (Producer<String, String> p = producer("t-4", 60_000)) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>("txn", 2, "k", "gone-terminated"));
            p.flush();
            TransactionDescription d = get(admin.describeTransactions(List.of("t-4")).all()).get("t-4");
            check(d.state() == TransactionState.ONGOING && d.topicPartitions().equals(Set.of(new TopicPartition("txn", 2))), d.toString());
            check(get(admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))).all())
                .stream().anyMatch(t -> t.transactionalId().equals("t-4")), "t-4 is not listed");
            var producers = get(admin.describeProducers(List.of(new TopicPartition("txn", 2))).all()).get(new TopicPartition("txn", 2)).activeProducers();
            check(producers.stream().anyMatch(s -> s.producerId() == d.producerId() && s.currentTransactionStartOffset().isPresent()), producers.toString());
            get(admin.forceTerminateTransaction("t-4").result());
            await("the terminated transaction is over", () -> {
                TransactionState s = get(admin.describeTransactions(List.of("t-4")).all()).get("t-4").state();
                return s == TransactionState.COMPLETE_ABORT || s == TransactionState.EMPTY;
            });
        }
        check(readAll("txn", "read_committed").size() == 7, "after the termination");
        System.out.println("tools: described, listed, terminated");
    }

    // ---- consumers ----

    static void consumers(String protocol, List<String> assignors) throws Exception {
        try (Admin admin = admin()) {
            for (String assignor : assignors) {
                String topic = protocol + "-" + assignor;
                create(admin, topic, 6);
                try (Producer<String, String> p = producer(null, 0)) {
                    for (int i = 0; i < 600; i++) p.send(new ProducerRecord<>(topic, i % 6, "k", "v" + i));
                }
                share(protocol, assignor, topic, admin);
            }
            if (protocol.equals("consumer")) pattern(admin);
        }
    }

    /** One member of a group, polling on a thread of its own. */
    static class Member implements AutoCloseable {
        final Consumer<String, String> c;
        final Thread thread;
        final Set<TopicPartition> owned = ConcurrentHashMap.newKeySet();
        final Set<String> seen;
        volatile boolean end;
        volatile Throwable failed;

        Member(Consumer<String, String> c, Set<String> seen, java.util.function.Consumer<Member> subscribe) {
            this.c = c;
            this.seen = seen;
            subscribe.accept(this);
            thread = new Thread(() -> {
                try {
                    while (!end) {
                        for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(50))) seen.add(r.value());
                        try {
                            c.commitSync();
                        } catch (RebalanceInProgressException | CommitFailedException e) {
                            // the next poll takes part in it, and the next commit says the same again
                        }
                    }
                } catch (Throwable e) {
                    failed = e;
                } finally {
                    c.close();
                }
            });
            thread.start();
        }

        ConsumerRebalanceListener listener() {
            return new ConsumerRebalanceListener() {
                public void onPartitionsAssigned(Collection<TopicPartition> p) { owned.addAll(p); }
                public void onPartitionsRevoked(Collection<TopicPartition> p) { owned.removeAll(p); }
                public void onPartitionsLost(Collection<TopicPartition> p) { owned.removeAll(p); }
            };
        }

        public void close() throws InterruptedException {
            end = true;
            thread.join();
            if (failed != null) throw new IllegalStateException("a member failed", failed);
        }
    }

    static Member member(String protocol, String assignor, String group, Set<String> seen, String instance, java.util.function.Consumer<Member> subscribe) {
        Properties c = consumerProperties(group);
        c.put("group.protocol", protocol);
        c.put("auto.offset.reset", "earliest");
        c.put("enable.auto.commit", "false");
        if (instance != null) c.put("group.instance.id", instance);
        if (protocol.equals("consumer")) c.put("group.remote.assignor", assignor);
        else {
            c.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
            c.put("heartbeat.interval.ms", "300");
            c.put("session.timeout.ms", "6000");
        }
        return new Member(new KafkaConsumer<>(c), seen, subscribe);
    }

    static void share(String protocol, String assignor, String topic, Admin admin) throws Exception {
        Set<String> seen = ConcurrentHashMap.newKeySet();
        java.util.function.Consumer<Member> subscribe = m -> m.c.subscribe(List.of(topic), m.listener());
        String group = "g-" + topic;
        Member a = member(protocol, assignor, group, seen, null, subscribe), b = member(protocol, assignor, group, seen, null, subscribe);
        Member s = member(protocol, assignor, group, seen, "static-1", subscribe);
        List<Member> three = List.of(a, b, s);
        await(group + ": two partitions each", () -> three.stream().allMatch(m -> m.owned.size() == 2) && disjoint(three));
        await(group + ": all records", () -> seen.size() == 600);
        b.close();
        await(group + ": three partitions each", () -> a.owned.size() == 3 && s.owned.size() == 3);
        Set<TopicPartition> had = Set.copyOf(s.owned);
        s.close(); // a static member leaves no gap that is filled at once
        Member again = member(protocol, assignor, group, seen, "static-1", subscribe);
        await(group + ": the static member has its partitions back", () -> again.owned.equals(had) && a.owned.size() == 3);
        await(group + ": all is committed", () -> {
            var offsets = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
            return offsets.size() == 6 && offsets.values().stream().allMatch(o -> o.offset() == 100);
        });
        ConsumerGroupDescription d = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        check(d.members().size() == 2 && d.type().toString().equalsIgnoreCase(protocol), d.toString());
        again.close();
        a.close();
        System.out.println(protocol + " " + assignor + ": 600 records, handed over and back");
    }

    static boolean disjoint(List<Member> all) {
        Set<TopicPartition> union = new HashSet<>();
        int n = 0;
        for (Member m : all) {
            union.addAll(m.owned);
            n += m.owned.size();
        }
        return union.size() == n;
    }

    static void pattern(Admin admin) throws Exception {
        create(admin, "pattern-1", 2);
        Set<String> seen = ConcurrentHashMap.newKeySet();
        try (Member m = member("consumer", "uniform", "g-pattern", seen, null, x -> x.c.subscribe(new SubscriptionPattern("pattern-.*"), x.listener()))) {
            await("the pattern finds a topic", () -> m.owned.size() == 2);
            create(admin, "pattern-2", 3);
            await("the pattern finds a new topic", () -> m.owned.size() == 5);
        }
        System.out.println("consumer pattern: resolved by the broker, new topics too");
    }

    // ---- share groups ----

    static void share() throws Exception {
        try (Admin admin = admin(); Producer<String, String> p = producer(null, 0)) {
            create(admin, "share", 2);
            fromEarliest(admin, "share-group");
            fromEarliest(admin, "share-explicit");
            for (int i = 0; i < 200; i++) p.send(new ProducerRecord<>("share", i % 2, "k", "v" + i));
            p.flush();
            implicit(admin);
            explicit();
        }
    }

    static void fromEarliest(Admin admin, String group) throws Exception {
        get(admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group),
            List.of(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET)))).all());
    }

    static KafkaShareConsumer<String, String> shareConsumer(String group, String mode) {
        Properties c = new Properties();
        c.put("bootstrap.servers", bootstrap);
        c.put("group.id", group);
        c.put("share.acknowledgement.mode", mode);
        KafkaShareConsumer<String, String> s = new KafkaShareConsumer<>(c, new StringDeserializer(), new StringDeserializer());
        s.subscribe(List.of("share"));
        return s;
    }

    static void implicit(Admin admin) throws Exception {
        Map<String, Integer> times = new HashMap<>();
        try (var a = shareConsumer("share-group", "implicit"); var b = shareConsumer("share-group", "implicit")) {
            await("both see all of it", () -> {
                for (var s : List.of(a, b)) for (var r : s.poll(Duration.ofMillis(100))) times.merge(r.value(), 1, Integer::sum);
                return times.size() == 200;
            });
            a.commitSync();
            b.commitSync();
        }
        check(times.values().stream().allMatch(n -> n == 1), "delivered more than once: " + times);
        await("the group has read all", () -> {
            var o = get(admin.listShareGroupOffsets(Map.of("share-group", new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo("share-group"));
            return o.size() == 2 && o.values().stream().allMatch(i -> i != null && i.lag().orElse(-1L) == 0);
        });
        System.out.println("share implicit: 200 records, each once");
    }

    static void explicit() {
        Map<String, Integer> deliveries = new HashMap<>();
        Set<String> accepted = new HashSet<>();
        try (var s = shareConsumer("share-explicit", "explicit")) {
            await("all are accepted or rejected", () -> {
                for (var r : s.poll(Duration.ofMillis(200))) {
                    int n = deliveries.merge(r.value(), 1, Integer::sum);
                    check(r.deliveryCount().orElse((short) -1) == n, r.value() + ": delivery " + r.deliveryCount() + ", seen " + n);
                    int v = Integer.parseInt(r.value().substring(1));
                    if (v % 10 == 3) s.acknowledge(r, AcknowledgeType.REJECT);
                    else if (v % 10 == 7 && n == 1) s.acknowledge(r, AcknowledgeType.RELEASE);
                    else {
                        s.acknowledge(r, AcknowledgeType.ACCEPT);
                        accepted.add(r.value());
                    }
                }
                s.commitSync();
                return accepted.size() == 180;
            });
            for (int i = 0; i < 3; i++) check(s.poll(Duration.ofMillis(100)).isEmpty(), "something came again");
        }
        check(deliveries.values().stream().filter(n -> n == 2).count() == 20, "released: " + deliveries);
        System.out.println("share explicit: 20 rejected, 20 released and delivered again");
    }

    // ---- what all need ----

    static Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    static void create(Admin admin, String topic, int partitions) throws Exception {
        get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all());
    }

    static Producer<String, String> producer(String transactionalId, int timeoutMs) {
        Properties c = new Properties();
        c.put("bootstrap.servers", bootstrap);
        if (transactionalId != null) {
            c.put("transactional.id", transactionalId);
            c.put("transaction.timeout.ms", timeoutMs);
        }
        return new KafkaProducer<>(c, new StringSerializer(), new StringSerializer());
    }

    static Properties consumerProperties(String group) {
        Properties c = new Properties();
        c.put("bootstrap.servers", bootstrap);
        if (group != null) c.put("group.id", group);
        c.put("key.deserializer", StringDeserializer.class.getName());
        c.put("value.deserializer", StringDeserializer.class.getName());
        c.put("metadata.max.age.ms", "500");
        return c;
    }

    /** All values of a topic up to its end, which for read_committed is the last stable offset. */
    static List<String> readAll(String topic, String isolation) {
        Properties c = consumerProperties(null);
        c.put("isolation.level", isolation);
        List<String> out = new ArrayList<>();
        try (Consumer<String, String> consumer = new KafkaConsumer<>(c)) {
            List<TopicPartition> all = consumer.partitionsFor(topic).stream().map(i -> new TopicPartition(topic, i.partition())).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            await(topic + " is read to its end", () -> {
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) out.add(r.value());
                return all.stream().allMatch(tp -> consumer.position(tp) >= ends.get(tp));
            });
        }
        return out;
    }

    static <T> T get(KafkaFuture<T> f) {
        try {
            return f.get(20, TimeUnit.SECONDS);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new IllegalStateException(otherwise);
    }

    static void await(String what, BooleanSupplier holds) {
        long end = System.nanoTime() + 40_000_000_000L;
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < end, "not within 40 s: " + what);
            try {
                Thread.sleep(20);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
