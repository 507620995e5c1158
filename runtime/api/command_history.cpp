// A page of events at a time; the reply stands in the frame.
#include "runtime/api/command_history.h"

#include <charconv>
#include <optional>

#include "runtime/host/worker.h"

namespace soma::runtime::api {

namespace {

constexpr std::size_t kPage = 256;
constexpr char kClaimed[] = "\nclaimed_ms";

Result<std::optional<Accepted>> reply_at(const events::Log& log, Position position,
                                         const std::string& command_id) {
  auto frame = events::read_frame_at(log, position);
  if (!frame) return tl::unexpected(frame.error());
  for (const auto& entry : frame->frame->entries())
    if (entry.context().command_id() == command_id && entry.events_size() > 0)
      return Accepted{entry.reply(), position,
                      Sequence{entry.events(entry.events_size() - 1).sequence()}, true};
  return fail(Code::kInternal, "the frame does not hold the command that its event names");
}

}  // namespace

void note_claimed(http::Request& request, std::int64_t at_ms) {
  request.params[kClaimed] = std::to_string(at_ms);
}

std::int64_t claimed_ms_of(const http::Request& request) {
  const auto it = request.params.find(kClaimed);
  std::int64_t out = 0;
  if (it != request.params.end())
    std::from_chars(it->second.data(), it->second.data() + it->second.size(), out);
  return out;
}

Result<std::optional<Accepted>> find_in_history(const Node& node, const ActorKey& actor,
                                                const std::string& command_id) {
  for (Sequence after{};;) {
    auto page = node.host->history(actor, after, kPage);
    if (!page) return tl::unexpected(page.error());
    if (page->empty()) return std::nullopt;
    for (const auto& e : *page)
      if (e.context.command_id() == command_id) return reply_at(*node.log, e.position, command_id);
    after = Sequence{page->back().event.sequence()};
  }
}

void submit_settled(const Node& node, const RequestPtr& request, const http::Responder& responder,
                    Submission submission, std::function<http::Response(const Accepted&)> answer) {
  const std::int64_t claimed_ms = claimed_ms_of(*request);
  if (claimed_ms == 0 || node.clock->now_ms() - claimed_ms < kCommandsKnownMs)
    return submit(node, request, responder, std::move(submission), std::move(answer));
  node.slow->post(
      [&node, request, responder, s = std::move(submission), answer = std::move(answer)]() mutable {
        auto found = find_in_history(node, s.actor, s.command_id);
        if (!found) return responder.send(problem_of(found.error()));
        if (!*found) return submit(node, request, responder, std::move(s), std::move(answer));
        http::Response response = answer(**found);
        add_write_headers(response, **found);
        responder.send(std::move(response));
      });
}

}  // namespace soma::runtime::api
