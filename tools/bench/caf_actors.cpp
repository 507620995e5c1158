// CAF alone: event-based actors that count.
#include <caf/all.hpp>
#include <condition_variable>
#include <mutex>

#include "tools/bench/apart.h"
#include "tools/bench/host_peers.h"
#include "tools/bench/stack.h"

namespace soma::bench {

namespace {

// All have handled their message.
class Handled {
 public:
  explicit Handled(std::size_t all) : left_(all) {}
  void one() {
    std::lock_guard lock(mutex_);
    if (--left_ == 0) all_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    all_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  std::size_t left_;
};

caf::behavior count(caf::stateful_actor<std::int64_t>* self, Handled* handled) {
  self->state = 0;
  return {[self, handled](std::int64_t amount) {
    self->state += amount;
    handled->one();
  }};
}

double resident_bytes() { return usage_of({::getpid()}).rss_mb * 1e6; }

Result<double> bytes_each(std::size_t actors) {
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("sharing"));
  caf::actor_system system(config);
  std::vector<caf::actor> all;
  all.reserve(actors);
  const double before = resident_bytes();
  Handled handled(actors);
  for (std::size_t i = 0; i < actors; ++i) {
    all.push_back(system.spawn(count, &handled));
    caf::anon_send(all.back(), std::int64_t{1});
  }
  handled.wait();
  const double after = resident_bytes();
  for (const auto& actor : all) caf::anon_send_exit(actor, caf::exit_reason::kill);
  return (after - before) / static_cast<double>(actors);
}

}  // namespace

Result<double> bytes_of_a_caf_actor(const Options& o) {
  return apart<double>([&] { return bytes_each(o.amount); });
}

}  // namespace soma::bench
