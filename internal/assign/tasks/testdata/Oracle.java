import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.*;
import org.apache.kafka.coordinator.group.api.streams.assignor.TopologyDescriber;
import org.apache.kafka.coordinator.group.streams.assignor.*;

/**
 * Asks Kafka's assignor of streams groups. Each line of stdin is a question, each
 * line of stdout its answer:
 *
 * standbys;id:tasks:stateful,...;member|process|active|standby|offsets;...
 * member|active|standby;...
 *
 * Tasks are subtopology_partition with a comma between, offsets have =offset
 * behind. Members and processes are numbers here, and in the question to Kafka
 * ids that stand in hash tables in the order of these numbers.
 */
public class Oracle {
    static String id(String number) {
        return Character.toString((char) (0x4000 + Integer.parseInt(number)));
    }

    static Map<String, Set<Integer>> tasks(String text) {
        Map<String, Set<Integer>> m = new TreeMap<>();
        for (String t : text.split(",")) {
            if (t.isEmpty()) continue;
            int at = t.indexOf('_');
            m.computeIfAbsent(t.substring(0, at), k -> new TreeSet<>()).add(Integer.parseInt(t.substring(at + 1)));
        }
        return m;
    }

    static Map<String, Map<Integer, Long>> offsets(String text) {
        Map<String, Map<Integer, Long>> m = new TreeMap<>();
        for (String t : text.split(",")) {
            if (t.isEmpty()) continue;
            int at = t.indexOf('_'), eq = t.indexOf('=');
            m.computeIfAbsent(t.substring(0, at), k -> new TreeMap<>())
                .put(Integer.parseInt(t.substring(at + 1, eq)), Long.parseLong(t.substring(eq + 1)));
        }
        return m;
    }

    static String text(Map<String, Set<Integer>> tasks) {
        List<String> all = new ArrayList<>();
        new TreeMap<>(tasks).forEach((s, ps) -> new TreeSet<>(ps).forEach(p -> all.add(s + "_" + p)));
        return String.join(",", all);
    }

    record Topology(SortedMap<String, int[]> parts) implements TopologyDescriber {
        public List<String> subtopologies() { return List.copyOf(parts.keySet()); }
        public int maxNumInputPartitions(String s) { return parts.get(s)[0]; }
        public boolean isStateful(String s) { return parts.get(s)[1] == 1; }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        for (String line; (line = in.readLine()) != null; ) {
            String[] parts = line.split(";", -1);
            SortedMap<String, int[]> topology = new TreeMap<>();
            for (String s : parts[1].split(",")) {
                String[] f = s.split(":");
                topology.put(f[0], new int[] {Integer.parseInt(f[1]), Integer.parseInt(f[2])});
            }
            Map<String, MemberMetadataAndStateImpl> members = new LinkedHashMap<>();
            for (int i = 2; i < parts.length; i++) {
                String[] f = parts[i].split("\\|", -1);
                members.put(id(f[0]), new MemberMetadataAndStateImpl(Optional.empty(), Optional.empty(), id(f[1]), Map.of(),
                    tasks(f[2]), tasks(f[3]), Map.of(), offsets(f[4]), Map.of()));
            }
            var spec = new GroupSpecImpl(members, new AssignmentConfigsImpl(Integer.parseInt(parts[0]), List.of()));
            var got = new StickyTaskAssignor().assign(spec, new Topology(topology)).members();
            for (int i = 2; i < parts.length; i++) {
                String number = parts[i].substring(0, parts[i].indexOf('|'));
                var a = got.get(id(number));
                out.append(i > 2 ? ";" : "").append(number).append('|').append(text(a.activeTasks())).append('|').append(text(a.standbyTasks()));
            }
            out.append('\n');
        }
        System.out.print(out);
    }
}
