import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.assignor.*;
import org.apache.kafka.coordinator.group.modern.*;

/**
 * Runs Kafka's own assignors on groups read from the standard input, see
 * assign_test.go for the lines. The first argument says in which order Kafka gets
 * the members: "sorted" by their ids, or "hashed" as its coordinator does.
 */
public class Assignors {
    static class Member {
        String instance, rack;
        Set<Uuid> topics = new LinkedHashSet<>();
        Map<Uuid, Set<Integer>> had = new HashMap<>();
    }

    public static void main(String[] args) throws Exception {
        boolean hashed = args[0].equals("hashed");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        PrintStream out = new PrintStream(System.out, false);
        String assignor = "";
        Map<Uuid, Integer> topics = new HashMap<>();
        Map<String, Member> members = new TreeMap<>();
        for (String line; (line = in.readLine()) != null; ) {
            String[] f = line.split(" ", -1);
            switch (f[0]) {
                case "group" -> {
                    assignor = f[1];
                    topics = new HashMap<>();
                    members = hashed ? new HashMap<>() : new TreeMap<>();
                }
                case "topic" -> topics.put(uuid(f[1]), Integer.parseInt(f[2]));
                case "member" -> {
                    Member m = new Member();
                    m.instance = f[2].isEmpty() ? null : f[2];
                    m.rack = f[3].isEmpty() ? null : f[3];
                    if (!f[4].isEmpty()) for (String t : f[4].split(",")) m.topics.add(uuid(t));
                    if (!f[5].isEmpty()) for (String part : f[5].split(";")) {
                        String[] tp = part.split(":");
                        Set<Integer> set = new HashSet<>();
                        for (String p : tp[1].split(",")) set.add(Integer.parseInt(p));
                        m.had.put(uuid(tp[0]), set);
                    }
                    members.put(f[1], m);
                }
                case "end" -> {
                    run(assignor, topics, members, hashed, out);
                    out.println("end");
                }
            }
        }
        out.flush();
    }

    static void run(String name, Map<Uuid, Integer> topics, Map<String, Member> members, boolean hashed, PrintStream out) {
        Map<String, MemberSubscriptionAndAssignmentImpl> specs = hashed ? new HashMap<>() : new TreeMap<>();
        Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
        Set<Set<Uuid>> subscriptions = new HashSet<>();
        members.forEach((id, m) -> {
            subscriptions.add(new HashSet<>(m.topics));
            m.had.forEach((t, parts) -> parts.forEach(p -> owners.computeIfAbsent(t, x -> new HashMap<>()).put(p, id)));
            specs.put(id, new MemberSubscriptionAndAssignmentImpl(
                Optional.ofNullable(m.rack), Optional.ofNullable(m.instance), m.topics, new Assignment(m.had)));
        });
        SubscriptionType type = subscriptions.size() > 1 ? SubscriptionType.HETEROGENEOUS : SubscriptionType.HOMOGENEOUS;
        SubscribedTopicDescriber describer = new SubscribedTopicDescriber() {
            public int numPartitions(Uuid t) { return topics.getOrDefault(t, -1); }
            public Set<String> racksForPartition(Uuid t, int p) { return Set.of("r" + p % 3); }
        };
        ConsumerGroupPartitionAssignor assignor = name.equals("range") ? new RangeAssignor() : new UniformAssignor();
        Map<String, MemberAssignment> result =
            assignor.assign(new GroupSpecImpl(Collections.unmodifiableMap(specs), type, owners), describer).members();
        for (String id : new TreeMap<>(members).keySet()) {
            out.print(id);
            MemberAssignment a = result.get(id);
            if (a != null) a.partitions().forEach((t, parts) -> parts.forEach(p -> out.print(" " + hex(t) + ":" + p)));
            out.println();
        }
    }

    static Uuid uuid(String hex) {
        return new Uuid(Long.parseUnsignedLong(hex.substring(0, 16), 16), Long.parseUnsignedLong(hex.substring(16), 16));
    }

    static String hex(Uuid u) {
        return String.format("%016x%016x", u.getMostSignificantBits(), u.getLeastSignificantBits());
    }
}
