// Listening, io threads, ticks, metrics and the orderly end.
#include "runtime/http/server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <charconv>
#include <condition_variable>
#include <ctime>
#include <thread>

#include "runtime/http/connection.h"
#include "runtime/http/guarded.h"
#include "runtime/http/tls_keeper.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime::http {

using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kAcceptedAtOnce = 256;

namespace {

// A step may close, which erases from the set; and what one throws is no other's loss.
template <typename Step>
void each(const std::unordered_set<std::shared_ptr<Connection>>& connections, Step step) {
  const std::vector<std::shared_ptr<Connection>> all(connections.begin(), connections.end());
  for (const auto& connection : all)
    if (!guarded([&] { step(*connection); })) connection->close();
}

}  // namespace

void Worker::tick() {
  timer.expires_after(kTick);  // first: whatever follows, there is a next one
  timer.async_wait([this](const error_code& error) {
    if (!error) tick();
  });
  now = Clock::now();
  if (now - refusals_since >= std::chrono::seconds(1)) {
    if (refusals_not_logged > 0)
      log_warn("http_refusals_not_logged", {{"count", refusals_not_logged}});
    refusals_logged = handshakes_logged = refusals_not_logged = 0;
    refusals_since = now;
  }
  char text[40];
  const std::time_t seconds = std::time(nullptr);
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  date.assign(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm));
  each(connections, [this](Connection& c) { c.check_deadline(now); });
  turned_away.close_old(now);
}

void Worker::drain() {
  each(connections, [](Connection& c) { c.drain(); });
}

void Worker::close_all() {
  timer.cancel();
  each(connections, [](Connection& c) { c.close(); });
  turned_away.close_all();
}

// Under overload a line for each refusal would cost more than the refusal, and fill the disk.
bool Worker::logs_refusal(std::size_t& logged) {
  if (logged < kRefusalLines) return ++logged > 0;
  ++refusals_not_logged;
  return false;
}

bool Worker::logs(int status) {
  using Log = ServerOptions::AccessLog;
  const Log log = core->options.access_log;
  if (log == Log::kAll) return true;
  const bool refusal = status == 401 || status == 403 || status == 503 || status == 507;
  if (log == Log::kOff || (status < 500 && !refusal)) return false;
  return !refusal || logs_refusal(refusals_logged);
}

void Worker::handshake_failed(const std::string& why) {
  core->failed_handshakes.add();
  const bool off = core->options.access_log == ServerOptions::AccessLog::kOff;
  if (off || !logs_refusal(handshakes_logged)) return;
  log_info("tls_handshake_failed", {{"service", core->options.service}, {"reason", why}});
}

void Worker::finish(const Prepared& prepared, int status, Clock::time_point started,
                    std::size_t bytes) {
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  const ServerOptions& options = core->options;
  if (options.metrics != nullptr) {
    const std::string route = prepared.route != nullptr ? prepared.route->pattern : "none";
    const std::string method = prepared.route != nullptr ? prepared.route->method : "other";
    auto [it, fresh] = metrics.try_emplace(prepared.route);
    const Labels labels{{"service", options.service}, {"route", route}, {"method", method}};
    if (fresh)
      it->second.seconds = options.metrics->histogram(
          "soma_http_request_seconds", "Time from a request's first byte to its answer's last",
          latency_buckets(), labels);
    it->second.seconds.observe(seconds);
    auto [counter, unseen] = it->second.by_status.try_emplace(status);
    if (unseen) {
      Labels with_status = labels;
      with_status["status"] = std::to_string(status);
      counter->second =
          options.metrics->counter("soma_http_requests_total", "Requests answered", with_status);
    }
    counter->second.add();
  }
  if (!logs(status)) return;
  const Request* request = prepared.request.get();
  log_info("http_request", {{"method", request != nullptr ? request->method : "?"},
                            {"route", request != nullptr ? request->route : ""},
                            {"status", status},
                            {"ms", seconds * 1000},
                            {"bytes", bytes},
                            {"tenant", request != nullptr ? request->tenant() : ""},
                            {"request_id", request != nullptr ? request->request_id : ""},
                            {"traceparent", request != nullptr ? request->traceparent : ""}});
}

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  std::shared_ptr<Core> core;
  std::vector<std::shared_ptr<Worker>> workers;
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards;
  std::vector<std::thread> threads;
  std::unique_ptr<tcp::acceptor> acceptor;  // on the first worker
  std::unique_ptr<TlsKeeper> tls;           // likewise
  std::unique_ptr<asio::steady_timer> retry;
  std::string host;
  std::uint16_t port = 0;
  std::size_t next = 0;
  bool stopped = false;

  void accept();
  bool accept_all();  // false: not now
  void accept_later();
  void take(Worker& worker, Channel channel);
  Status listen(const std::string& address);
};

// The connection is made on the thread that will own it.
void Server::Impl::take(Worker& worker, Channel channel) {
  const bool draining = core->draining.load();
  if (draining || core->connections.load() >= core->options.max_connections) {
    core->refused_connections.add();
    const Error why = draining
                          ? Error{Code::kUnavailable, "the node is stopping", {}}
                          : Error{Code::kOverloaded, "too many connections; try again shortly", {}};
    return worker.turned_away.add(std::move(channel), why, Clock::now());
  }
  core->connections.fetch_add(1);
  core->connection_gauge.add(1);
  auto connection = std::make_shared<Connection>(worker, std::move(channel));
  worker.connections.insert(connection);
  connection->start();
}

