// Two nodes without a broker: one log, two hosts, and between them what nodes say to each other.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "runtime/cluster/cluster.h"
#include "runtime/effects/http_loop.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime {

inline const std::string kSecret(32, 's');

class ClusterOfTwo : public HostFixture {
 protected:
  struct Member {
    std::unique_ptr<StateStore> store = make_memory_store();
    TokenHub tokens;
    std::unique_ptr<Cluster> cluster;
    std::unique_ptr<PartitionHost> local;
    Host* host = nullptr;
    std::atomic<int> seen{0};
  };

  void SetUp() override {
    HostFixture::SetUp();
    host_.reset();
    join(a_, "a", kSecret);
    join(b_, "b", kSecret);
  }
  void TearDown() override {
    for (Member* m : {&a_, &b_}) m->cluster->close();
    for (Member* m : {&a_, &b_}) m->local.reset();
    HostFixture::TearDown();
  }
  void join(Member& m, const std::string& name, const std::string& secret,
            const std::string& advertised = {}, std::int64_t answer_ms = 11'000,
            events::Log* log = nullptr) {
    if (!log) log = log_.get();
    auto cluster = Cluster::start({.node_id = name,
                                   .listen = "127.0.0.1:0",
                                   .advertise = advertised,
                                   .secret = secret,
                                   .answer_ms = answer_ms},
                                  *log, *catalog_, *clock_);
    ASSERT_TRUE(cluster) << cluster.error().message;
    m.cluster = std::move(*cluster);
    HostParts parts{log,
                    catalog_.get(),
                    clock_.get(),
                    &runner_,
                    m.store.get(),
                    name,
                    m.cluster->address(),
                    limits_,
                    2,
                    {},
                    m.cluster->shared()};
    auto local = start_host(std::move(parts));
    ASSERT_TRUE(local) << local.error().message;
    m.local = std::move(*local);
    m.host = &m.cluster->serve(*m.local, m.tokens);
    m.host->on_frame([&m](const events::ValidFrame&) { ++m.seen; });
  }
  PartitionId partition(const std::string& id) const {
    return partition_of(counter(id), log_->partition_count());
  }
  // Opens an actor's partition and waits until the other node knows.
  void open(Member& m, const std::string& id) {
    m.local->open(partition(id));
    while (!m.local->here(partition(id)) || m.local->status().empty() ||
           !m.local->status().front().serving)
      std::this_thread::yield();
  }
  static Result<Accepted> add(Host& host, const std::string& id, std::int64_t amount,
                              const std::string& command_id, const std::string& hash = {},
                              bool once = false) {
    v1::CounterCommand c;
    c.mutable_add()->set_amount(amount);
    std::promise<Result<Accepted>> promise;
    host.submit({counter(id), c.SerializeAsString(), command_id, hash, {}, {}, {}, once},
                [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
    return promise.get_future().get();
  }
  static Result<std::int64_t> value(Host& host, const std::string& id) {
    std::promise<Result<StateView>> promise;
    host.read(counter(id), [&](Result<StateView> r) { promise.set_value(std::move(r)); });
    auto view = promise.get_future().get();
    if (!view) return tl::unexpected(view.error());
    return static_cast<const v1::CounterState&>(*view->state).value();
  }
  static HttpEnd post(const std::string& address, const std::string& body,
                      const std::string& signature) {
    HttpLoop loop(4);
    std::promise<HttpEnd> end;
    auto call = std::make_unique<HttpCall>();
    call->url = "http://" + address + kClusterPath;
    call->body = body;
    call->headers = {"Content-Type: application/x-protobuf",
                     std::string(kClusterHeader) + ": " + signature};
    call->on_end = [&](HttpEnd e) { end.set_value(std::move(e)); };
    loop.start(std::move(call));
    auto got = end.get_future().get();
    loop.stop();
    return got;
  }

  Member a_, b_;
};

}  // namespace soma::runtime
