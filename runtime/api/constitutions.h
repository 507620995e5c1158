// Which constitution is in force where, read from its actors and remembered as frames change it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/host/host.h"
#include "runtime/security/constitution_bundle.h"
#include "soma/v1/constitution.pb.h"

namespace soma::runtime::api {

// Owned by the node; thread-safe. A constitution whose key is not trusted (any more) is not in
// force: nothing is in force then, and governed requests are refused.
class Constitutions {
 public:
  // `developer`: the keys that developer modes trust; `configured`: those of all modes. None but
  // the configured ones count until set_mode().
  Constitutions(security::TrustedKeys configured, security::TrustedKeys developer)
      : configured_(std::move(configured)), developer_(std::move(developer)) {}
  const security::TrustedKeys& trusted_in(const std::string& mode) const;
  const security::TrustedKeys& trusted() const;  // in the mode in force
  void set_mode(const std::string& mode);

  struct InForce {
    std::shared_ptr<const v1::Constitution> constitution;  // shared: documents are not copied
    bool global = false;                                   // the tenant has none of its own
  };
  // The tenant's own, else the global one; nothing when there is neither. `done` runs at once when
  // both are remembered, else on a host thread.
  using Done = std::function<void(Result<std::optional<InForce>>)>;
  void in_force(Host& host, const std::string& tenant, Done done);

  // Its hash if that is remembered: "" where none is in force, nothing where in_force() must read.
  std::optional<std::string> hash_now(const std::string& tenant) const;

  // Every valid frame: what it says of constitutions is remembered.
  void follow(const events::ValidFrame& frame);

 private:
  // Of one tenant; null: it has none. Absent from the map: not read yet.
  using Known = std::shared_ptr<const v1::Constitution>;
  std::optional<Known> remembered(const std::string& tenant) const;
  void one(Host& host, const std::string& tenant, std::function<void(Result<Known>)> done);
  bool usable(const Known& known) const;

  static constexpr std::size_t kMaxRemembered = 10'000;
  const security::TrustedKeys configured_, developer_;
  std::atomic<bool> in_developer_mode_{false};
  mutable std::mutex mutex_;
  std::map<std::string, Known> known_;
};

}  // namespace soma::runtime::api
