// Pekko beside `soma bench replay|actors|projection`; compiled where it is run (pekko.cpp).
import com.sun.management.OperatingSystemMXBean;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.lang.management.ManagementFactory;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Supplier;
import java.util.stream.LongStream;
import org.apache.pekko.NotUsed;
import org.apache.pekko.actor.AbstractActor;
import org.apache.pekko.actor.ActorRef;
import org.apache.pekko.actor.ActorSystem;
import org.apache.pekko.actor.Props;
import org.apache.pekko.actor.typed.javadsl.Behaviors;
import org.apache.pekko.persistence.AbstractPersistentActor;
import org.apache.pekko.persistence.RecoveryCompleted;
import org.apache.pekko.projection.ProjectionBehavior;
import org.apache.pekko.projection.ProjectionId;
import org.apache.pekko.projection.javadsl.SourceProvider;
import org.apache.pekko.projection.jdbc.JdbcSession;
import org.apache.pekko.projection.jdbc.javadsl.JdbcHandler;
import org.apache.pekko.projection.jdbc.javadsl.JdbcProjection;
import org.apache.pekko.stream.javadsl.Source;

/** What Pekko does of what `soma bench replay|actors|projection` measures. Prints one line of JSON. */
public final class PekkoPeer {
  static final int ACTORS = 1000, BATCH = 200, GROUP = 5000, EVENTS_EACH = 10;
  static final String DATA = "{\"turn_started\":{\"turn\":1,\"at_ms\":\"1700000000000\",\"prompt\":\"" + "word ".repeat(40) + "\"}}";

  public static void main(String[] a) throws Exception {
    switch (a[0]) {
      case "replay" -> replay(Integer.parseInt(a[1]), a[2]);
      case "actors" -> actors(Integer.parseInt(a[1]));
      case "projection" -> project(Long.parseLong(a[1]), a[2]);
      default -> throw new IllegalArgumentException(a[0]);
    }
    System.exit(0);
  }

  static Config config(String more) {
    return ConfigFactory.parseString("pekko.loglevel = ERROR\npekko.log-dead-letters = off\n" + more)
        .withFallback(ConfigFactory.load());
  }

