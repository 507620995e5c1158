// Steps, faults, phases.
#include "runtime/sim/world.h"

#include <algorithm>

#include "runtime/sim/buggy_catalog.h"

namespace soma::sim {

namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::int64_t kMaxOffsetMs = 20 * kHourMs;  // below the time for which retries are known
constexpr std::int64_t kSettleUs = 60 * kSecond;
constexpr std::int64_t kLongestBackOffMs = 600'000;  // what waits longer is ended by its workload
constexpr std::int64_t kQuietUs = 5 * kSecond;       // then whatever was on its way has come
constexpr std::uint32_t kStandbySeeds = 500'000;     // per million: worlds whose machines stand by
constexpr std::size_t kMaxLives = 3;                 // at most one a machine
constexpr std::uint32_t kViewsOdds = 600'000;        // worlds with a database, per million

struct WorkloadKind {
  const char* name;
  std::uint32_t odds;  // per million
  std::unique_ptr<Workload> (*make)();
};
constexpr WorkloadKind kWorkloads[] = {
    {"ledger", 1'000'000, make_ledger},     {"timers", 700'000, make_timers},
    {"sessions", 700'000, make_sessions},   {"poison_commands", 500'000, make_poison},
    {"approvals", 400'000, make_approvals}, {"budgets", 400'000, make_budgets},
    {"locks", 400'000, make_locks},         {"constitutions", 400'000, make_constitutions},
    {"tools", 400'000, make_tools},
};

std::unique_ptr<actors::Catalog> catalog_of(const Options& options) {
  return options.catalog ? options.catalog() : actors::standard_catalog();
}

std::uint32_t partitions_of(std::uint64_t seed) {
  Rng rng(seed, "partitions");
  return rng.pick(std::vector<std::uint32_t>{1, 2, 3, 4, 6});
}

}  // namespace

World::World(const Options& options)
    : ground_(options.seed, options.print, options.without),
      rng_(options.seed, "world"),
      steps_wanted_(options.steps),
      catalog_(catalog_of(options)),
      buggy_catalog_(make_buggy_catalog(catalog_of(options), [this] { return buggy_; })),
      log_(events::SimOptions{options.from ? options.from->partitions
                                           : partitions_of(options.seed)}),
      oracle_(ground_, log_, *catalog_),
      outside_(ground_, oracle_),
      network_(ground_),
      standby_rng_(options.seed, "standbys"),
      standbys_(standby_rng_.chance(kStandbySeeds)) {
  for (const char* name : {"a", "b", "c"})
    machines_.push_back(std::make_unique<Machine>(Machine{name, SimStore(ground_, name)}));
  choose_views(options);
  if (options.from) begin_with(*options.from);
  choose_shape(options);
  choose_cluster(options);
}

World::~World() = default;

void World::choose_views(const Options& options) {
  if (!Rng(ground_.seed, "with views").chance(kViewsOdds) || options.without.contains("views"))
    return;
  views_ = std::make_unique<Views>(ground_, oracle_);
  oracle_.on_frame([this](const events::ValidFrame& f) { views_->take(f); });
  shape_.views = views_.get();
}

// It is judged as everything else is. What it leaves waiting for a person, or parked, may stay so.
void World::begin_with(const Inherited& journal) {
  ground_.birth_ms = std::max(ground_.birth_ms, journal.last_ms + 1);
  for (const auto& [partition, record] : journal.records) log_.put_foreign(partition, record);
  for (const auto& [actor, folded] : oracle_.journal().actors()) inherited_.insert(actor);
  for (const auto& [actor, queue] : oracle_.journal().park().parked()) parked_before_.insert(actor);
}

// Which actors, how many clients, how small the limits: the seed's choice.
void World::choose_shape(const Options& options) {
  Rng rng(ground_.seed, "shape");
  auto& l = shape_.limits;
  l.queue_per_partition = rng.pick(std::vector<std::size_t>{3, 64, 65536});
  if (l.queue_per_partition == 64) l.waiting_per_actor = 2;
  l.frame_max_entries = rng.pick(std::vector<std::size_t>{1, 2, 8, 2048});
  l.frames_in_flight = rng.pick(std::vector<std::size_t>{1, 2, 8});
  l.active_actors_per_partition = rng.pick(std::vector<std::size_t>{1, 4, 20000});
  l.idle_actor_ms = l.active_actors_per_partition == 4 ? 500 : 60'000;
  l.checkpoint_every_events = rng.pick(std::vector<std::uint64_t>{4, 40, 20000});
  l.checkpoint_every_ms = rng.pick(std::vector<std::int64_t>{40, 400, 5000});
  shape_.order = rng.pick(std::vector<Order>{Order::kArrival, Order::kRandom, Order::kRandom,
                                             Order::kNewest, Order::kCaf});
  shape_.ground = &ground_;
  shape_.log = &log_;
  shape_.oracle = &oracle_;
  shape_.outside = &outside_;
  shape_.catalog = buggy_catalog_.get();
  for (const auto& kind : kWorkloads)
    if (rng.chance(kind.odds) && !options.without.contains(kind.name))
      workloads_.push_back(kind.make());
  if (workloads_.empty()) workloads_.push_back(make_ledger());
  std::vector<Workload*> all;
  for (auto& w : workloads_) {
    all.push_back(w.get());
    oracle_.on_frame(
        [raw = w.get(), this](const events::ValidFrame& f) { raw->frame(f, oracle_); });
  }
  const auto clients = static_cast<std::size_t>(2 + rng.below(15));
  clients_ = std::make_unique<Clients>(
      ground_, oracle_, [this] { return pick(); }, std::move(all),
      options.clients ? std::min(options.clients, clients) : clients);
}

Process* World::newest() {
  for (auto it = processes_.rbegin(); it != processes_.rend(); ++it)
    if ((*it)->life().alive) return it->get();
  return nullptr;
}

void World::start_on(std::size_t machine) {
  end_follower(machine);
  ProcessParts parts = shape_;
  parts.disk = &machines_[machine]->disk;
  parts.name = machines_[machine]->name + std::to_string(++lives_);
  if (auto p = Process::start(parts)) processes_.push_back(std::move(p));
}

std::size_t World::free_machine() {
  std::vector<std::size_t> free;
  for (std::size_t m = 0; m < machines_.size(); ++m)
    if (std::none_of(processes_.begin(), processes_.end(),
                     [&](const auto& p) { return p->life().name.starts_with(machines_[m]->name); }))
      free.push_back(m);
  return rng_.pick(free);
}

void World::kill(Process& process, const char* why) {
  ground_.note(process.life().name + " killed: " + why);
  process.life().alive = false;
}

void World::reap() {
  for (std::size_t i = 0; i < processes_.size();) {
    Process& p = *processes_[i];
    if (p.life().alive) {
      ++i;
      continue;
    }
    passivated_ += p.host().metrics().passivated.load();
    clients_->died(&p.life());
    SimStore& disk = p.disk();
    processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(i));
    disk.crash();
  }
  if (processes_.size() >= wanted_ || starting_) return;
  starting_ = true;
  ground_.time.after(rng_.between(1'000, 200'000), [this] {
    starting_ = false;
    if (processes_.size() < wanted_) start_on(free_machine());
  });
}

void World::jump(std::int64_t ms) {
  const std::int64_t to = ground_.wall_offset_ms + ms;
  if (to > kMaxOffsetMs || to < -kMaxOffsetMs) return;
  ground_.note("clock jumps by " + std::to_string(ms));
  ground_.wall_offset_ms = to;
  max_offset_ms_ = std::max(max_offset_ms_, to);
  for (auto& p : processes_) p->clock().jumped();
}

// As if retention had taken the beginning of a partition; an operator finds it again, and restarts
// whom it was missing to: a node does not come back from that by itself.
void World::hide_head() {
  const PartitionId p{static_cast<std::uint32_t>(rng_.below(log_.partition_count()))};
  const Offset before{rng_.below(log_.end(p).value + 1)};
  ground_.note("p" + std::to_string(p.value) + " seems to begin at " +
               std::to_string(before.value));
  ground_.hidden_before[p.value] = before;
  ground_.time.after(rng_.between(kSecond / 10, 10 * kSecond), [this] { show_heads(); });
}

void World::show_heads() {
  ground_.hidden_before.clear();
  for (auto& p : processes_)
    if (std::exchange(p->life().head_was_hidden, false))
      kill(*p, "restarted, as the log is whole again");
}

void World::strike() {
  auto& f = ground_.faults;
  Process* victim = processes_.empty()
                        ? nullptr
                        : processes_[static_cast<std::size_t>(rng_.below(processes_.size()))].get();
  if (victim && victim->life().alive) {
    Life& life = victim->life();
    if (f.draw(Fault::kCrash)) {
      if (!life.serving) f.count(Fault::kCrashInRecovery);
      kill(*victim, "crash");
    }
    if (f.draw(Fault::kPause)) {
      const std::int64_t us = rng_.chance(800'000) ? rng_.between(10'000, kSecond)
                                                   : rng_.between(kSecond, 60 * kSecond);
      ground_.note(life.name + " pauses for " + std::to_string(us));
      life.paused_until_us = ground_.time.now_us() + us;
    }
    const auto cut = [&](Fault fault, std::int64_t& until_us) {
      if (!f.draw(fault)) return;
      const std::int64_t us = rng_.between(10'000, 4 * kSecond);
      ground_.note(life.name + " " + std::string(fault_name(fault)) + " for " + std::to_string(us));
      until_us = ground_.time.now_us() + us;
    };
    cut(Fault::kNetCut, life.unreachable_until_us);
    cut(Fault::kOneWayCut, life.unheard_until_us);
    cut(Fault::kLogCut, life.log_cut_until_us);
    if (!victim->stopping && f.draw(Fault::kStop)) {
      ground_.note(life.name + " drains");
      victim->stop();
      ground_.time.after(rng_.between(1'000, kSecond), [this, life = victim->shared_life()] {
        for (auto& p : processes_)
          if (p->shared_life() == life) kill(*p, "stopped");
      });
    }
  }
  if (f.draw(Fault::kTakeover)) {
    if (group_)
      group_->shuffle();
    else if (processes_.size() >= kMaxLives)
      kill(*processes_.front(), "replaced");
    else if (!processes_.empty())
      start_on(free_machine());
  }
  if (f.draw(Fault::kClockForward))
    jump(rng_.between(1, rng_.chance(500'000) ? 5'000 : 10 * kHourMs));
  if (f.draw(Fault::kClockBack))
    jump(-rng_.between(1, rng_.chance(500'000) ? 5'000 : 10 * kHourMs));
  if (f.draw(Fault::kClockDrift)) {
    ground_.drift(rng_.between(-500, 500));
    ground_.note("clock drifts by " + std::to_string(ground_.drift_ppm) + " ppm");
    max_offset_ms_ = std::max(max_offset_ms_, ground_.wall_offset_ms);
  }
  if (f.draw(Fault::kHeadHidden)) hide_head();
  if (f.draw(Fault::kPoison)) {
    buggy_ = !buggy_;
    ground_.note(buggy_ ? "a bad build" : "a good build");
  }
  if (log_.health() && f.draw(Fault::kStorageFull)) {
    log_.set_full(true);
    ground_.note("storage full");
    ground_.time.after(rng_.between(10'000, 2 * kSecond), [this] {
      log_.set_full(false);
      ground_.note("storage free again");
    });
  }
}

bool World::step() {
  reap();
  std::vector<Process*> ready;
  for (auto& p : processes_)
    if (p->life().alive && !p->life().paused() && p->tasks().ready()) ready.push_back(p.get());
  const auto next = ground_.time.next_us();
  const bool due = next && *next <= ground_.time.now_us();
  if (!ready.empty() && (!due || rng_.chance(600'000))) {
    rng_.pick(ready)->tasks().run_one();
    ground_.time.pass(rng_.between(1, 8));
  } else if (!ground_.time.run_next()) {
    return false;
  }
  ++steps_;
  reap();
  return true;
}

void World::operate() {
  ground_.time.after(rng_.between(100'000, 500'000), [this] {
    Process* p = newest();
    if (p && !p->life().paused()) {
      std::set<ActorKey> actors = clients_->take_parked();
      for (const auto& [actor, queue] : oracle_.journal().park().parked()) actors.insert(actor);
      for (const auto& actor : actors) p->host().redrive(actor, [](const Status&) {});
    }
    operate();
  });
}

void World::safety() {
  if (group_) group_->start();
  for (std::size_t m = 0; m < wanted_; ++m) start_on(m);
  clients_->start();
  operate();
  while (steps_ < steps_wanted_ && !failed()) {
    strike();
    if (!step()) break;
    if (standbys_) stand_by();
  }
}

bool World::settled() const {
  if (clients_->open() > 0 || oracle_.journal().delivery().under_way() > 0) return false;
  if (!parked().empty()) return false;
  if (views_ && !views_->caught_up()) return false;
  for (const auto& w : workloads_)
    if (!w->unsettled(oracle_).empty()) return false;
  return waits().empty();
}

std::vector<std::string> World::waits() const {
  return oracle_.pending_effects(inherited_, ground_.wall_ms() + kLongestBackOffMs);
}

std::vector<ActorKey> World::parked() const {
  std::vector<ActorKey> out;
  for (const auto& [actor, queue] : oracle_.journal().park().parked())
    if (!parked_before_.contains(actor)) out.push_back(actor);
  return out;
}

// Faults off; one life goes on. All that is pending must come to its end.
void World::liveness() {
  ground_.note("liveness");
  for (std::size_t i = 0; i < machines_.size(); ++i) end_follower(i);
  ground_.faults.stop();
  clients_->stop();
  buggy_ = false;
  log_.set_full(false);
  show_heads();
  if (views_) views_->database().heal();
  wanted_ = 1;
  while (processes_.size() > 1) {
    kill(*processes_.front(), "one is enough");
    reap();
  }
  std::int64_t held_us = 0;  // until then what came for a process that was frozen is held
  for (auto& p : processes_) {
    held_us = std::max(held_us, std::exchange(p->life().paused_until_us, 0));
    p->life().unreachable_until_us = p->life().unheard_until_us = p->life().log_cut_until_us = 0;
    if (p->stopping) kill(*p, "was stopping");
    // Without a group nobody tells it; whoever begins anew claims all.
    for (std::uint32_t i = 0; !group_ && i < log_.partition_count(); ++i)
      if (p->life().alive && !oracle_.owns(p->life().name, PartitionId{i}))
        kill(*p, "another had claimed behind it");
  }
  ground_.drift(0);
  max_offset_ms_ = std::max(max_offset_ms_, ground_.wall_offset_ms);
  jump(max_offset_ms_ - ground_.wall_offset_ms);
  const std::int64_t began = ground_.time.now_us();
  const std::int64_t deadline =
      began + kSettleUs + std::min(oracle_.latest_wait_ms(), kLongestBackOffMs) * 1000;
  for (std::int64_t look = began; !failed();) {
    if (ground_.time.now_us() >= look) {
      if (settled()) break;
      look = ground_.time.now_us() + kSecond / 10;
      for (auto& w : workloads_)
        while (auto op = w->closing(oracle_)) clients_->close(w.get(), std::move(*op));
    }
    if (ground_.time.now_us() > deadline) {
      for (const auto& left : waits()) oracle_.complain("I17", {}, "still pending: " + left);
      if (const auto n = oracle_.journal().delivery().under_way())
        oracle_.complain("I17", {}, std::to_string(n) + " sends never arrived");
      for (const auto& actor : parked())
        oracle_.complain("I17", {}, to_string(actor) + " stays parked");
      if (views_ && !views_->caught_up())
        oracle_.complain("I17", {}, "the views stay behind the log");
      clients_->finish();
      break;
    }
    if (!step()) break;
  }
  settled_us_ = ground_.time.now_us() - began;
  const std::int64_t quiet = std::max(ground_.time.now_us(), held_us) + kQuietUs;
  while (!failed() && ground_.time.now_us() < quiet && step()) {
  }
  if (!failed()) clients_->check_answered();
}

// Of every actor, the newest state. A partition that finds out only now that it was claimed from
// under it claims it back, and is asked again.
void World::read_all(Process& process) {
  std::map<ActorKey, std::string> wanted;  // why it was not shown
  for (const auto& [key, folded] : oracle_.journal().actors()) wanted[key];
  for (int tries = 0; tries < 3 && !wanted.empty(); ++tries) {
    std::size_t left = wanted.size();
    for (const auto& [key, why] : std::exchange(wanted, {}))
      process.host().read(key, [this, &wanted, &left, key = key](Result<runtime::StateView> view) {
        --left;
        if (!view)
          wanted[key] = view.error().message;
        else
          oracle_.showed(key, *view, oracle_.journal().find(key)->sequence);
      });
    const std::int64_t began = ground_.time.now_us();
    const auto waits = [&] {
      const std::int64_t most = left > 0 ? kSettleUs : wanted.empty() ? 0 : kSecond;
      return ground_.time.now_us() - began < most;
    };
    while (waits() && !failed() && step()) {
    }
    if (failed()) return;
    if (left > 0) return oracle_.complain("I17", {}, std::to_string(left) + " reads got no answer");
  }
  for (const auto& [key, why] : wanted)
    oracle_.complain("I3", {}, to_string(key) + " cannot be read: " + why);
}

// Every actor as the host shows it, from memory, snapshots and log, then from the log alone.
void World::final_reads() {
  for (int round = 0; round < 2 && !failed(); ++round) {
    if (round == 1) {
      for (auto& m : machines_) m->disk.drop_all();
      if (!processes_.empty()) kill(*processes_.back(), "to read the log alone");
      for (int i = 0; i < 100'000 && (!newest() || ground_.time.next_us()); ++i) {
        if (newest() && (newest()->serves_all() || (!group_ && newest()->life().serving))) break;
        if (!step()) break;
      }
    }
    Process* p = newest();
    if (!p) return oracle_.complain("I17", {}, "no process is left to read from");
    read_all(*p);
    if (failed()) return;
    const auto left_over = p->local().pending_effects();
    if (!left_over) return oracle_.complain("I17", {}, left_over.error().message);
    if (std::any_of(left_over->begin(), left_over->end(), [&](const auto& e) {
          return e.effect.unknown.empty() && !inherited_.contains(e.actor) &&
                 oracle_.owns(p->life().name, e.actor);
        }))
      oracle_.complain("I16", {}, "an effect is shown as pending that no state calls for");
    oracle_.observed_all(p->life().name, p->cursor());
  }
}

Report World::run() {
  safety();
  if (!failed()) liveness();
  if (!failed()) final_reads();
  if (!failed()) {
    for (auto& w : workloads_) w->finish(oracle_, outside_);
    clients_->finish();
    if (views_) views_->compare();
    oracle_.check_rot(Rng(ground_.seed, "rot"));
  }
  Report r;
  r.seed = ground_.seed;
  r.steps = steps_;
  r.simulated_us = ground_.time.now_us();
  r.commands = clients_->issued();
  r.acknowledged = clients_->acknowledged();
  r.frames = oracle_.frames();
  r.voided = oracle_.voided();
  r.decided = oracle_.decided();
  r.events = oracle_.journal().events();
  r.lives = lives_;
  r.settled_us = settled_us_;
  for (auto& p : processes_) passivated_ += p->host().metrics().passivated.load();
  ground_.faults.count(Fault::kPassivation, passivated_);
  r.faults = ground_.faults.counts();
  if (failed()) {
    r.violation = oracle_.findings().front();
    r.violation_step = steps_;
    r.last_lines.assign(ground_.trace.tail().begin(), ground_.trace.tail().end());
  }
  r.trace_hash = ground_.trace.hash();
  processes_.clear();
  return r;
}

Report run(const Options& options) { return World(options).run(); }

std::vector<std::string> workload_names() {
  std::vector<std::string> out;
  for (const auto& kind : kWorkloads) out.emplace_back(kind.name);
  out.emplace_back("views");
  out.emplace_back("cluster");
  return out;
}

}  // namespace soma::sim
