import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** For each line "class version hex": reads the message and writes it again, as hex. An empty hex means a new one. */
public class Echo {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        PrintStream out = new PrintStream(System.out, false);
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ", -1);
            try {
                Message message = (Message) Class.forName(words[0]).getDeclaredConstructor().newInstance();
                short version = Short.parseShort(words[1]);
                if (!words[2].equals("new")) {
                    ByteBuffer input = ByteBuffer.wrap(HexFormat.of().parseHex(words[2]));
                    message.read(new ByteBufferAccessor(input), version);
                    if (input.hasRemaining()) throw new Exception(input.remaining() + " bytes left");
                }
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
                message.write(new ByteBufferAccessor(output), cache, version);
                out.println(HexFormat.of().formatHex(output.array()));
            } catch (Throwable e) {
                out.println("error " + e);
            }
        }
        out.flush();
    }
}
