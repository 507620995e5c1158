// The parts in the order of their dependence; destruction runs the other way.
#include "runtime/node/node.h"

#include <signal.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "events/embedded/folder_lock.h"
#include "projections/projections.h"
#include "runtime/api/api.h"
#include "runtime/api/command_history.h"
#include "runtime/api/gate.h"
#include "runtime/api/guards.h"
#include "runtime/api/keys.h"
#include "runtime/api/terms_in_force.h"
#include "runtime/audit/keeper.h"
#include "runtime/cluster/cluster.h"
#include "runtime/effects/local_model.h"
#include "runtime/host/system_clock.h"
#include "runtime/node/erasing.h"
#include "runtime/node/first_constitution.h"
#include "runtime/node/integrators.h"
#include "runtime/node/journal.h"
#include "runtime/node/local_endpoint.h"
#include "runtime/node/node_id.h"
#include "runtime/node/routes.h"
#include "runtime/node/start_progress.h"
#include "runtime/snapshots/rocks_store.h"
#include "runtime/telemetry/log.h"
#include "schemas/json/json_text.h"

namespace soma::runtime {

namespace fs = std::filesystem;
namespace json = boost::json;
using config::Config;

namespace {
constexpr std::size_t kMinSecretBytes = 32;
constexpr int kDiskFailed = 86;  // a write or sync failed: only a restart knows what is on the disk
constexpr int kFailedDrainMs = 500;  // then: answers to those who wait
constexpr long kHealthCheckNs = 200'000'000;

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

bool stop_asked() {
  sigset_t pending;
  sigemptyset(&pending);
  ::sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}
// Ready means that lists answer, unless their database takes its time: our own server is made at a
// first start, another's may be away.
constexpr std::int64_t kWaitForOwnViewsMs = 8000;
constexpr std::int64_t kWaitForViewsMs = 1000;

int exit_code(const Error& error) {
  switch (error.code) {
    case Code::kLocked:
      return 8;
    case Code::kCorrupt:
      return 9;
    case Code::kInvalidArgument:
      return 2;
    case Code::kCancelled:
      return 0;
    default:
      return 1;
  }
}

class Node {
 public:
  Node(const Config& c, bool clustered) : c_(c), clustered_(clustered) {}

  // Requests lead to the worker and the host, model calls to the host, the host's answers back to
  // the routes: each is ended before what it leads to goes.
  ~Node() {
    integration_.reset();
    gateway_.reset();
    memory_server_.reset();
    metrics_server_.reset();
    if (erasing_) erasing_->ask_stop();  // whoever waits in it goes on
    router_.clear();
    metrics_router_.clear();
    if (cluster_) cluster_->give_up();  // what is queued ends at once
    worker_.stop();
    slow_.stop();
    look_ups_.stop();
    memory_.stop();  // a recall that waits for it would ask what is gone
    if (projections_) projections_->shut_down();
    if (erasing_) erasing_->stop();
    if (slm_) slm_->stop();
    frames_.reset();
    if (cluster_) cluster_->close();
    host_.reset();
    erasing_.reset();  // which the host told of frames until now
  }

  Status open() {
    fs::create_directories(fs::path(c_.data_dir) / "run");
    for (auto step : {&Node::open_log, &Node::open_security, &Node::open_models,
                      &Node::open_projections, &Node::open_host, &Node::join, &Node::open_http}) {
      if (stop_asked()) return fail(Code::kCancelled, "asked to stop while starting");
      if (auto ok = (this->*step)(); !ok) return ok;
    }
    if (auto serving = wait_until_serving(); !serving) return serving;
    if (security::is_developer_mode(guards_.deployment.mode()))
      if (auto ok = load_first_constitution(*api_.host, c_.data_dir, stop_asked); !ok) return ok;
    auto id = node_id_of(c_);
    if (!id) return tl::unexpected(id.error());
    integration_ = start_integrators(c_, *id, *log_, *catalog_, metrics_, *host_, *door_);
    projections_->wait_ready(c_.postgres_url.empty() ? kWaitForOwnViewsMs : kWaitForViewsMs);
    return erasing_->resume();  // it takes what serves away for a moment
  }

