// Load and measurement, the same for both sides: sends numbered records, reads what follows from each with read_committed.
// usage: Load rate|drain NAME=VALUE …
//   bootstrap, in, out (topics), make=true (make both, 8 partitions), run (text in ids), keys (1000), settle_s (60)
//   rate: rate (records/s), seconds, warm_s (first seconds that do not count);  drain: records
// rate is an open loop: a record's latency counts from when it should have been sent, whether the load was late or not.
// drain fills the input, prints {"filled":true}, and waits for a line on stdin before it reads on; the worker is started then.
// Prints one line of JSON. An output is of the record that its value names; "repeated" is the same event (ce_id) published
// again, "doubled" another event of the same record, or a count of a key above the number of its records.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Load {
  private static final int PARTITIONS = 8;
  private static final String MARK = "b4 ";

  private final Map<String, String> options = new HashMap<>();
  private final String run;
  private final int keys, total;
  private final boolean drain;
  private final AtomicLong failed = new AtomicLong();
  private volatile long sentUntilNs, begunNs;
  private volatile boolean allSent;

  private final long[] latencyNs;  // of one that is never read: the longest there is
  private final BitSet seen = new BitSet();
  private final Map<Integer, String> eventOf = new HashMap<>();  // of those whose events have ids of their own
  private final Map<String, Long> highest = new HashMap<>();     // count of each key
  private long repeated, doubled, firstSeenNs, lastSeenNs;

  private Load(String[] args) {
    drain = args[0].equals("drain");
    for (String arg : Arrays.asList(args).subList(1, args.length)) {
      options.put(arg.substring(0, arg.indexOf('=')), arg.substring(arg.indexOf('=') + 1));
    }
    run = options.get("run");
    keys = number("keys", 1000);
    total = drain ? number("records", 0) : number("rate", 0) * number("seconds", 0);
    latencyNs = new long[total];
    Arrays.fill(latencyNs, Long.MAX_VALUE);
  }

  private int number(String name, int otherwise) {
    return Integer.parseInt(options.getOrDefault(name, String.valueOf(otherwise)));
  }

  private Properties client() {
    Properties p = new Properties();
    p.put("bootstrap.servers", options.get("bootstrap"));
    return p;
  }

  private int keyOf(int id) {
    return (int) ((id * 2654435761L >>> 8) % keys);
  }

  private void makeTopics() throws InterruptedException, ExecutionException {
    try (Admin admin = Admin.create(client())) {
      admin.createTopics(List.of(new NewTopic(options.get("in"), PARTITIONS, (short) 1),
                                 new NewTopic(options.get("out"), PARTITIONS, (short) 1))).all().get();
    }
  }

  private void send(KafkaProducer<byte[], byte[]> producer, int id, long dueNs) {
    String key = "k" + keyOf(id);
    String value = "{\"text\":\"" + MARK + id + " " + dueNs + "\",\"coord\":\"" + key + "\"}";
    List<Header> headers = List.of(new RecordHeader("ce_id", (run + "-" + id).getBytes(StandardCharsets.UTF_8)),
                                   new RecordHeader("ce_type", "memory.remember".getBytes(StandardCharsets.UTF_8)),
                                   new RecordHeader("ce_source", "/bench".getBytes(StandardCharsets.UTF_8)));
    producer.send(new ProducerRecord<>(options.get("in"), null, null, key.getBytes(StandardCharsets.UTF_8),
                                       value.getBytes(StandardCharsets.UTF_8), headers),
                  (metadata, error) -> {
                    if (error != null) failed.incrementAndGet();
                  });
  }

  private KafkaProducer<byte[], byte[]> producer() {
    Properties p = client();
    p.put("acks", "all");
    p.put("enable.idempotence", "true");
    p.put("linger.ms", drain ? "20" : "0");
    return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
  }

  private void sendAtRate() {
    double intervalNs = 1e9 / number("rate", 1);
    try (KafkaProducer<byte[], byte[]> producer = producer()) {
      producer.partitionsFor(options.get("in"));
      begunNs = System.nanoTime();
      for (int id = 0; id < total; ++id) {
        long due = begunNs + (long) (id * intervalNs);
        for (long wait; (wait = due - System.nanoTime()) > 0;) LockSupport.parkNanos(wait);
        send(producer, id, due);
      }
      producer.flush();
      sentUntilNs = System.nanoTime();
    } finally {
      allSent = true;
    }
  }

  private void fill() throws java.io.IOException {
    try (KafkaProducer<byte[], byte[]> producer = producer()) {
      for (int id = 0; id < total; ++id) send(producer, id, 0);
    }
    System.out.println("{\"filled\":true}");
    System.in.read();
    begunNs = sentUntilNs = System.nanoTime();
    allSent = true;
  }

  private static String header(ConsumerRecord<byte[], byte[]> record, String name) {
    Header header = record.headers().lastHeader(name);
    return header == null ? null : new String(header.value(), StandardCharsets.UTF_8);
  }

  private void take(ConsumerRecord<byte[], byte[]> record, long nowNs) {
    String type = header(record, "ce_type");
    if (!"memory.remember".equals(type) && !"memory.remembered".equals(type)) return;
    String value = new String(record.value(), StandardCharsets.UTF_8);
    int at = value.indexOf(MARK) + MARK.length(), space = value.indexOf(' ', at);
    int id = Integer.parseInt(value.substring(at, space));
    Header count = record.headers().lastHeader("count");
    if (count != null) {
      highest.merge(new String(record.key(), StandardCharsets.UTF_8), ByteBuffer.wrap(count.value()).getLong(), Math::max);
    }
    if (seen.get(id)) {
      boolean same = count == null && eventOf.get(id).equals(header(record, "ce_id"));
      if (same) ++repeated; else ++doubled;
      return;
    }
    seen.set(id);
    if (count == null) eventOf.put(id, header(record, "ce_id"));
    latencyNs[id] = nowNs - Long.parseLong(value.substring(space + 1, value.indexOf('"', space)));
    if (firstSeenNs == 0) firstSeenNs = nowNs;
    lastSeenNs = nowNs;
  }

  private void read(KafkaConsumer<byte[], byte[]> consumer) {
    long progressNs = System.nanoTime(), settleNs = number("settle_s", 60) * 1_000_000_000L;
    while (true) {
      var records = consumer.poll(java.time.Duration.ofMillis(100));
      long now = System.nanoTime();
      for (var record : records) take(record, now);
      if (lastSeenNs == now || !allSent) progressNs = now;
      boolean all = allSent && seen.cardinality() == total;
      // A moment longer for what should not come.
      if (all && now - lastSeenNs > 1_500_000_000L || now - progressNs > settleNs) return;
    }
  }

  private KafkaConsumer<byte[], byte[]> consumer() {
    Properties p = client();
    p.put("isolation.level", "read_committed");
    var consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    Set<TopicPartition> partitions = consumer.partitionsFor(options.get("out")).stream()
        .map(i -> new TopicPartition(i.topic(), i.partition())).collect(Collectors.toSet());
    consumer.assign(partitions);
    consumer.seekToEnd(partitions);
    partitions.forEach(consumer::position);
    return consumer;
  }

  private long countsTooHigh() {
    Map<String, Long> due = new HashMap<>();
    for (int id = 0; id < total; ++id) due.merge("k" + keyOf(id), 1L, Long::sum);
    return highest.entrySet().stream().mapToLong(e -> Math.max(0, e.getValue() - due.getOrDefault(e.getKey(), 0L))).sum();
  }

  private String report() {
    int from = drain ? 0 : number("rate", 0) * number("warm_s", 0);
    long[] sorted = Arrays.copyOfRange(latencyNs, from, total);
    Arrays.sort(sorted);
    StringBuilder out = new StringBuilder("{");
    out.append("\"sent\":").append(total).append(",\"unsent\":").append(failed.get()).append(",\"lost\":")
        .append(total - seen.cardinality()).append(",\"doubled\":").append(doubled + countsTooHigh()).append(",\"repeated\":")
        .append(repeated);
    if (!drain) {
      for (var q : List.of(50.0, 99.0, 99.9)) {
        String name = q == 99.9 ? "p999_ms" : "p" + q.intValue() + "_ms";
        long ns = sorted[(int) Math.min(sorted.length - 1, sorted.length * q / 100)];
        out.append(",\"").append(name).append("\":").append(String.format("%.2f", ns / 1e6));
      }
      out.append(",\"sent_per_s\":").append(Math.round(total / ((sentUntilNs - begunNs) / 1e9)));
    }
    double seconds = (lastSeenNs - (drain ? firstSeenNs : begunNs)) / 1e9;
    out.append(",\"read_per_s\":").append(seen.isEmpty() ? 0 : Math.round(seen.cardinality() / Math.max(seconds, 1e-3)));
    if (drain) out.append(",\"first_s\":").append(String.format("%.2f", (firstSeenNs - begunNs) / 1e9));
    return out.append("}").toString();
  }

  public static void main(String[] args) throws Exception {
    Load load = new Load(args);
    if (Boolean.parseBoolean(load.options.get("make"))) load.makeTopics();
    try (var consumer = load.consumer()) {
      if (load.drain) {
        load.fill();
      } else {
        Thread sender = new Thread(load::sendAtRate);
        sender.setDaemon(true);
        // The worker is started when both topics are there.
        System.out.println("{\"topics\":true}");
        System.in.read();
        sender.start();
      }
      load.read(consumer);
    }
    System.out.println(load.report());
  }
}
