// The tree of commands as data: what help, completion, the man page and documentation are made of.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace soma::cli {

enum class Effect { kRead, kWrite, kDestructive };
std::string_view effect_name(Effect effect);  // read, write, destructive

struct OptionNode {
  std::vector<std::string> names;  // "--limit", "-o"; of a positional its one name
  std::string value;               // "N", "FILE"; empty: a flag
  std::string help;
  std::vector<std::string> choices;
  bool required = false;
};

struct CommandNode {
  std::string name;
  std::string summary;
  std::string example;
  Effect effect = Effect::kRead;  // of a group: the worst of its commands
  std::vector<OptionNode> positionals;
  std::vector<OptionNode> options;  // beside those of the root, which go anywhere
  std::vector<CommandNode> children;

  const CommandNode* child(std::string_view name) const;
};

// {name, path, summary, effect, example, positionals, options, commands}.
boost::json::object to_json(const CommandNode& node, const std::string& path);

// Text of `soma PATH --help`; `path` is the words before the node's name.
std::string help_text(const CommandNode& node, const std::string& path,
                      const std::vector<OptionNode>& global, std::size_t width);

// Of `names`, those that `word` may have meant, the nearest first, at most three.
std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& names);
std::size_t edit_distance(std::string_view a, std::string_view b);  // transpositions count one

}  // namespace soma::cli