  Status announce() {
    json::object ready{
        {"event", "ready"},
        {"pid", ::getpid()},
        {"http", gateway_->url()},
        {"memory", memory_server_ ? json::value(memory_server_->url()) : json::value(nullptr)},
        {"metrics", metrics_server_ ? json::value(metrics_server_->url()) : json::value(nullptr)},
        {"kafka", c_.kafka_brokers.empty() ? json::value(nullptr) : json::value(c_.kafka_brokers)},
        {"data_dir", fs::absolute(c_.data_dir).lexically_normal().string()}};
    if (!c_.http_tls_cert_file.empty())
      ready["tls_cert_file"] = fs::absolute(c_.http_tls_cert_file).lexically_normal().string();
    const std::string line = json_text(ready) + "\n";
    if (auto ok = write_atomically(fs::path(c_.data_dir) / "run" / "endpoints.json", line); !ok)
      return ok;
    return ::write(1, line.data(), line.size()) == static_cast<ssize_t>(line.size())
               ? Status{}
               : fail(Code::kIo, "stdout is closed");
  }

  // Half of the time for requests under way, a quarter for the host, the rest for the children.
  void close(int drain_ms) {
    using Clock = std::chrono::steady_clock;
    // Others take over while this node still answers, through them.
    if (cluster_ && !cluster_->leave(drain_ms / 2))
      log_warn("the group was not left in time; others wait for its session");
    const auto until = Clock::now() + std::chrono::milliseconds(drain_ms / 2);
    integration_.reset();
    for (auto* server : {&gateway_, &memory_server_, &metrics_server_}) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
      if (*server) (*server)->stop(std::max(0, static_cast<int>(left.count())));
    }
    if (host_ && !host_->drain(drain_ms / 4))
      log_warn("not everything ended in time; the log has it");
    erasing_->ask_stop();
    memory_.stop();
    projections_->shut_down();  // so that what runs on the workers ends
    erasing_->stop();
    std::error_code ignored;
    fs::remove(fs::path(c_.data_dir) / "run" / "endpoints.json", ignored);
  }

  // The error after which this node has no place in its cluster any more.
  std::optional<Error> name_taken() const {
    const auto health = cluster_ ? cluster_->health() : Status{};
    if (health || health.error().code != Code::kLocked) return {};
    return health.error();
  }

  // The error after which the log takes nothing any more.
  std::optional<Error> disk_failure() const {
    const auto health = log_ ? log_->health() : Status{};
    if (health || code_disposition(health.error().code) != Disposition::kCrash) return {};
    return health.error();
  }

 private:
  Status open_log() {
    auto log = open_journal(c_);
    if (!log) return tl::unexpected(log.error());
    log_ = std::move(*log);
    auto sealing = seal_journal(c_, *catalog_, *log_);
    if (!sealing) return tl::unexpected(sealing.error());
    auto erasing = Erasing::open(c_, std::move(*sealing), *clock_);
    if (!erasing) return tl::unexpected(erasing.error());
    erasing_ = std::move(*erasing);
    auto store = open_rocks_store((fs::path(c_.data_dir) / "snapshots").string());
    if (!store) return tl::unexpected(store.error());
    if (store->recreated) log_warn("the snapshot store was damaged and is rebuilt from the log");
    store_ = std::move(store->store);
    memory_.follow(*log_,
                   clustered_);  // in the background: recalls wait for it, readiness does not
    return {};
  }

  Status open_security() {
    security::AuthOptions o;
    o.key_dir = (fs::path(c_.data_dir) / "keys").string();
    o.shared_keys = clustered_;
    o.jwks = c_.identity_jwks;
    o.hs256_secret = c_.identity_hs256_secret;
    o.issuer = c_.identity_issuer;
    o.audience = c_.identity_audience;
    auto trusted = security::TrustedKeys::read(c_.constitution_trusted_keys);
    if (!trusted) return tl::unexpected(trusted.error());
    auto in_developer_modes = *trusted;
    if (security::is_developer_mode(c_.mode)) {
      auto demo = demo_constitution_key(c_.data_dir);
      if (!demo) return tl::unexpected(demo.error());
      in_developer_modes.add(*demo);
    }
    return guards_.open(std::move(o), std::move(*trusted), std::move(in_developer_modes));
  }

