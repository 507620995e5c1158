// Numbers of sends against numbers of inputs.
#include "runtime/checks/delivery_check.h"

#include <algorithm>

namespace soma::checks {

void DeliveryCheck::entry(const EntryView& view, Findings& findings) {
  const std::string& id = view.entry.context().command_id();
  auto here = std::find_if(here_.begin(), here_.end(),
                           [&](const auto& h) { return h.first == id && h.second == view.actor; });
  if (here != here_.end()) here_.erase(here);
  if (view.entry.has_input()) applied(view, findings);
  for (const auto& send : view.entry.sends()) {
    if (send.number() == 0)
      here_.emplace_back(send.command_id(), actors::to_key(send.to()));
    else
      sent(view, send, findings);
  }
}

void DeliveryCheck::sent(const EntryView& view, const v1::Send& send, Findings& findings) {
  const ActorKey to = actors::to_key(send.to());
  const std::uint32_t source = view.frame.position.partition.value;
  Link& link = links_[{source, partition_of(to, partition_count_).value}];
  if (send.number() != link.sent + 1)
    findings.push_back({"I7", view.frame.position,
                        "send " + std::to_string(send.number()) + " to " + to_string(to) +
                            " follows send " + std::to_string(link.sent)});
  link.sent = send.number();
  auto early = link.unknown.find(send.number());
  if (early == link.unknown.end()) {
    link.open[send.number()] = {send.command_id(), to, send.command(),
                                view.entry.sealed_size() > 0};
    return;
  }
  if (early->second != send.command_id())
    findings.push_back({"I4", view.frame.position,
                        "another command than the sent " + send.command_id() + " was applied"});
  link.unknown.erase(early);
}

void DeliveryCheck::applied(const EntryView& view, Findings& findings) {
  const auto& input = view.entry.input();
  const std::string& id = view.entry.context().command_id();
  Link& link = links_[{input.source_partition(), view.frame.position.partition.value}];
  if (input.source_number() != link.applied + 1)
    findings.push_back({"I7", view.frame.position,
                        "input " + std::to_string(input.source_number()) + " from partition " +
                            std::to_string(input.source_partition()) + " follows " +
                            std::to_string(link.applied) + " (" + id + ")"});
  link.applied = input.source_number();
  auto open = link.open.find(input.source_number());
  if (open == link.open.end()) {
    if (live_ || input.source_number() <= link.sent)
      findings.push_back({"I4", view.frame.position,
                          "command " + id + " was applied, but no valid frame sends it"});
    else
      link.unknown[input.source_number()] = id;
    return;
  }
  if (open->second.command_id != id || !(open->second.to == view.actor) ||
      (open->second.command != view.entry.command() && !open->second.erased &&
       view.entry.sealed_size() == 0))
    findings.push_back({"I7", view.frame.position,
                        "applied " + id + " where " + open->second.command_id + " was sent"});
  link.open.erase(open);
}

void DeliveryCheck::frame(const events::ValidFrame& frame, Findings& findings) {
  for (const auto& [id, to] : here_)
    findings.push_back({"I7", frame.position,
                        "the send " + id + " to " + to_string(to) +
                            " in this partition is not decided in its frame"});
  here_.clear();
}

std::uint64_t DeliveryCheck::under_way() const {
  std::uint64_t n = 0;
  for (const auto& [key, link] : links_) n += link.open.size();
  return n;
}

}  // namespace soma::checks
