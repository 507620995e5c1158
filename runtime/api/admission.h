// Who may come in, and with what: no revoked token, no deactivated user, no service that is not
// registered and active, no token of an earlier constitution, nothing that a user or service may
// not do any more.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/api/constitutions.h"
#include "runtime/security/authenticator.h"
#include "soma/v1/identity.pb.h"

namespace soma::runtime::api {

// Asked on every path that takes a token. Thread-safe; owned by the node. A tenant's identity actor
// is read once, after that its frames tell; at most kMaxRemembered tenants are remembered.
// Refusals are kUnauthenticated: "Invalid token" or "Constitution hash mismatch".
class Admission {
 public:
  explicit Admission(Constitutions& constitutions) : constitutions_(constitutions) {}

  // Nothing: not known yet, ask check().
  std::optional<Status> known(const security::Identity& who) const;
  // `done` runs at once where it is known, else on a host thread. An actor that cannot be read
  // refuses: nobody comes in unchecked.
  void check(Host& host, const security::Identity& who, std::function<void(Status)> done);
  // Leaves the caller what its user or service may do now, where that is known and there is such a
  // one: a token that was issued for more is worth no more. Nothing is taken from a user who is not
  // registered; of a service without a list nothing is left.
  void narrow(security::Identity& who) const;
  // Where the host does not observe all frames (one node of several), what was read is good for so
  // long; 500 ms unless said otherwise.
  void forget_after(std::chrono::milliseconds age) { max_age_ = age; }
  // Every valid frame.
  void follow(const events::ValidFrame& frame);

 private:
  struct Facts {
    bool loading = true;
    bool ages = false;  // the host does not observe all
    std::chrono::steady_clock::time_point read_at{};
    std::vector<std::pair<std::uint64_t, v1::IdentityEvent>> meanwhile;  // while loading
    std::set<std::string> revoked;                                       // token ids
    std::set<std::string> inactive;                                      // users
    std::set<std::string> services;                                      // active ones' subjects
    // Capabilities by subject.
    std::map<std::string, std::vector<std::string>> allowed;
    void learn(const v1::User& user);
    void learn(const v1::Service& service);
    bool keeps_out(const security::Identity& who) const;
    void apply(const v1::IdentityEvent& event);
  };
  bool old(const Facts& facts) const;
  void load(Host& host, const std::string& tenant, std::function<void(Status)> done);
  void take(const std::string& tenant, const StateView& view, bool ages);

  static constexpr std::size_t kMaxRemembered = 10'000;
  Constitutions& constitutions_;
  std::chrono::milliseconds max_age_{500};
  mutable std::mutex mutex_;
  std::map<std::string, Facts> facts_;
};

}  // namespace soma::runtime::api
