import java.io.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/**
 * A producer and a consumer of a group at their defaults, while others restart the
 * brokers. It sends numbers until its stdin ends, reads until it has all of them,
 * and says what it saw: errors that the clients surfaced, records lost, doubled or
 * out of order.
 *
 * <pre>java -cp ... Rolling.java BOOTSTRAP TOPIC PROTOCOL</pre>
 */
public class Rolling {
    static final List<String> errors = Collections.synchronizedList(new ArrayList<>());
    static final AtomicBoolean end = new AtomicBoolean();
    static final AtomicLong acked = new AtomicLong(), sent = new AtomicLong(), slowest = new AtomicLong();
    static volatile boolean allSent;

    public static void main(String[] args) throws Exception {
        Thread reader = new Thread(() -> read(args[0], args[1], args[2]));
        reader.start();
        Thread writer = new Thread(() -> write(args[0], args[1]));
        writer.start();
        for (BufferedReader in = new BufferedReader(new InputStreamReader(System.in)); in.readLine() != null; )
            System.out.println("acked " + acked.get());
        end.set(true);
        writer.join();
        reader.join();
        errors.forEach(e -> System.out.println("error " + e));
        System.out.printf("sent %d acked %d errors %d slowest %d ms%n", sent.get(), acked.get(), errors.size(), slowest.get());
        System.exit(0);
    }

    static void write(String bootstrap, String topic) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", StringSerializer.class.getName());
        p.put("value.serializer", StringSerializer.class.getName());
        try (Producer<String, String> producer = new KafkaProducer<>(p)) {
            while (!end.get()) {
                long n = sent.getAndIncrement(), began = System.nanoTime();
                producer.send(new ProducerRecord<>(topic, (int) (n % 6), null, Long.toString(n)), (meta, e) -> {
                    if (e != null) errors.add("producing " + n + ": " + e);
                    else acked.incrementAndGet();
                    slowest.accumulateAndGet((System.nanoTime() - began) / 1_000_000, Math::max);
                });
                Thread.sleep(1);
            }
        } catch (Exception e) {
            errors.add("producer: " + e);
        }
        allSent = true;
    }

    static void read(String bootstrap, String topic, String protocol) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("group.id", "rolling-" + protocol);
        p.put("group.protocol", protocol);
        p.put("auto.offset.reset", "earliest");
        p.put("key.deserializer", StringDeserializer.class.getName());
        p.put("value.deserializer", StringDeserializer.class.getName());
        Map<Long, Integer> seen = new HashMap<>();
        Map<Integer, Long> last = new HashMap<>();
        int outOfOrder = 0;
        long limit = Long.MAX_VALUE;
        try (Consumer<String, String> consumer = new KafkaConsumer<>(p)) {
            consumer.subscribe(List.of(topic));
            while (System.nanoTime() < limit && !(allSent && seen.size() >= acked.get())) {
                if (allSent && limit == Long.MAX_VALUE) limit = System.nanoTime() + 60_000_000_000L;
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) {
                    long n = Long.parseLong(r.value());
                    seen.merge(n, 1, Integer::sum);
                    Long before = last.put(r.partition(), n);
                    if (before != null && n <= before) outOfOrder++;
                }
            }
        } catch (Exception e) {
            errors.add("consumer: " + e);
        }
        long doubled = seen.values().stream().filter(c -> c > 1).count();
        System.out.printf("read %d lost %d doubled %d reordered %d%n", seen.size(), acked.get() - seen.size(), doubled, outOfOrder);
    }
}
