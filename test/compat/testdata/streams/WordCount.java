import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Counts the words of the lines in topic ID-lines, in topic ID-counts, until it is
 * told to end; ID is its application.id. Properties of the application are its
 * arguments, name=value.
 */
public class WordCount {
    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName());
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName());
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        p.put("commit.interval.ms", "200");
        p.put("consumer.auto.offset.reset", "earliest");
        for (String a : args) {
            p.put(a.substring(0, a.indexOf('=')), a.substring(a.indexOf('=') + 1));
        }
        StreamsBuilder b = new StreamsBuilder();
        KStream<String, String> lines = b.stream(p.getProperty("application.id") + "-lines");
        lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.as("by-word"))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("words")).withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(n -> Long.toString(n))
            .to(p.getProperty("application.id") + "-counts", Produced.with(Serdes.String(), Serdes.String()));
        KafkaStreams app = new KafkaStreams(b.build(), p);
        CountDownLatch done = new CountDownLatch(1);
        app.setStateListener((to, from) -> {
            System.out.println("STATE " + to);
            if (to == KafkaStreams.State.ERROR) {
                done.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> app.close(Duration.ofSeconds(20))));
        app.start();
        done.await();
    }
}
