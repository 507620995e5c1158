// The steps, each of which may be done again.
#include "runtime/erasure/erasures.h"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include "actors/identity/identity.h"
#include "events/entry_owner.h"
#include "runtime/audit/heads.h"
#include "runtime/host/entity.h"
#include "runtime/privacy/cipher.h"
#include "runtime/privacy/pieces.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/sha256.h"
#include "schemas/base/times.h"
#include "soma/v1/identity.pb.h"

namespace soma::runtime::erasure {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr char kDocument[] = "soma-erasure";
constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr auto kAgain = std::chrono::milliseconds(1000);  // after a step failed

v1::Principal principal_of(const Pending& p) {
  v1::Principal by;
  by.set_subject(p.requested_by);
  by.set_tenant(p.tenant);
  return by;
}

json::array strings(const std::vector<std::string>& all) {
  return json::array(all.begin(), all.end());
}

}  // namespace

Erasures::Erasures(Parts parts, Work work)
    : p_(std::move(parts)),
      work_(std::move(work)),
      of_folder_(p_.shared ? nullptr : std::make_unique<FolderRecords>(p_.data_dir)),
      records_(p_.shared ? static_cast<Records&>(*p_.shared->records) : *of_folder_) {
  if (!p_.shared) observer_ = p_.host->on_frame([this](const auto& frame) { follow(frame); });
}

Erasures::~Erasures() { stop(); }

void Erasures::stop() {
  ask_stop();
  if (observer_) p_.host->remove_observer(*std::exchange(observer_, {}));
  worker_.stop();
  if (carrier_.joinable()) carrier_.join();
}

Pending Erasures::pending_of(std::string id, const v1::Principal& by, const std::string& subject,
                             const std::string& reason) const {
  Pending p;
  p.id = std::move(id);
  p.tenant = by.tenant();
  p.subject = subject;
  p.reason = reason;
  p.requested_by = by.subject();
  p.key_id = p_.sealer->keys().id_of(p.tenant, subject).value_or("");
  p.salt = hex(privacy::random_bytes(16));
  p.requested_ms = p_.clock->now_ms();
  return p;
}

Result<std::string> Erasures::begin(const v1::Principal& by, const std::string& subject,
                                    const std::string& reason) {
  const Pending p = pending_of("era_" + hex(privacy::random_bytes(12)), by, subject, reason);
  {
    std::unique_lock lock(mutex_);
    here_.insert(p.id);
    if (p_.shared) lock.unlock();  // a broker's time
    if (auto ok = records_.begin(p); !ok) return tl::unexpected(ok.error());
  }
  if (!p_.shared) worker_.post([this, p] { run(p); });
  return p.id;
}

Status Erasures::resume() {
  if (p_.shared) {
    carrier_ = std::thread([this] { carry_on(); });
    return {};
  }
  std::lock_guard lock(mutex_);
  auto left = records_.pending();
  if (!left) return tl::unexpected(left.error());
  for (const auto& p : *left)
    if (!here_.contains(p.id)) worker_.post([this, p] { p.two_keys ? look(p) : run(p); });
  return {};
}

Result<std::vector<json::object>> Erasures::of(const std::string& tenant) const {
  // While one is carried out no actor may answer, so they are asked only where it matters.
  Result<v1::ErasureState> requests = v1::ErasureState();
  if (waits(tenant)) requests = requests_of(tenant);
  if (!requests) return tl::unexpected(requests.error());
  std::lock_guard lock(mutex_);
  auto pending = records_.pending();
  if (!pending) return tl::unexpected(pending.error());
  std::vector<json::object> out;
  for (const auto& p : *pending)
    if (p.tenant == tenant)
      if (auto one = shown(p, *requests); !one.empty()) out.push_back(std::move(one));
  for (auto& done : records_.certificates(tenant)) out.push_back(std::move(done));
  return out;
}

Result<std::string> Erasures::undone_by(const v1::ActorRef& actor, const std::string& command,
                                        const std::string& subject,
                                        std::int64_t recorded_ms) const {
  const auto subjects = p_.sealer->subjects_in(actor, command, subject);
  std::lock_guard lock(mutex_);
  auto pending = records_.pending();
  if (!pending) return tl::unexpected(pending.error());
  for (const auto& p : *pending)
    if (p.tenant == actor.tenant() && subjects.contains(p.subject) && begun(p)) return p.id;
  const std::string recorded = iso_time(recorded_ms);
  for (const auto& done : records_.certificates(actor.tenant())) {
    Pending was;
    was.tenant = actor.tenant();
    was.salt = text(done, "salt");
    for (const auto& s : subjects) {
      was.subject = s;
      if (recorded <= text(done, "erased_at") && was.subject_hash() == text(done, "subject_hash"))
        return text(done, "erasure_id");
    }
  }
  return std::string();
}

