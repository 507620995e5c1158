// Help and JSON of the command tree; nearest names.
#include "tools/term/tree.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

std::string spelled(const OptionNode& o) {
  std::string out;
  for (const auto& name : o.names) out += (out.empty() ? "" : ", ") + name;
  return o.value.empty() ? out : out + " " + o.value;
}

json::object option_json(const OptionNode& o) {
  json::array names, choices;
  for (const auto& n : o.names) names.emplace_back(n);
  for (const auto& c : o.choices) choices.emplace_back(c);
  json::object out{
      {"names", std::move(names)}, {"value", o.value}, {"help", o.help}, {"required", o.required}};
  if (!choices.empty()) out["choices"] = std::move(choices);
  return out;
}

// "  left          right", the right side wrapped in its column.
void entry(std::string& out, const std::string& left, const std::string& right, std::size_t column,
           std::size_t width) {
  std::string text = "  " + left;
  if (display_width(text) + 2 > column)
    text += "\n" + std::string(column, ' ');
  else
    text.append(column - display_width(text), ' ');
  const std::string wrapped = wrap(right, width, std::string(column, ' '));
  out += text + (wrapped.size() > column ? wrapped.substr(column) : "\n");
}

void options_block(std::string& out, const char* title, const std::vector<OptionNode>& options,
                   std::size_t width) {
  if (options.empty()) return;
  std::size_t column = 0;
  for (const auto& o : options) column = std::max(column, spelled(o).size() + 4);
  column = std::min<std::size_t>(column, 32);
  out += std::string("\n") + title + "\n";
  for (const auto& o : options) {
    std::string help = o.help;
    if (!o.choices.empty()) {
      help += help.empty() ? "" : ": ";
      for (const auto& c : o.choices) help += (&c == &o.choices.front() ? "" : ", ") + c;
    }
    entry(out, spelled(o), help, column, width);
  }
}

}  // namespace

std::string_view effect_name(Effect effect) {
  switch (effect) {
    case Effect::kRead:
      return "read";
    case Effect::kWrite:
      return "write";
    case Effect::kDestructive:
      return "destructive";
  }
  return "?";
}

const CommandNode* CommandNode::child(std::string_view name) const {
  for (const auto& c : children)
    if (c.name == name) return &c;
  return nullptr;
}

json::object to_json(const CommandNode& node, const std::string& path) {
  const std::string full = path.empty() ? node.name : path + " " + node.name;
  json::array positionals, options, commands;
  for (const auto& p : node.positionals) positionals.push_back(option_json(p));
  for (const auto& o : node.options) options.push_back(option_json(o));
  for (const auto& c : node.children) commands.push_back(to_json(c, full));
  return {{"name", node.name},
          {"path", full},
          {"summary", node.summary},
          {"effect", effect_name(node.effect)},
          {"example", node.example},
          {"positionals", std::move(positionals)},
          {"options", std::move(options)},
          {"commands", std::move(commands)}};
}

std::string help_text(const CommandNode& node, const std::string& path,
                      const std::vector<OptionNode>& global, std::size_t width) {
  const std::string full = path.empty() ? node.name : path + " " + node.name;
  std::string out = wrap(node.summary + ".", width, "") + "\nUsage: " + full;
  if (!node.children.empty()) out += " COMMAND";
  for (const auto& p : node.positionals)
    out += p.required ? " " + p.names.front() : " [" + p.names.front() + "]";
  out += " [OPTIONS]\n";
  if (!node.children.empty()) {
    std::size_t column = 0;
    for (const auto& c : node.children) column = std::max(column, c.name.size() + 4);
    out += "\nCommands\n";
    for (const auto& c : node.children) entry(out, c.name, c.summary, column, width);
  }
  options_block(out, "Arguments", node.positionals, width);
  options_block(out, "Options", node.options, width);
  options_block(out, "Options of every command", global, width);
  if (node.children.empty() && node.effect != Effect::kRead)
    out += "\nEffect: " + std::string(effect_name(node.effect)) + "\n";
  if (!node.example.empty()) out += "\nExample\n  " + node.example + "\n";
  return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t swap = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + swap});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  std::vector<std::pair<std::size_t, std::string>> close;
  for (const auto& name : names) {
    std::size_t distance = edit_distance(word, name);
    if (!word.empty() && name.starts_with(word)) distance = std::min<std::size_t>(distance, 1);
    if (distance <= std::max<std::size_t>(1, std::max(word.size(), name.size()) / 3))
      close.emplace_back(distance, name);
  }
  std::sort(close.begin(), close.end());
  std::vector<std::string> out;
  for (const auto& [distance, name] : close)
    if (out.size() < kMost && distance == close.front().first) out.push_back(name);
  return out;
}

}  // namespace soma::cli