  static double cpuSeconds() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
  }

  static void end(ActorSystem system) throws Exception {
    system.terminate();
    system.getWhenTerminated().toCompletableFuture().get(60, TimeUnit.SECONDS);
  }

  // B6. Events of two bytes, as a counter's are here, in LevelDB; kept by nobody else.
  static final class Counter extends AbstractPersistentActor {
    final String id;
    final CountDownLatch recovered;
    final LongAdder sum;
    long value;

    Counter(String id, CountDownLatch recovered, LongAdder sum) {
      this.id = id;
      this.recovered = recovered;
      this.sum = sum;
    }

    @Override
    public String persistenceId() {
      return id;
    }

    @Override
    public Receive createReceiveRecover() {
      return receiveBuilder().match(byte[].class, e -> value += e[1]).match(RecoveryCompleted.class, r -> {
        sum.add(value);
        recovered.countDown();
      }).build();
    }

    @Override
    public Receive createReceive() {
      return receiveBuilder().match(Integer.class, n -> {
        final ActorRef asker = getSender();
        persistAll(Collections.nCopies(n, new byte[] {8, 1}), e -> value += e[1]);
        deferAsync("done", d -> asker.tell(n, getSelf()));
      }).build();
    }
  }

  static final class Filler extends AbstractActor {
    final CountDownLatch done;
    final int rounds;
    final java.util.Map<ActorRef, Integer> left = new java.util.HashMap<>();

    Filler(List<ActorRef> all, int rounds, CountDownLatch done) {
      this.done = done;
      this.rounds = rounds;
      for (ActorRef ref : all) {
        left.put(ref, rounds - 1);
        ref.tell(BATCH, getSelf());
      }
    }

    @Override
    public Receive createReceive() {
      return receiveBuilder().match(Integer.class, n -> {
        if (left.merge(getSender(), -1, Integer::sum) < 0) done.countDown();
        else getSender().tell(BATCH, getSelf());
      }).build();
    }
  }

  static List<ActorRef> counters(ActorSystem system, CountDownLatch recovered, LongAdder sum) {
    return java.util.stream.IntStream.range(0, ACTORS)
        .mapToObj(i -> system.actorOf(Props.create(Counter.class, () -> new Counter("c" + i, recovered, sum)))).toList();
  }

  static void replay(int events, String folder) throws Exception {
    final Config config = config("pekko.persistence.journal.plugin = \"pekko.persistence.journal.leveldb\"\n"
        + "pekko.persistence.journal.leveldb { dir = \"" + folder + "\", fsync = off, native = on }\n");
    final int rounds = Math.max(1, events / ACTORS / BATCH);
    ActorSystem system = ActorSystem.create("bench", config);
    final CountDownLatch filled = new CountDownLatch(ACTORS);
    final List<ActorRef> all = counters(system, new CountDownLatch(ACTORS), new LongAdder());
    system.actorOf(Props.create(Filler.class, () -> new Filler(all, rounds, filled)));
    filled.await();
    end(system);
    final long total = (long) rounds * ACTORS * BATCH;
    double seconds = 0, cpu = 0;
    for (int warm = 1; warm >= 0; --warm) {  // the first compiles it
      system = ActorSystem.create("bench", config);
      final CountDownLatch recovered = new CountDownLatch(ACTORS);
      final LongAdder sum = new LongAdder();
      final double cpuBefore = cpuSeconds();
      final long began = System.nanoTime();
      counters(system, recovered, sum);
      recovered.await();
      seconds = (System.nanoTime() - began) / 1e9;
      cpu = cpuSeconds() - cpuBefore;
      if (sum.sum() != total) throw new IllegalStateException("recovered " + sum.sum() + " of " + total);
      end(system);
    }
    System.out.printf("{\"events\":%d,\"seconds\":%.6f,\"cpu_s\":%.6f}%n", total, seconds, cpu);
  }

  // B8. Heap, after collections, by actor that has done one thing.
  static final class Plain extends AbstractActor {
    final CountDownLatch done;
    long value;

    Plain(CountDownLatch done) {
      this.done = done;
    }

    @Override
    public Receive createReceive() {
      return receiveBuilder().match(Long.class, n -> {
        value += n;
        done.countDown();
      }).build();
    }
  }

  static long used() throws Exception {
    for (int i = 0; i < 4; ++i) {
      System.gc();
      Thread.sleep(100);
    }
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }

  static void actors(int count) throws Exception {
    final ActorSystem system = ActorSystem.create("bench", config(""));
    final CountDownLatch done = new CountDownLatch(count);
    final Props props = Props.create(Plain.class, () -> new Plain(done));
    final long before = used();
    for (int i = 0; i < count; ++i) system.actorOf(props, "c" + i).tell(1L, ActorRef.noSender());
    done.await();
    System.out.printf("{\"actors\":%d,\"bytes_each\":%.1f}%n", count, (double) (used() - before) / count);
    end(system);
  }

  // B7. Exactly once: rows and offset in one transaction. Rows as ours of a session's events are, made of
  // nothing but their number.
  static final class Session implements JdbcSession {
    static final ArrayBlockingQueue<Connection> pool = new ArrayBlockingQueue<>(16);
    static volatile String url;
    final Connection connection;
    boolean last;

    Session() {
      try {
        final Connection kept = pool.poll();
        connection = kept != null ? kept : DriverManager.getConnection(url);
        connection.setAutoCommit(false);
      } catch (SQLException e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    public <R> R withConnection(org.apache.pekko.japi.function.Function<Connection, R> f) throws Exception {
      return f.apply(connection);
    }

    @Override
    public void commit() throws SQLException {
      connection.commit();
      if (last) Rows.done.countDown();
    }

    @Override
    public void rollback() throws SQLException {
      connection.rollback();
    }

    @Override
    public void close() throws SQLException {
      if (!pool.offer(connection)) connection.close();
    }
  }

  static final class Numbers extends SourceProvider<Long, Long> {
    final long count;

    Numbers(long count) {
      this.count = count;
    }

    @Override
    public CompletionStage<Source<Long, NotUsed>> source(Supplier<CompletionStage<Optional<Long>>> offset) {
      return offset.get().thenApply(
          o -> Source.fromIterator(() -> LongStream.rangeClosed(o.orElse(0L) + 1, count).boxed().iterator()));
    }

    @Override
    public Long extractOffset(Long number) {
      return number;
    }

    @Override
    public long extractCreationTime(Long number) {
      return 0L;
    }
  }

  static final class Rows extends JdbcHandler<List<Long>, Session> {
    static final CountDownLatch done = new CountDownLatch(1);
    final long count;

    Rows(long count) {
      this.count = count;
    }

    @Override
    public void process(Session session, List<Long> numbers) throws SQLException {
      try (var insert = session.connection.prepareStatement("INSERT INTO bench_rows (tenant_id, actor_type, session_id, sequence,"
              + " event_id, type, time_ms, position, principal, correlation_id, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::json)")) {
        for (long number : numbers) {
          final String id = "ses_" + number / EVENTS_EACH;
          insert.setString(1, "demo");
          insert.setString(2, "session");
          insert.setString(3, id);
          insert.setLong(4, number % EVENTS_EACH + 1);
          insert.setString(5, "evt_0123456789abcdef" + number);
          insert.setString(6, "turn.started");
          insert.setLong(7, 1_700_000_000_000L + number);
          insert.setString(8, "3/" + number);
          insert.setString(9, "user-1");
          insert.setString(10, id);
          insert.setString(11, DATA);
          insert.addBatch();
        }
        insert.executeBatch();
      }
      session.last = numbers.get(numbers.size() - 1) == count;
    }
  }

  static void project(long rows, String url) throws Exception {
    Session.url = url;
    final Config config = config("pekko.projection.jdbc { dialect = \"postgres-dialect\"\n"
        + "blocking-jdbc-dispatcher { type = Dispatcher, executor = \"thread-pool-executor\"\n"
        + "thread-pool-executor.fixed-pool-size = 8\nthroughput = 1 } }\n");
    final var typed = org.apache.pekko.actor.typed.ActorSystem.<Void>create(Behaviors.empty(), "bench", config);
    JdbcProjection.createTablesIfNotExists(Session::new, typed).toCompletableFuture().get(30, TimeUnit.SECONDS);
    try (Connection c = DriverManager.getConnection(url); var s = c.createStatement()) {
      s.execute("CREATE TABLE bench_rows (tenant_id text NOT NULL, actor_type text NOT NULL, session_id text NOT NULL, sequence bigint NOT NULL,"
          + " event_id text NOT NULL, type text NOT NULL, time_ms bigint NOT NULL, position text NOT NULL, principal text NOT NULL,"
          + " correlation_id text NOT NULL, data json NOT NULL, PRIMARY KEY (tenant_id, session_id, sequence))");
    }
    final var projection = JdbcProjection.groupedWithin(ProjectionId.of("bench", "0"), new Numbers(rows), Session::new,
        () -> new Rows(rows), typed).withGroup(GROUP, Duration.ofMillis(100));
    final double cpuBefore = cpuSeconds();
    final long began = System.nanoTime();
    typed.systemActorOf(ProjectionBehavior.create(projection), "rows", org.apache.pekko.actor.typed.Props.empty());
    Rows.done.await();
    final double seconds = (System.nanoTime() - began) / 1e9;
    long counted = 0;
    try (Connection c = DriverManager.getConnection(url); var s = c.createStatement()) {
      final var r = s.executeQuery("SELECT count(*) FROM bench_rows");
      r.next();
      counted = r.getLong(1);
    }
    if (counted != rows) throw new IllegalStateException(counted + " rows of " + rows);
    System.out.printf("{\"rows\":%d,\"seconds\":%.6f,\"cpu_s\":%.6f}%n", rows, seconds, cpuSeconds() - cpuBefore);
  }
}