bool Erasures::begun(const Pending& p) const {
  return !p.two_keys || p.begun || begun_.contains(p.id);
}

// Of a cluster another node may have gone on with it. Nothing: it has been done.
std::optional<Pending> Erasures::as_it_stands(const Pending& pending) const {
  if (!p_.shared) return pending;
  const auto all = records_.pending();
  if (!all) return pending;
  const auto it =
      std::find_if(all->begin(), all->end(), [&](const Pending& p) { return p.id == pending.id; });
  return it == all->end() ? std::nullopt : std::optional(*it);
}

void Erasures::tell_outcome(const Pending& pending, const Status& outcome) {
  std::lock_guard lock(mutex_);
  if (outcome) {
    problems_.erase(pending.id);
    return log_info("subject erased", {{"erasure_id", pending.id}, {"tenant", pending.tenant}});
  }
  auto& said = problems_[pending.id];
  if (said == outcome.error().message) return;
  said = outcome.error().message;
  log_error("erasure goes on", {{"erasure_id", pending.id}, {"reason", said}});
}

// Until it is done: an erasure that was asked for is never given up.
void Erasures::run(const Pending& pending) {
  for (Progress progress; !stopping();) {
    const auto ok = erase(pending, progress);
    tell_outcome(pending, ok);
    if (ok) return;
    for (auto waited = kPoll; waited < kAgain && !stopping(); waited += kPoll)
      std::this_thread::sleep_for(kPoll);
  }
}

Status Erasures::erase(const Pending& pending, Progress& progress) {
  if (!progress.destroyed)
    if (auto ok = destroy_keys(pending, progress); !ok) return ok;
  // From here on nothing can be read from the log. What was read before goes.
  auto dropped = drop_here(progress);
  if (!dropped) return tl::unexpected(dropped.error());
  auto done = certificate(pending, *progress.destroyed, *progress.recorded, std::move(*dropped));
  if (!done) return tl::unexpected(done.error());
  // In this order: a crash between the two erases once more, and leaves nobody without a key.
  for (const auto& subject : {pending.subject, std::string(privacy::kUnknown)})
    if (auto ok = p_.sealer->keys().end_erasure(pending.tenant, subject, pending.id); !ok)
      return ok;
  std::lock_guard lock(mutex_);
  return records_.finish(pending, *done);
}

Status Erasures::destroy_keys(const Pending& pending, Progress& progress) {
  for (const auto& subject : {pending.subject, std::string(privacy::kUnknown)})
    if (auto ok = p_.sealer->keys().begin_erasure(pending.tenant, subject, pending.id); !ok)
      return ok;
  auto recorded = record(pending);
  if (!recorded) return tl::unexpected(recorded.error());
  auto destroyed = destroy(pending);
  if (!destroyed) return tl::unexpected(destroyed.error());
  progress.recorded = std::move(*recorded);
  progress.destroyed = std::move(*destroyed);
  return {};
}

Result<json::object> Erasures::certificate(const Pending& pending,
                                           const std::vector<std::string>& keys,
                                           const Accepted& recorded, Dropped dropped) const {
  auto counts = count(pending, keys);
  if (!counts) return tl::unexpected(counts.error());
  json::object out{{"soma_erasure", 1},
                   {"erasure_id", pending.id},
                   {"status", "done"},
                   {"tenant", pending.tenant},
                   {"subject_hash", pending.subject_hash()},
                   {"salt", pending.salt},
                   {"reason", pending.reason},
                   {"requested_at", iso_time(pending.requested_ms)},
                   {"approved_by", pending.approved_by.empty() ? json::value(nullptr)
                                                               : json::value(pending.approved_by)},
                   {"erased_at", iso_time(p_.clock->now_ms())},
                   {"key_ids", strings(keys)},
                   {"event_id", event_id(actors::identity_key(pending.tenant), recorded.sequence)},
                   {"position", to_string(recorded.position)},
                   {"complete", counts->in_clear == 0 && dropped.waits_for.empty()},
                   {"sealed_entries", counts->sealed},
                   {"clear_values", counts->in_clear},
                   {"first_clear", counts->first_clear.empty() ? json::value(nullptr)
                                                               : json::value(counts->first_clear)},
                   {"entries_naming_the_subject", counts->named},
                   {"stores", std::move(dropped.stores)}};
  if (p_.shared) {
    out["round"] = pending.round;
    out["nodes"] = std::move(dropped.nodes);
    out["waits_for"] = std::move(dropped.waits_for);
  }
  if (auto ok = sign(out); !ok) return tl::unexpected(ok.error());
  return out;
}