  Status open_models() {
    slm_ = SlmClient::create({c_.slm_ca_file, {}, {}});
    auto chat = chat_endpoint(c_, chat_model_);
    if (!chat) return tl::unexpected(chat.error());
    auto embed = local_endpoint(c_, true, embedding_model_);
    if (!embed) return tl::unexpected(embed.error());
    effects_->client = slm_.get();
    effects_->tokens = &tokens_;
    effects_->metrics = &metrics_;
    effects_->clock = clock_.get();
    effects_->chat_endpoint = *chat;
    effects_->embedding_endpoint = named_endpoint(c_) && c_.slm_embedding == "off" ? *chat : *embed;
    effects_->recall = make_recall(memory_, *slm_, effects_->embedding_endpoint);
    effects_->look = [this](const auto& tenant, const auto& terms, auto done) {
      terms_.look(tenant, terms, std::move(done));
    };
    runner_ = make_effect_runner(effects_);
    return {};
  }

  Status open_projections() {
    // Reached, or started, in the background: lists answer 503 until then.
    auto projections = projections::Projections::start(
        *log_, {c_.postgres_url, c_.data_dir, [](const projections::Notice& n) {
                  n.problem ? log_warn(n.event, {{"detail", n.detail}})
                            : log_info(n.event, {{"detail", n.detail}});
                }});
    if (!projections) return tl::unexpected(projections.error());
    projections_ = std::move(*projections);
    return {};
  }

  Status open_host() {
    auto id = node_id_of(c_);
    if (!id) return tl::unexpected(id.error());
    HostParts parts{.log = log_.get(),
                    .catalog = catalog_.get(),
                    .clock = clock_.get(),
                    .effects = runner_.get(),
                    .store = store_.get(),
                    .node_id = *id};
    if (clustered_) {
      auto cluster = Cluster::start(cluster_options(c_, *id, metrics_), *log_, *catalog_, *clock_);
      if (!cluster) return tl::unexpected(cluster.error());
      cluster_ = std::move(*cluster);
      parts.address = cluster_->address();
      parts.shared = cluster_->shared();
      parts.shared->before_claim = [this] { return erasing_->may_serve(); };
    }
    parts.limits.waiting_per_actor = static_cast<std::size_t>(c_.mailbox_limit);
    parts.limits.active_actors_per_partition = static_cast<std::size_t>(c_.active_actors_limit);
    parts.limits.checkpoint_every_events = c_.checkpoint_every_events;
    // The producer has one request under way: a second frame would wait behind it and keep what
    // comes meanwhile waiting for a third.
    if (!c_.kafka_brokers.empty()) parts.limits.frames_in_flight = 1;
    parts.limits.idle_actor_ms = static_cast<std::int64_t>(c_.idle_actor_s) * 1000;
    parts.observers.push_back([this](const events::ValidFrame& frame) { memory_.on_frame(frame); });
    parts.observers.push_back([this](const events::ValidFrame& frame) {
      guards_.follow(frame);
      terms_.follow(frame);
    });
    auto host = start_host(std::move(parts));
    if (!host) return tl::unexpected(host.error());
    host_ = std::move(*host);
    erasing_->follow({host_.get(), store_.get(), &memory_, projections_.get(), c_.data_dir});
    api_.host = host_.get();
    if (cluster_) {
      cluster_->tells_heads(
          [this](const std::string& tenant) { return kept_heads(c_.data_dir, tenant); });
      api_.host = &cluster_->serve(*host_, tokens_);
    }
    frames_ = std::make_unique<FrameHub>(*api_.host);
    return {};
  }

  Status join() {
    if (!cluster_) return {};
    return enter_group(c_, *cluster_, group_);
  }

