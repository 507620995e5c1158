// An ordinary signed bundle, loaded by an ordinary command: the log shows where it came from.
#include "runtime/node/first_constitution.h"

#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include "actors/actor_type.h"
#include "actors/constitution/constitution.h"
#include "runtime/security/constitution_bundle.h"
#include "runtime/security/key_file.h"

namespace soma::runtime {

namespace {

constexpr auto kPatience = std::chrono::minutes(1);
constexpr auto kBetweenTries = std::chrono::milliseconds(100);
constexpr const char* kDocument = R"({
  "name": "SomaStack demo constitution",
  "purpose": "Lets a first start serve. Load your own, signed with your own key, before anything else.",
  "principles": ["Be truthful.", "Do no harm.", "Ask a person before anything risky."],
  "rules": {"prohibited_actions": [], "maximum_risk": 0.95, "human_approval_above_risk": 0.8}
})";

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Result<security::Key> demo_constitution_key(const std::string& data_dir) {
  return security::load_or_create_key(
      (std::filesystem::path(data_dir) / "keys" / "constitution_demo").string());
}

namespace {

Status try_to_load(Host& host, const std::string& data_dir) {
  const ActorKey actor = actors::constitution_key(actors::kGlobalTenant);
  std::promise<Result<StateView>> read;
  host.read(actor, [&](Result<StateView> v) { read.set_value(std::move(v)); });
  const auto view = read.get_future().get();
  if (!view) return tl::unexpected(view.error());
  if (static_cast<const v1::ConstitutionState&>(*view->state).has_active()) return {};
  auto key = demo_constitution_key(data_dir);
  if (!key) return tl::unexpected(key.error());
  auto constitution = security::sign_constitution(*key, kDocument, "demo-1", now_ms());
  if (!constitution) return tl::unexpected(constitution.error());
  v1::ConstitutionCommand command;
  *command.mutable_load_constitution()->mutable_constitution() = std::move(*constitution);
  Submission s;
  s.actor = actor;
  s.command = actors::deterministic_bytes(command);
  s.command_id = std::string(actors::kGlobalTenant) + ":first-constitution";
  s.principal.set_subject("soma");
  s.principal.set_tenant(actors::kGlobalTenant);
  std::promise<Status> loaded;
  host.submit(std::move(s), [&](Result<Accepted> a) {
    loaded.set_value(a ? Status{} : Status(tl::unexpected(a.error())));
  });
  return loaded.get_future().get();
}

}  // namespace

// Where partitions move just now the answer may take several tries; the command keeps its id.
Status load_first_constitution(Host& host, const std::string& data_dir,
                               const std::function<bool()>& stopping) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto done = try_to_load(host, data_dir);
    if (!done && stopping()) return fail(Code::kCancelled, "asked to stop while starting");
    if (done || std::chrono::steady_clock::now() > until) return done;
    const Code code = done.error().code;
    if (code != Code::kUnavailable && code != Code::kUnknownOutcome) return done;
    std::this_thread::sleep_for(kBetweenTries);
  }
}

}  // namespace soma::runtime
