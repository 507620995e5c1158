// A page of events at a time; the reply stands in the frame.
#include "runtime/api/command_history.h"

#include <optional>

#include "runtime/telemetry/log.h"

namespace soma::runtime::api {

namespace {

constexpr std::size_t kPage = 256;

// The hash is compared where there is one: it goes with the data of a person who was erased.
bool is_of(const v1::Entry& entry, const Submission& command) {
  return entry.events_size() > 0 && entry.context().command_id() == command.command_id &&
         actors::to_key(entry.actor()) == command.actor &&
         (entry.request_hash().empty() || entry.request_hash() == command.request_hash);
}

Result<std::optional<Accepted>> reply_at(const events::Log& log, Position position,
                                         const Submission& command) {
  auto frame = events::read_frame_at(log, position);
  if (!frame) return tl::unexpected(frame.error());
  for (const auto& entry : frame->frame->entries())
    if (is_of(entry, command))
      return Accepted{entry.reply(), position,
                      Sequence{entry.events(entry.events_size() - 1).sequence()}, true};
  return fail(Code::kInternal, "the frame does not hold the command that its event names");
}

http::Response come_back(Code code, const char* why) {
  return problem_of({code, std::string(why) + "; retry with the same Idempotency-Key", {}});
}

}  // namespace

bool CommandLookUps::post(Task task) {
  if (stopping_) return false;
  if (waiting_.fetch_add(1) >= kMaxWaiting) {
    waiting_.fetch_sub(1);
    return false;
  }
  worker_.post([this, task = std::move(task)] {
    task(stopping_);
    waiting_.fetch_sub(1);
  });
  return true;
}

void CommandLookUps::stop() {
  stopping_ = true;
  worker_.stop();
}

Result<std::optional<Accepted>> find_in_history(const Node& node, const Submission& command,
                                                const std::atomic<bool>& stopping) {
  for (Sequence after{}; !stopping;) {
    auto page = node.host->history(command.actor, after, kPage);
    if (!page) return tl::unexpected(page.error());
    if (page->empty()) return std::nullopt;
    for (const auto& e : *page)
      if (e.context.command_id() == command.command_id)
        return reply_at(*node.log, e.position, command);
    after = Sequence{page->back().event.sequence()};
  }
  return fail(Code::kCancelled, "the node is stopping");
}

void submit_settled(const Node& node, const RequestPtr& request, const http::Responder& responder,
                    Submission submission, std::function<http::Response(const Accepted&)> answer) {
  const std::int64_t claimed_ms = request->key_claimed_ms;
  if (claimed_ms == 0 || node.clock->now_ms() - claimed_ms < kCommandsKnownMs)
    return submit(node, request, responder, std::move(submission), std::move(answer));
  const bool posted =
      node.look_ups->post([&node, request, responder, s = std::move(submission),
                           answer = std::move(answer)](const std::atomic<bool>& stopping) mutable {
        auto found = find_in_history(node, s, stopping);
        if (!found) {
          // As it is, a 404 or 409 would be taken for a refusal of the command.
          log_warn("an old command was not looked up", {{"reason", found.error().message}});
          return responder.send(come_back(
              Code::kUnavailable, "whether the command was applied before cannot be told now"));
        }
        if (!*found) return submit(node, request, responder, std::move(s), std::move(answer));
        http::Response response = answer(**found);
        add_write_headers(response, **found);
        responder.send(std::move(response));
      });
  if (!posted)
    responder.send(come_back(Code::kOverloaded, "too many commands of old keys are looked up"));
}

}  // namespace soma::runtime::api