  Status open_http() {
    journal_ = std::make_unique<Journal>(*log_);
    auto& n = api_;
    n.catalog = catalog_.get();
    n.clock = clock_.get();
    n.deadlines = &deadlines_;
    n.frames = frames_.get();
    n.tokens = &tokens_;
    n.slm = slm_.get();
    n.chat_endpoint = effects_->chat_endpoint;
    n.embedding_endpoint = effects_->embedding_endpoint;
    n.memory = &memory_;
    n.projections = projections_.get();
    n.metrics = &metrics_;
    n.worker = &worker_;
    n.slow = &slow_;
    n.look_ups = &look_ups_;
    n.journal = journal_.get();
    n.store = store_.get();
    n.patient = patient_.get();
    guards_.give(n);
    n.chat_provider = !c_.slm_openai_base_url.empty() ? "openai " + c_.slm_openai_model
                                                      : (chat_model_ ? "local" : "");
    n.tickets = &tickets_;
    n.log = log_.get();
    n.partition_count = log_->partition_count();
    auto keeper = audit::open_keeper(*log_, c_.data_dir, c_.audit_head_interval_s, *clock_);
    if (!keeper) return tl::unexpected(keeper.error());
    audit_ = std::move(*keeper);
    n.audit = audit_.get();
    if (cluster_) n.standbys = [this] { return standby_rows(*cluster_); };
    if (cluster_)
      audit_->also([this](const std::string& tenant) { return cluster_->heads_elsewhere(tenant); });
    n.erasures = &erasing_->serve(*log_, *api_.host, *host_, cluster_.get(),
                                  [this] { return audit_->key(); });
    give_settings(n, c_);
    register_routes(router_, n);
    gate_ = std::make_unique<api::Gate>(api_, *guards_.admission, guards_.rates, keys_);
    door_ = std::make_unique<http::InProcess>(
        options_of("soma-topics"), router_,
        [this](auto header) { return guards_.authenticate(header); });
    if (!c_.metrics_listen.empty()) {
      api::register_metrics(metrics_router_, n);
      if (auto ok = listen(c_.metrics_listen, "soma-metrics", metrics_router_, metrics_server_);
          !ok)
        return ok;
    }
    if (auto ok = listen(c_.listen, "soma", router_, gateway_); !ok) return ok;
    return c_.memory_listen.empty()
               ? Status{}
               : listen(c_.memory_listen, "soma-memory", router_, memory_server_);
  }

  http::ServerOptions options_of(const std::string& service) {
    return server_options(c_, service, guards_.deployment, metrics_, tickets_, *gate_);
  }

  Status listen(const std::string& address, const std::string& service, const http::Router& router,
                std::unique_ptr<http::Server>& slot) {
    auto o = options_of(service);
    o.listen = address;
    auto server = http::Server::start(std::move(o), router,
                                      [this](auto header) { return guards_.authenticate(header); });
    if (!server) return tl::unexpected(server.error());
    slot = std::move(*server);
    return {};
  }