Status Erasures::sign(json::object& certificate) const {
  auto key = p_.key();
  if (!key) return tl::unexpected(key.error());
  certificate.erase("certificate");
  auto jws = audit::sign_document(*key, kDocument, certificate);
  if (!jws) return tl::unexpected(jws.error());
  certificate["certificate"] = std::move(*jws);
  return {};
}

// All that the subject's data was ever under, also what an earlier try destroyed.
Result<std::vector<std::string>> Erasures::destroy(const Pending& pending) {
  std::vector<std::string> out = pending.key_ids;
  const auto add = [&](const std::string& id) {
    if (!id.empty() && std::find(out.begin(), out.end(), id) == out.end()) out.push_back(id);
  };
  for (const auto& subject : {pending.subject, std::string(privacy::kUnknown)}) {
    auto ids = p_.sealer->keys().destroy(pending.tenant, subject, pending.id);
    if (!ids) return ids;
    for (const auto& id : *ids) add(id);
  }
  add(pending.key_id);
  return out;
}

Result<Erasures::Dropped> Erasures::drop_here(Progress& progress) {
  if (!progress.states) {
    auto before = work_.drop_states();
    if (!before) return tl::unexpected(before.error());
    progress.states = Remaking{std::move(*before), false};
  }
  if (auto ok = made_anew(work_, *progress.states, [this] { return stopping(); }); !ok)
    return tl::unexpected(ok.error());
  std::string views = "none";
  if (work_.projections) {
    if (!progress.views) progress.views = work_.projections->start_over();
    const auto whole = work_.projections->wait_over(*progress.views, kStoresMs);
    if (!whole) return tl::unexpected(whole.error());
    views = *whole ? "private cluster removed with its files; made anew from the log" : kViewsDone;
  }
  return Dropped{{{"log", "what is sealed under the destroyed keys cannot be opened"},
                  {"snapshots", "removed; made anew from the log"},
                  {"memory_index", "made anew from the log"},
                  {"postgres", views}},
                 {},
                 {}};
}

// The same command id each time: recorded once.
Result<Accepted> Erasures::record(const Pending& pending) {
  v1::IdentityCommand command;
  auto* note = command.mutable_note_erasure();
  note->set_erasure_id(pending.id);
  note->set_subject_hash(pending.subject_hash());
  note->set_reason(pending.reason);
  Submission s;
  s.actor = actors::identity_key(pending.tenant);
  s.command = actors::deterministic_bytes(command);
  s.command_id = pending.tenant + ":" + pending.id;
  s.principal = principal_of(pending);
  auto answer = std::make_shared<std::promise<Result<Accepted>>>();
  auto got = answer->get_future();
  p_.host->submit(std::move(s), [answer](Result<Accepted> r) { answer->set_value(std::move(r)); });
  while (got.wait_for(kPoll) != std::future_status::ready)
    if (stopping()) return fail(Code::kCancelled, "the node is stopping");
  return got.get();
}

Result<Erasures::Counts> Erasures::count(const Pending& pending,
                                         const std::vector<std::string>& keys) const {
  Counts out;
  const auto ours = [&](const v1::Sealed& sealed) {
    for (const auto& id : sealed.key_ids())
      if (std::find(keys.begin(), keys.end(), id) != keys.end()) return true;
    return false;
  };
  for (std::uint32_t p = 0; p < p_.log->partition_count(); ++p) {
    events::FrameReader reader(*p_.log, PartitionId{p});
    reader.as_stored();
    for (const Offset end = p_.log->end(PartitionId{p}); reader.next_offset() < end;) {
      if (stopping()) return fail(Code::kCancelled, "the node is stopping");
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& frame : *frames)
        for (const auto& entry : frame.frame->entries()) {
          if (events::tenant_of(entry) != pending.tenant) continue;
          out.sealed += std::any_of(entry.sealed().begin(), entry.sealed().end(), ours);
          if (!p_.sealer->personal(entry.actor().type())) {
            out.named += entry.context().principal().subject() == pending.subject;
            continue;
          }
          const auto clear = p_.sealer->in_clear(entry);
          const auto it = clear.find(pending.subject);
          if (it == clear.end()) continue;
          out.in_clear += it->second;
          if (out.first_clear.empty()) out.first_clear = to_string(frame.position);
        }
    }
  }
  return out;
}

}  // namespace soma::runtime::erasure
