// Causes from the frames' own links: event to command, effect to outcome.
#include "tools/cli/trace.h"

#include <boost/json.hpp>
#include <iostream>
#include <map>
#include <set>
#include <vector>

#include "schemas/base/ids.h"
#include "tools/cli/trace_frames.h"
#include "tools/cli/turn_view.h"
#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t kShownWords = 100;
constexpr std::size_t kShownHash = 12;

// The longest part of an effect's id names what called for it: recall:res_4ce2…, call_926a….
std::string essence(const std::string& effect_id) {
  std::string best;
  for (std::size_t from = 0; from <= effect_id.size();) {
    const auto to = std::min(effect_id.find(':', from), effect_id.size());
    if (to - from > best.size()) best = effect_id.substr(from, to - from);
    from = to + 1;
  }
  return best;
}

struct Node {
  json::object shown;
  std::string text;  // of the whole entry, to find effects' ids in
  std::vector<std::size_t> children;
};

class Tracer {
 public:
  explicit Tracer(std::string session) : session_(std::move(session)) {}

  void take(const json::value& frame) {
    for (const auto& entry : frame.at("entries").as_array()) add(entry, text_of(frame, "position"));
  }
  json::array roots() const {
    json::array out;
    for (const auto n : roots_) out.push_back(tree(n));
    return out;
  }

 private:
  void add(const json::value& entry, const std::string& position) {
    const std::string actor = text_of(entry, "actor"), cause = text_of(entry, "causation_id");
    std::optional<std::size_t> parent;
    if (const auto it = by_event_.find(cause); it != by_event_.end()) parent = it->second;
    if (!parent && text_of(entry, "command_id").starts_with("effect:")) {
      const std::string wanted = essence(cause);
      for (std::size_t n = nodes_.size(); n-- > 0 && !parent && wanted.size() >= 8;)
        if (nodes_[n].text.find(wanted) != std::string::npos) parent = n;
    }
    if (const auto it = by_send_.find(text_of(entry, "command_id"));
        !parent && it != by_send_.end())
      parent = it->second;
    // An answer from another partition: its command's id begins with that of what was sent there.
    for (std::string id = text_of(entry, "command_id"); !parent && id.find('>') != id.npos;) {
      id.resize(id.rfind('>'));
      if (const auto it = by_command_.find(id); it != by_command_.end()) parent = it->second;
    }
    if (!parent && actor != session_) return;
    Node node;
    node.text = json::serialize(entry);
    const auto* command = entry.as_object().if_contains("command");
    const bool named = command && command->is_object() && !command->get_object().empty();
    node.shown = {{"command", named ? json::string(command->get_object().begin()->key())
                                    : json::string("unreadable")},
                  {"command_id", text_of(entry, "command_id")},
                  {"actor", actor},
                  {"position", position},
                  {"time", text_of(entry, "time")},
                  {"principal", text_of(entry, "principal")}};
    if (const std::string why = text_of(entry, "rejected"); !why.empty())
      node.shown["rejected"] = why;
    json::array events;
    for (const auto& e : entry.at("events").as_array()) {
      by_event_[text_of(e, "event_id")] = nodes_.size();
      events.push_back({{"event_id", text_of(e, "event_id")},
                        {"sequence", e.at("sequence")},
                        {"type", text_of(e, "type")},
                        {"data", e.at("data")}});
    }
    node.shown["events"] = std::move(events);
    json::array sent;
    for (const auto& s : entry.at("sends").as_array()) {
      const auto& what = s.at("command");
      const bool known = what.is_object() && !what.get_object().empty();
      by_send_[text_of(s, "command_id")] = nodes_.size();
      sent.push_back({{"to", text_of(s, "to")},
                      {"command_id", text_of(s, "command_id")},
                      {"command", known ? json::value(what.get_object().begin()->key())
                                        : json::value(nullptr)}});
    }
    node.shown["sent"] = std::move(sent);
    by_command_[text_of(entry, "command_id")] = nodes_.size();
    (parent ? nodes_[*parent].children : roots_).push_back(nodes_.size());
    nodes_.push_back(std::move(node));
  }

  json::object tree(std::size_t n) const {
    json::object out = nodes_[n].shown;
    json::array below;
    for (const auto child : nodes_[n].children) below.push_back(tree(child));
    out["led_to"] = std::move(below);
    return out;
  }

  const std::string session_;
  std::vector<Node> nodes_;
  std::vector<std::size_t> roots_;
  std::map<std::string, std::size_t> by_event_, by_command_, by_send_;
};

// Ids of the commands that the tree shows as sent, and whose entries it does not hold.
void unfollowed(const json::array& nodes, std::set<std::string>& held,
                std::set<std::string>& sent) {
  for (const auto& node : nodes) {
    held.insert(text_of(node, "command_id"));
    for (const auto& s : node.at("sent").as_array()) sent.insert(text_of(s, "command_id"));
    unfollowed(node.at("led_to").as_array(), held, sent);
  }
}
std::set<std::string> unfollowed(const json::array& roots) {
  std::set<std::string> held, sent;
  unfollowed(roots, held, sent);
  for (const auto& id : held) sent.erase(id);
  return sent;
}