void Server::Impl::accept() {
  acceptor->async_wait(tcp::acceptor::wait_read, [this](const error_code& waited) {
    if (waited == asio::error::operation_aborted || !acceptor->is_open()) return;
    bool all = false;
    guarded([&] { all = accept_all(); });
    all ? accept() : accept_later();
  });
}

// All that have come, not one a turn: between two turns those that are connected are served, and a
// crowd of newcomers would wait for them over and over.
bool Server::Impl::accept_all() {
  const auto context = tls != nullptr ? tls->current(Clock::now()) : nullptr;
  for (std::size_t n = 0; n < kAcceptedAtOnce; ++n) {
    Worker& worker = *workers[next % workers.size()];
    error_code error;
    tcp::socket socket = acceptor->accept(worker.io, error);
    if (error == asio::error::would_block) break;
    if (error == asio::error::connection_aborted) continue;
    if (error) return false;
    ++next;
    if (&worker == workers[0].get()) {
      take(worker, {std::move(socket), context});
    } else {
      asio::post(worker.io, [this, &worker, context, s = std::move(socket)]() mutable {
        take(worker, {std::move(s), std::move(context)});
      });
    }
  }
  return true;
}

// Out of descriptors, most likely: trying again at once would spin.
void Server::Impl::accept_later() {
  retry->expires_after(kTick);
  retry->async_wait([this](const error_code& error) {
    if (!error && acceptor->is_open()) accept();
  });
}

Status Server::Impl::listen(const std::string& address) {
  const auto bad = [&](const std::string& why) {
    return fail(Code::kInvalidArgument, "cannot listen on " + address + ": " + why, "listen");
  };
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return bad("it must be HOST:PORT");
  host = address.substr(0, colon);
  std::uint16_t number = 0;
  const char* end = address.data() + address.size();
  const auto parsed = std::from_chars(address.data() + colon + 1, end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) return bad("the port is not a number");
  std::string name = host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']')
    name = name.substr(1, name.size() - 2);
  error_code error;
  tcp::resolver resolver(workers[0]->io);
  const auto found = resolver.resolve(name, std::to_string(number), tcp::resolver::passive, error);
  if (error || found.empty()) return bad("the host is unknown");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor = std::make_unique<tcp::acceptor>(workers[0]->io);
  retry = std::make_unique<asio::steady_timer>(workers[0]->io);
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->non_blocking(true, error);
  if (!error) acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (error) return bad(error.message());
  port = acceptor->local_endpoint(error).port();
  return {};
}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, const Router& router,
                                              AuthHook auth) {
  if (options.io_threads < 1 || options.io_threads > 16)
    return fail(Code::kInvalidArgument, "http.threads must be from 1 to 16", "http.threads");
  auto impl = std::make_shared<Impl>();
  impl->core = std::make_shared<Core>(std::move(options), router, std::move(auth));
  const ServerOptions& o = impl->core->options;
  if (o.metrics != nullptr) {
    const Labels labels{{"service", o.service}};
    impl->core->connection_gauge =
        o.metrics->gauge("soma_http_connections", "Open client connections", labels);
    impl->core->refused_connections = o.metrics->counter("soma_http_refused_connections_total",
                                                         "Connections beyond the limit", labels);
    if (o.tls.on())
      impl->core->failed_handshakes = o.metrics->counter(
          "soma_tls_handshake_failures_total", "Connections whose TLS handshake failed", labels);
  }
  if (o.tls.on()) {
    auto keeper = TlsKeeper::open(o.tls, o.service, o.metrics);
    if (!keeper) return tl::unexpected(keeper.error());
    impl->tls = std::move(*keeper);
  }
  for (int i = 0; i < o.io_threads; ++i)
    impl->workers.push_back(std::make_shared<Worker>(impl->core));
  if (auto listening = impl->listen(o.listen); !listening) return tl::unexpected(listening.error());
  for (const auto& worker : impl->workers) {
    impl->guards.push_back(asio::make_work_guard(worker->io));
    worker->tick();
  }
  impl->accept();
  for (const auto& worker : impl->workers)
    impl->threads.emplace_back([worker = worker.get()] {
      name_thread("soma-http");
      while (!guarded([&] { worker->io.run(); })) {  // thrown past a connection: the others go on
      }
    });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(0); }

std::uint16_t Server::port() const { return impl_->port; }
std::string Server::url() const {
  return (impl_->tls != nullptr ? "https://" : "http://") + impl_->host + ":" +
         std::to_string(impl_->port);
}
std::size_t Server::connections() const { return impl_->core->connections.load(); }

void Server::stop(int drain_ms) {
  if (std::exchange(impl_->stopped, true)) return;
  Core& core = *impl_->core;
  asio::post(impl_->workers[0]->io, [impl = impl_.get()] {
    error_code error;
    impl->acceptor->close(error);
    impl->retry->cancel();
  });
  core.draining = true;
  for (const auto& worker : impl_->workers)
    asio::post(worker->io, [w = worker.get()] { w->drain(); });
  // Draining is rare and bounded; a poll of one counter is plainer than a signal from each close.
  const auto deadline = Clock::now() + std::chrono::milliseconds(drain_ms);
  while (core.connections.load() > 0 && Clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  for (const auto& worker : impl_->workers) {
    asio::post(worker->io, [w = worker.get()] { w->close_all(); });
    asio::post(worker->io, [w = worker.get()] { w->io.stop(); });  // whatever the other throws
  }
  for (auto& thread : impl_->threads) thread.join();
  impl_->threads.clear();
  impl_->guards.clear();
  impl_->acceptor.reset();
  impl_->retry.reset();
}

}  // namespace soma::runtime::http
