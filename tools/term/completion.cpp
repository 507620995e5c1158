// One walk over the tree per shell; options of the root are offered everywhere.
#include "tools/term/completion.h"

#include <functional>

namespace soma::cli {

namespace {

using Visit = std::function<void(const CommandNode& node, const std::string& path)>;

// Every node, the root first; `path` holds the words from the first command on.
void walk(const CommandNode& node, const std::string& path, const Visit& visit) {
  visit(node, path);
  for (const auto& c : node.children) walk(c, path.empty() ? c.name : path + " " + c.name, visit);
}

std::string words_of(const CommandNode& node, const CommandNode& root) {
  std::string out;
  for (const auto& c : node.children) out += c.name + " ";
  for (const auto* options : {&node.options, &root.options}) {
    for (const auto& o : *options)
      for (const auto& n : o.names) out += n + " ";
    if (&node == &root) break;
  }
  return out + "--help";
}

std::string replaced(std::string text, char from, std::string_view to) {
  for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
    text.replace(at, 1, to);
  return text;
}

std::string single_quoted(const std::string& text) {
  return "'" + replaced(text, '\'', "'\\''") + "'";
}

// Options that take a value, so that the shell does not take the value for a command.
std::string valued(const CommandNode& root) {
  std::string out;
  walk(root, {}, [&](const CommandNode& node, const std::string&) {
    for (const auto& o : node.options)
      if (!o.value.empty())
        for (const auto& n : o.names)
          if (("|" + out + "|").find("|" + n + "|") == std::string::npos)
            out += (out.empty() ? "" : "|") + n;
  });
  return out;
}

void choices(const CommandNode& root,
             const std::function<void(const std::string& option, const std::string& words)>& give) {
  std::string seen = " ";
  walk(root, {}, [&](const CommandNode& node, const std::string&) {
    for (const auto& o : node.options) {
      if (o.choices.empty()) continue;
      std::string words;
      for (const auto& c : o.choices) words += (words.empty() ? "" : " ") + c;
      for (const auto& n : o.names) {
        if (seen.find(" " + n + " ") != std::string::npos) continue;
        seen += n + " ";
        give(n, words);
      }
    }
  });
}

// Both shells walk the words before the cursor to the deepest command, then offer what it takes.
std::string walk_script(const CommandNode& root, const std::string& words,
                        const std::string& last) {
  std::string out = "  local path='' skip='' word\n";
  out += "  for word in " + words + "; do\n";
  out += "    if [[ -n $skip ]]; then skip=''; continue; fi\n";
  out += "    case $word in\n";
  out += "      " + valued(root) + ") skip=1 ;;\n";
  out += "      -*) ;;\n";
  out += "      *) case \"$path $word\" in\n";
  walk(root, {}, [&](const CommandNode&, const std::string& path) {
    if (!path.empty()) out += "        ' " + path + "') path=' " + path + "' ;;\n";
  });
  out += "      esac ;;\n    esac\n  done\n";
  out += "  case " + last + " in\n";
  choices(root, [&](const std::string& option, const std::string& list) {
    out += "    " + option + ") offer='" + list + "' ;;\n";
  });
  out += "    *) case \"$path\" in\n";
  walk(root, {}, [&](const CommandNode& node, const std::string& path) {
    out += "      '" + (path.empty() ? "" : " " + path) + "') offer='" + words_of(node, root) +
           "' ;;\n";
  });
  return out + "    esac ;;\n  esac\n";
}

std::string fish_condition(const CommandNode& node, const std::string& path) {
  std::string out;
  std::string rest = path;
  while (!rest.empty()) {
    const auto end = rest.find(' ');
    out += (out.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + rest.substr(0, end));
    rest = end == rest.npos ? "" : rest.substr(end + 1);
  }
  if (!node.children.empty()) {
    std::string names;
    for (const auto& c : node.children) names += " " + c.name;
    out += (out.empty() ? "" : "; and ") + ("not __fish_seen_subcommand_from" + names);
  }
  return out;
}

std::string fish_option(const OptionNode& o, const std::string& condition) {
  std::string out = "complete -c soma";
  if (!condition.empty()) out += " -n " + single_quoted(condition);
  for (const auto& n : o.names)
    out += n.starts_with("--") ? " -l " + n.substr(2) : " -s " + n.substr(1);
  if (!o.value.empty()) out += " -r";
  std::string list;
  for (const auto& c : o.choices) list += (list.empty() ? "" : " ") + c;
  if (!list.empty()) out += " -f -a " + single_quoted(list);
  return out + " -d " + single_quoted(o.help) + "\n";
}

std::string roff(std::string text) {
  text = replaced(std::move(text), '\\', "\\e");
  text = replaced(std::move(text), '-', "\\-");
  return !text.empty() && (text[0] == '.' || text[0] == '\'') ? "\\&" + text : text;
}

std::string option_words(const OptionNode& o) {
  std::string out;
  for (const auto& n : o.names) out += (out.empty() ? "" : ", ") + n;
  return o.value.empty() ? out : out + " " + o.value;
}

std::string usage(const CommandNode& node, const std::string& path) {
  std::string out = "soma" + (path.empty() ? "" : " " + path);
  for (const auto& p : node.positionals)
    out += p.required ? " " + p.names.front() : " [" + p.names.front() + "]";
  return out;
}

}  // namespace

std::string bash_completion(const CommandNode& root) {
  return "# bash completion of soma: source it, or put it into /etc/bash_completion.d\n_soma() {\n"
         "  local offer=''\n" +
         walk_script(root, "\"${COMP_WORDS[@]:1:COMP_CWORD-1}\"",
                     "\"${COMP_WORDS[COMP_CWORD-1]}\"") +
         "  COMPREPLY=($(compgen -W \"$offer\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
         "complete -o default -F _soma soma\n";
}

std::string zsh_completion(const CommandNode& root) {
  return "#compdef soma\n# zsh completion of soma: put it as _soma into a folder of $fpath\n"
         "_soma() {\n  local offer=''\n" +
         walk_script(root, "\"${(@)words[2,CURRENT-1]}\"", "\"${words[CURRENT-1]}\"") +
         "  compadd -- ${(s: :)offer}\n}\n"
         "if [[ $funcstack[1] == _soma ]]; then _soma \"$@\"; else compdef _soma soma; fi\n";
}

std::string fish_completion(const CommandNode& root) {
  std::string out = "# fish completion of soma: put it into ~/.config/fish/completions/soma.fish\n";
  for (const auto& o : root.options) out += fish_option(o, {});
  walk(root, {}, [&](const CommandNode& node, const std::string& path) {
    const std::string condition = fish_condition(node, path);
    for (const auto& c : node.children)
      out += "complete -c soma -f -n " + single_quoted(condition) + " -a " + c.name + " -d " +
             single_quoted(c.summary) + "\n";
    if (path.empty()) return;
    for (const auto& o : node.options) out += fish_option(o, condition);
  });
  return out;
}

std::string man_page(const CommandNode& root, const std::string& version) {
  std::string out = ".TH SOMA 1 \"\" \"SomaStack " + version + "\" \"User Commands\"\n";
  out += ".SH NAME\nsoma \\- " + roff(root.summary) + "\n";
  out += ".SH SYNOPSIS\n.B soma\n.I COMMAND\n[OPTIONS]\n.SH OPTIONS OF EVERY COMMAND\n";
  const auto options = [&](const std::vector<OptionNode>& list) {
    for (const auto& o : list)
      out += ".TP\n.B " + roff(option_words(o)) + "\n" + roff(o.help.empty() ? "-" : o.help) + "\n";
  };
  options(root.options);
  out += ".SH COMMANDS\n";
  walk(root, {}, [&](const CommandNode& node, const std::string& path) {
    if (path.empty() || !node.children.empty()) return;
    out += ".SS \"" + roff(usage(node, path)) + "\"\n" + roff(node.summary) + ".\n";
    if (node.effect != Effect::kRead)
      out += "Effect: " + std::string(effect_name(node.effect)) + ".\n";
    options(node.positionals);
    options(node.options);
    if (!node.example.empty()) out += ".PP\n.EX\n" + roff(node.example) + "\n.EE\n";
  });
  out += ".SH EXIT STATUS\n";
  const std::pair<const char*, const char*> codes[] = {{"0", "done"},
                                                       {"1", "other failure"},
                                                       {"2", "usage"},
                                                       {"3", "not found"},
                                                       {"4", "not authenticated"},
                                                       {"5", "denied by policy"},
                                                       {"6", "version skew"},
                                                       {"7", "rate or budget"},
                                                       {"8", "conflict"},
                                                       {"9", "integrity: verification failed"},
                                                       {"64", "replay-diff gate"}};
  for (const auto& [code, meaning] : codes)
    out += std::string(".TP\n.B ") + code + "\n" + meaning + "\n";
  return out +
         ".SH ENVIRONMENT\n.TP\n.B SOMA_SERVER\nURL of a running node\n.TP\n.B SOMA_TOKEN\nBearer "
         "token\n.TP\n.B SOMA_DATA_DIR\nData folder\n.TP\n.B NO_COLOR\nNo ANSI sequences\n";
}

std::string markdown(const CommandNode& root) {
  std::string out;
  walk(root, {}, [&](const CommandNode& node, const std::string& path) {
    if (path.empty()) return;
    if (!node.children.empty()) {
      out += "\n### soma " + path + "\n\n" + node.summary + ".\n";
      return;
    }
    if (path.find(' ') == path.npos) out += "\n### soma " + path + "\n";
    out += "\n`" + usage(node, path) + "`: " + node.summary + " (" +
           std::string(effect_name(node.effect)) + ").";
    std::string list;
    for (const auto& o : node.options)
      list += (list.empty() ? "" : ", ") + ("`" + option_words(o) + "`");
    if (!list.empty()) out += " Options: " + list + ".";
    if (!node.example.empty()) out += "\nExample: `" + node.example + "`";
    out += "\n";
  });
  return out;
}

}  // namespace soma::cli