void print_tree(const json::value& node, const std::string& indent, bool last, std::ostream& out) {
  const std::string below = indent + (last ? "   " : "│  ");
  out << indent << (last ? "└─ " : "├─ ") << text_of(node, "command") << "  "
      << printable(text_of(node, "actor"), false) << "  " << text_of(node, "position") << "  by "
      << printable(text_of(node, "principal"), false);
  if (const std::string why = text_of(node, "rejected"); !why.empty()) out << "  refused: " << why;
  out << "\n";
  const auto& children = node.at("led_to").as_array();
  for (const auto& e : node.at("events").as_array()) {
    const std::string words = trace_words(e);
    out << below << (children.empty() ? "   " : "│  ")
        << cell(e.as_object().if_contains("sequence")) << " " << text_of(e, "type")
        << (words.empty() ? "" : ": " + words) << "\n";
    if (const std::string ground = trace_ground(e); !ground.empty())
      out << below << (children.empty() ? "   " : "│  ") << "    " << ground << "\n";
  }
  for (const auto& s : node.at("sent").as_array())
    out << below << (children.empty() ? "   " : "│  ") << "→ " << text_of(s, "command") << " to "
        << printable(text_of(s, "to"), false) << "\n";
  for (std::size_t i = 0; i < children.size(); ++i)
    print_tree(children[i], below, i + 1 == children.size(), out);
}

}  // namespace

json::array trace_of(const json::array& frames, const std::string& session_actor) {
  Tracer tracer(session_actor);
  for (const auto& frame : frames) tracer.take(frame);
  return tracer.roots();
}

std::string trace_words(const json::value& event) {
  const std::string type = text_of(event, "type");
  const auto& data = event.at("data");
  const auto value = [&](const char* path) {
    const auto* v = member(data, path);
    return v ? cell(v) : std::string();
  };
  std::string out;
  if (const auto* decision = member(data, "decision"); decision && decision->is_object()) {
    out = decision_line(*decision) + ", " + text_of(*decision, "decision_id");
  } else if (const auto* memories = member(data, "memories"); memories && memories->is_array()) {
    out = std::to_string(memories->get_array().size()) + " memories";
    for (const auto& m : memories->get_array()) out += " " + text_of(m, "memory_id");
  } else {
    for (const char* field : {"prompt", "answer.output", "model", "text", "reason",
                              "failure.message", "usage.completion_tokens", "tokens"})
      if (const std::string v = value(field); !v.empty() && v != "-")
        out += (out.empty() ? "" : ", ") + std::string(field) + " " + v;
  }
  return cut(printable(out, false), kShownWords);
}

std::string trace_ground(const json::value& event) {
  const auto* d = member(event.at("data"), "decision");
  if (!d || !d->is_object()) return {};
  const auto number = [&](const char* name) {
    const auto* v = member(*d, name);
    return v && !v->is_null() ? cell(v) : std::string("0");
  };
  const auto hash = [&](const char* name) { return text_of(*d, name).substr(0, kShownHash); };
  const auto listed = [&](const char* name, const auto& shown) {
    std::string out;
    if (const auto* all = member(*d, name); all && all->is_array())
      for (const auto& one : all->get_array()) out += (out.empty() ? "" : ", ") + shown(one);
    return out;
  };
  std::string out = "constitution ";
  out += hash("constitution_hash").empty() ? "none" : hash("constitution_hash");
  if (const std::string v = text_of(*d, "constitution_version"); !v.empty()) out += " version " + v;
  if (const auto spoke = listed("rules", [](const json::value& r) { return cell(&r); });
      !spoke.empty())
    out += " (" + spoke + ")";
  out += "; settings version " + number("settings_version") + "; ";
  if (number("rules_number") == "0") return printable(out + "no policy rules", false);
  const auto matched = listed("matched_rules", [](const json::value& r) {
    return text_of(r, "id") + " (" + text_of(r, "effect") + ")";
  });
  out += "policy rules " + number("rules_number") + " " + hash("rules_hash") + ": ";
  return printable(out + (matched.empty() ? "none matched" : "matched " + matched), false);
}

int show_trace(const Context& c, const std::string& id) {
  auto first = c.read("/v1/sessions/" + url_encoded(id) + "/events?limit=1");
  if (!first) return c.fail(first.error());
  auto now = c.read("/v1/actors/session/" + url_encoded(id));
  if (!now) return c.fail(now.error());
  const auto last = parse_position(text_of(*now, "position"));
  const auto& items = first->at("items").as_array();
  if (items.empty() || !last) return c.fail({Code::kNotFound, "the session has no events", {}});
  auto frames = own_frames(c, text_of(items[0], "position"), last->offset.value);
  if (!frames) return c.fail(frames.error());
  if (frames->partial)
    c.note("the trace ends after " + std::to_string(frames->frames.size()) +
           " frames of the partition; what came later is not shown");
  const std::string actor = text_of(items[0], "actor");
  const auto wanted = unfollowed(trace_of(frames->frames, actor));
  if (auto ok = add_other_partitions(c, wanted, *frames); !ok) return c.fail(ok.error());
  const json::array roots = trace_of(frames->frames, actor);
  if (!c.table()) {
    c.print(json::object{{"session", id}, {"trace", roots}, {"partial", frames->partial}});
    return 0;
  }
  std::cout << actor << "\n";
  for (std::size_t i = 0; i < roots.size(); ++i)
    print_tree(roots[i], "", i + 1 == roots.size(), std::cout);
  std::cout.flush();
  return 0;
}

}  // namespace soma::cli
