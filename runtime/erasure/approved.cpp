// Erasures that wait for a second person: what the log says of them.
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "actors/erasure/erasure.h"
#include "runtime/erasure/erasures.h"
#include "runtime/privacy/cipher.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/sha256.h"
#include "schemas/base/times.h"

namespace soma::runtime::erasure {

namespace json = boost::json;

namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr auto kAgain = std::chrono::milliseconds(1000);  // after the actor could not be read

}  // namespace

Result<std::string> Erasures::wait(const std::string& id, const v1::Principal& by,
                                   const std::string& subject, const std::string& reason) {
  std::unique_lock lock(mutex_);
  auto known = records_.pending();
  if (!known) return tl::unexpected(known.error());
  for (const auto& p : *known)
    if (p.id == id) return p.subject_hash();
  Pending p = pending_of(id, by, subject, reason);
  p.two_keys = true;
  here_.insert(p.id);
  if (p_.shared) lock.unlock();  // a broker's time
  if (auto ok = records_.begin(p); !ok) return tl::unexpected(ok.error());
  return p.subject_hash();
}

// On a host thread: what takes time is posted.
void Erasures::follow(const events::ValidFrame& frame) {
  for (const auto& entry : frame.frame->entries()) {
    if (entry.actor().type() != actors::ErasureDecider::kName) continue;
    for (const auto& recorded : entry.events()) {
      v1::ErasureEvent event;
      if (!event.ParseFromString(recorded.payload())) continue;
      if (event.has_approved())
        worker_.post([this, e = event.approved()] { approved(e.erasure_id(), e.approved_by()); });
      if (event.has_withdrawn())
        worker_.post([this, id = event.withdrawn().erasure_id()] { withdrawn(id); });
    }
  }
}

std::optional<Pending> Erasures::waiting(const std::string& id) const {
  auto all = records_.pending();
  if (!all) return {};
  const auto it = std::find_if(all->begin(), all->end(),
                               [&](const Pending& p) { return p.id == id && p.two_keys; });
  return it == all->end() ? std::nullopt : std::optional(*it);
}

bool Erasures::waits(const std::string& tenant) const {
  std::lock_guard lock(mutex_);
  const auto all = records_.pending();
  return all && std::any_of(all->begin(), all->end(),
                            [&](const Pending& p) { return p.tenant == tenant && !begun(p); });
}

void Erasures::approved(const std::string& id, const std::string& by) {
  std::optional<Pending> pending;
  {
    std::lock_guard lock(mutex_);
    pending = waiting(id);
    if (pending && !begun_.insert(id).second) return;  // begun already
  }
  if (!pending) {  // of another node, or done
    log_info("an approved erasure has no record here", {{"erasure_id", id}});
    return;
  }
  pending->approved_by = by;
  run(*pending);
}

void Erasures::withdrawn(const std::string& id) {
  std::lock_guard lock(mutex_);
  if (const auto pending = waiting(id); pending && !begun(*pending))
    if (auto ok = records_.drop(*pending); !ok)
      log_error("a withdrawn erasure's record stays",
                {{"erasure_id", id}, {"reason", ok.error().message}});
}

void Erasures::forget(const std::string& id) {
  worker_.post([this, id] { withdrawn(id); });
}

Result<v1::ErasureState> Erasures::requests_of(const std::string& tenant) const {
  auto answer = std::make_shared<std::promise<Result<StateView>>>();
  auto got = answer->get_future();
  p_.host->read(actors::erasure_key(tenant),
                [answer](Result<StateView> r) { answer->set_value(std::move(r)); });
  while (got.wait_for(kPoll) != std::future_status::ready)
    if (stopping()) return fail(Code::kCancelled, "the node is stopping");
  auto view = got.get();
  if (!view) return tl::unexpected(view.error());
  return static_cast<const v1::ErasureState&>(*view->state);
}

// After a restart: the log knows what became of it meanwhile. What it does not know was never asked
// for, and is forgotten.
void Erasures::look(const Pending& pending) {
  while (!stopping()) {
    const auto requests = requests_of(pending.tenant);
    if (!requests) {
      for (auto waited = kPoll; waited < kAgain && !stopping(); waited += kPoll)
        std::this_thread::sleep_for(kPoll);
      continue;
    }
    if (requests->open().contains(pending.id)) return;  // follow() hears what becomes of it
    for (const auto& r : requests->approved())
      if (r.erasure_id() == pending.id) return approved(pending.id, r.approved_by());
    return withdrawn(pending.id);
  }
}

json::object Erasures::shown(const Pending& p, const v1::ErasureState& requests) const {
  json::object out{{"erasure_id", p.id},
                   {"status", "running"},
                   {"requested_at", iso_time(p.requested_ms)},
                   {"problem", nullptr}};
  if (const auto it = problems_.find(p.id); it != problems_.end()) out["problem"] = it->second;
  if (begun(p)) return out;
  const auto it = requests.open().find(p.id);
  if (it == requests.open().end()) {
    const bool begins = std::any_of(requests.approved().begin(), requests.approved().end(),
                                    [&](const auto& r) { return r.erasure_id() == p.id; });
    return begins ? out : json::object();  // else being asked for, or being forgotten
  }
  out["status"] = "pending_approval";
  out["problem"] = nullptr;
  out["approval_id"] = it->second.approval_id();
  out["requested_by"] = p.requested_by;
  out["subject"] = p.subject;  // whom a second person decides about
  out["reason"] = p.reason;
  return out;
}

}  // namespace soma::runtime::erasure
