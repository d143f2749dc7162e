import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/**
 * A group of three consumers changes from the classic to the consumer protocol and
 * back, one member after the other, while records keep coming. No record may be
 * lost; none may be read again once its offset is committed; no partition may have
 * two owners at any time.
 *
 * <pre>java -cp ... Migration.java BOOTSTRAP [INSTANCES]</pre>
 *
 * With INSTANCES the members are static and come back under their instance ids.
 */
public class Migration {
    static final int MEMBERS = 3, PARTITIONS = 6;
    static final String TOPIC = "migrated", GROUP = "migrants";
    static String bootstrap;
    static boolean statics;

    static final Map<TopicPartition, String> owners = new ConcurrentHashMap<>();
    static final Set<String> seen = ConcurrentHashMap.newKeySet(), committed = ConcurrentHashMap.newKeySet();
    static final AtomicLong again = new AtomicLong();
    static final Queue<String> wrong = new ConcurrentLinkedQueue<>();

    public static void main(String[] args) {
        bootstrap = args[0];
        statics = args.length > 1;
        try {
            roll();
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    static void roll() throws Exception {
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(TOPIC, PARTITIONS, (short) 1))).all().get();
            Load load = new Load();
            load.start();
            Member[] members = new Member[MEMBERS];
            for (int i = 0; i < MEMBERS; i++) members[i] = new Member(i, "classic", 0);
            settled(admin, members, "all classic");
            is(admin, GroupType.CLASSIC);
            for (String to : List.of("consumer", "classic")) {
                for (int i = 0; i < MEMBERS; i++) {
                    members[i].end();
                    members[i] = new Member(i, to, members[i].life + 1);
                    settled(admin, members, "member " + i + " speaks " + to);
                }
                is(admin, to.equals("classic") ? GroupType.CLASSIC : GroupType.CONSUMER);
                System.out.println("all " + to + ": " + committed.size() + " records");
            }
            Set<String> sent = load.end();
            await("all records are read", () -> seen.containsAll(sent));
            for (Member m : members) m.end();
            long offsets = 0;
            for (OffsetAndMetadata o : admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get().values()) offsets += o.offset();
            check(wrong.isEmpty(), wrong.toString());
            check(seen.equals(sent), seen.size() + " of " + sent.size() + " records were read");
            check(offsets == sent.size(), "the offsets come to " + offsets + " for " + sent.size() + " records");
            System.out.println("migrated: " + sent.size() + " records, each read and committed");
        }
    }

    /** settled returns when every partition has an owner, all members are in the group, and records flow. */
    static void settled(Admin admin, Member[] members, String when) {
        await(when, () -> {
            Set<String> names = new HashSet<>(owners.values());
            for (Member m : members) if (!names.contains(m.name)) return false;
            return owners.size() == PARTITIONS && names.size() == MEMBERS;
        });
        int before = committed.size();
        await("records flow when " + when, () -> committed.size() > before + 500);
        check(wrong.isEmpty(), when + ": " + wrong);
    }

    static void is(Admin admin, GroupType type) throws Exception {
        for (GroupListing g : admin.listGroups().all().get())
            if (g.groupId().equals(GROUP)) {
                check(g.type().orElse(GroupType.UNKNOWN) == type, "the group is " + g);
                return;
            }
        throw new IllegalStateException("no group");
    }

    /** Load sends numbered records until it is told to end. */
    static class Load extends Thread {
        final Set<String> sent = ConcurrentHashMap.newKeySet();
        volatile boolean over;

        public void run() {
            Map<String, Object> c = Map.of("bootstrap.servers", bootstrap, "linger.ms", 5, "enable.idempotence", true);
            try (Producer<String, String> p = new KafkaProducer<>(c, new StringSerializer(), new StringSerializer())) {
                for (int n = 0; !over; n++) {
                    String value = "r" + n;
                    p.send(new ProducerRecord<>(TOPIC, n % PARTITIONS, null, value), (md, e) -> {
                        if (e == null) sent.add(value);
                        else wrong.add("send: " + e);
                    });
                    if (n % 20 == 0) Thread.sleep(20);
                }
            } catch (InterruptedException e) {
                wrong.add(e.toString());
            }
        }

        Set<String> end() throws InterruptedException {
            over = true;
            join();
            return sent;
        }
    }

    /** Member is one consumer that commits what it read, batch by batch. */
    static class Member implements ConsumerRebalanceListener {
        final String name;
        final int life;
        final Consumer<String, String> consumer;
        final Thread thread;
        volatile boolean over;

        Member(int slot, String protocol, int life) {
            this.life = life;
            name = protocol + "-" + slot + "-" + life;
            Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", GROUP, "group.protocol", protocol,
                "enable.auto.commit", false, "auto.offset.reset", "earliest", "client.id", name));
            if (protocol.equals("classic")) c.put("heartbeat.interval.ms", 300);
            if (statics) c.put("group.instance.id", "i" + slot);
            consumer = new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
            thread = new Thread(this::read, name);
            thread.start();
        }

        void end() throws InterruptedException {
            over = true;
            thread.join();
        }

        void read() {
            try (consumer) {
                consumer.subscribe(List.of(TOPIC), this);
                while (!over) {
                    List<String> batch = new ArrayList<>();
                    for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) {
                        if (!name.equals(owners.get(new TopicPartition(r.topic(), r.partition())))) wrong.add(name + " reads " + r.partition() + " of " + owners);
                        if (committed.contains(r.value())) wrong.add(name + " reads " + r.value() + " that is committed");
                        if (!seen.add(r.value())) again.incrementAndGet();
                        batch.add(r.value());
                    }
                    try {
                        if (!batch.isEmpty()) consumer.commitSync();
                        committed.addAll(batch);
                    } catch (CommitFailedException | RebalanceInProgressException e) {
                        System.out.println(name + ": " + e.getClass().getSimpleName() + " with " + batch.size());
                    }
                }
            } catch (Throwable e) {
                wrong.add(name + ": " + e);
                e.printStackTrace();
            } finally {
                owners.values().removeIf(name::equals); // a static member is told nothing when it ends
            }
        }

        public void onPartitionsAssigned(Collection<TopicPartition> parts) {
            for (TopicPartition p : parts) {
                String old = owners.putIfAbsent(p, name);
                if (old != null) wrong.add(name + " gets " + p + " that " + old + " has");
            }
        }

        public void onPartitionsRevoked(Collection<TopicPartition> parts) {
            for (TopicPartition p : parts) owners.remove(p, name);
        }

        public void onPartitionsLost(Collection<TopicPartition> parts) {
            if (!over) wrong.add(name + " loses " + parts);
            onPartitionsRevoked(parts);
        }
    }

    static void await(String what, BooleanSupplier until) {
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
        while (!until.getAsBoolean()) {
            check(System.nanoTime() < limit, "not in 90 s: " + what + "; owners " + owners + "; " + wrong);
            try {
                Thread.sleep(20);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    static void check(boolean ok, String why) {
        if (!ok) throw new IllegalStateException(why);
    }
}
