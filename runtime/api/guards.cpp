// Each guard by itself; here they are only kept together.
#include "runtime/api/guards.h"

#include <future>

#include "runtime/telemetry/log.h"

namespace soma::runtime::api {

Guards::Guards(const std::string& mode, bool at_start)
    : kill_switch(at_start), deployment(mode, [this](const std::string& m) { mode_changed(m); }) {}

Status Guards::open(security::AuthOptions options, security::TrustedKeys configured,
                    security::TrustedKeys developer) {
  options.mode = deployment.mode();  // the strictest, until what was recorded is known
  auto made = security::Authenticator::create(std::move(options));
  if (!made) return tl::unexpected(made.error());
  authenticator = std::move(*made);
  constitutions = std::make_unique<Constitutions>(std::move(configured), std::move(developer));
  admission = std::make_unique<Admission>(*constitutions);
  return {};
}

void Guards::give(Node& node) {
  node.kill_switch = &kill_switch;
  node.deployment = &deployment;
  node.authenticator = authenticator.get();
  node.constitutions = constitutions.get();
  node.rulebook = &rulebook;
  node.admission = admission.get();
  node.jwks = [this] { return authenticator->public_jwks(); };
}

void Guards::follow(const events::ValidFrame& frame) {
  kill_switch.follow(frame);
  constitutions->follow(frame);
  rulebook.follow(frame);
  admission->follow(frame);
  deployment.follow(frame);
  rates.follow(frame);
}

Status Guards::load(Host& host) {
  std::promise<Status> switched, mode;
  kill_switch.load(host, [&](Status s) { switched.set_value(std::move(s)); });
  if (auto ok = switched.get_future().get(); !ok) return ok;
  deployment.load(host, [&](Status s) { mode.set_value(std::move(s)); });
  if (auto ok = mode.get_future().get(); !ok) return ok;
  std::vector<std::function<void()>> waiting;
  {
    std::lock_guard lock(loaded_mutex_);
    loaded_ = true;
    waiting.swap(waiting_);
  }
  for (const auto& what : waiting) what();
  return {};
}

void Guards::when_loaded(std::function<void()> what) {
  {
    std::lock_guard lock(loaded_mutex_);
    if (!loaded_) return waiting_.push_back(std::move(what));
  }
  what();
}

Result<security::Identity> Guards::authenticate(std::optional<std::string_view> header) const {
  if (!loaded_)
    return fail(Code::kUnavailable,
                "the node is starting and does not know yet who may do what; try again shortly");
  auto identity = authenticator->authenticate(header);
  if (!identity) return identity;
  const auto known = admission->known(*identity);
  if (known && !*known) return tl::unexpected(known->error());
  admission->narrow(*identity);
  return identity;
}

void Guards::mode_changed(const std::string& mode) {
  log_info("mode", {{"mode", mode}});
  authenticator->set_mode(mode);
  constitutions->set_mode(mode);
}

}  // namespace soma::runtime::api