  // As long as it comes on: a long journal takes its time where this disk has nothing of it.
  Status wait_until_serving() {
    for (StartProgress progress;;) {
      bool all = !cluster_ || cluster_->settled();
      for (const auto& p : host_->status()) all &= p.serving;
      if (all) break;
      if (stop_asked()) return fail(Code::kCancelled, "asked to stop while starting");
      if (auto failed = disk_failure()) return tl::unexpected(*failed);
      const auto read = host_->metrics().recovered_frames + host_->metrics().restored_frames;
      if (auto ok = progress.look(read + (cluster_ ? cluster_->followed() : 0)); !ok) return ok;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    auto loaded = guards_.load(*api_.host);
    if (loaded) api::warn_of_guardrails(api_);
    return loaded;
  }

  const Config& c_;
  const bool clustered_;
  Metrics metrics_;
  Worker worker_;
  std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
  std::unique_ptr<Clock> clock_ = make_system_clock();
  Deadlines deadlines_{*clock_};
  std::unique_ptr<events::Log> log_;
  std::unique_ptr<StateStore> store_;
  api::Guards guards_{c_.mode, c_.kill_switch};
  api::TermsInForce terms_{api_, guards_};
  MemoryIndex memory_;
  TokenHub tokens_;
  std::unique_ptr<SlmClient> slm_;  // the host's effects use it to the end
  std::unique_ptr<LocalModel> chat_model_, embedding_model_;
  std::shared_ptr<RunnerParts> effects_ = std::make_shared<RunnerParts>();
  std::unique_ptr<EffectRunner> runner_;
  std::unique_ptr<projections::Projections> projections_;
  std::unique_ptr<Worker> patient_ = std::make_unique<Worker>();
  std::unique_ptr<events::GroupViewer> group_;
  std::unique_ptr<Cluster> cluster_;  // its callbacks come from the host
  std::unique_ptr<PartitionHost> host_;
  std::unique_ptr<FrameHub> frames_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<audit::Keeper> audit_;
  std::unique_ptr<Erasing> erasing_;
  Worker slow_;
  api::CommandLookUps look_ups_;
  api::Node api_;
  api::Keys keys_{api_};
  std::unique_ptr<api::Gate> gate_;
  security::Tickets tickets_{[this] { return clock_->now_ms(); }};
  http::Router router_, metrics_router_;
  std::unique_ptr<http::Server> gateway_, memory_server_, metrics_server_;
  std::unique_ptr<http::InProcess> door_;
  std::unique_ptr<integration::Integration> integration_;
};

}  // namespace

namespace {

int refuse_start(const Error& error) {
  log_error("cannot start",
            {{"code", std::string(code_name(error.code))}, {"reason", error.message}});
  return exit_code(error);
}

int exit_code_of_log(const Error& failure) {
  return failure.code == Code::kCorrupt ? exit_code(failure) : kDiskFailed;
}

sigset_t block_signals() {
  const sigset_t set = stop_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // before any thread: only sigwait takes them
  ::signal(SIGPIPE, SIG_IGN);
  return set;
}

int serve(const Config& c, const sigset_t& signals, bool clustered) {
  Node node(c, clustered);
  Status up = node.open();
  if (up) up = node.announce();
  if (!up) {
    refuse_start(up.error());
    const auto failed = node.disk_failure();
    return failed ? exit_code_of_log(*failed) : exit_code(up.error());
  }
  const timespec between{0, kHealthCheckNs};
  for (;;) {
    const int signal = ::sigtimedwait(&signals, nullptr, &between);
    if (auto failed = node.disk_failure()) {
      const bool damaged = failed->code == Code::kCorrupt;
      log_error(damaged ? "the log is damaged; see the runbook of a corrupt segment"
                        : "the log's disk failed; restart to read what it holds",
                {{"reason", failed->message}});
      node.close(kFailedDrainMs);
      return exit_code_of_log(*failed);
    }
    if (auto taken = node.name_taken()) {
      log_error("this node's name is taken", {{"reason", taken->message}});
      node.close(kFailedDrainMs);
      return exit_code(*taken);
    }
    if (signal == SIGTERM || signal == SIGINT) {
      log_info("stopping", {{"signal", signal}});
      node.close(static_cast<int>(c.drain_timeout_ms));
      const auto late = node.disk_failure();
      return late ? exit_code_of_log(*late) : 0;
    }
  }
}

}  // namespace

int run_dev(const Config& c) { return serve(c, block_signals(), false); }

int run_node(const Config& c) {
  if (c.kafka_brokers.empty() || c.postgres_url.empty())
    return refuse_start({Code::kInvalidArgument,
                         "soma node needs --kafka and --postgres; `soma dev` runs on one machine",
                         c.kafka_brokers.empty() ? "kafka.brokers" : "postgres.url"});
  if (c.cluster_secret.size() < kMinSecretBytes)
    return refuse_start({Code::kInvalidArgument,
                         "soma node needs cluster.secret (SOMA_CLUSTER_SECRET or "
                         "SOMA_CLUSTER_SECRET_FILE), the same on each node, at least 32 bytes",
                         "cluster.secret"});
  const sigset_t signals = block_signals();
  fs::create_directories(c.data_dir);
  events::FolderLock lock;
  if (auto taken = lock.take(c.data_dir); !taken) return refuse_start(taken.error());
  return serve(c, signals, true);
}

}  // namespace soma::runtime
