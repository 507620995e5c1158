// Loads settings from flags, environment, YAML and defaults, in that order of precedence.
#include "runtime/config/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "runtime/config/setting_rules.h"

namespace soma::runtime::config {
namespace {

constexpr std::size_t kMaxFile = 1024 * 1024;  // bytes of a YAML or secret file
constexpr int kMaxDepth = 8;                   // of YAML mappings
const std::string kClientProperties = "kafka.client.";

struct Found {
  std::string value;
  std::string source;  // "flag --listen", "env SOMA_LISTEN", "file soma.yaml", "default"
};
using FoundMap = std::map<std::string, Found>;  // by key

Result<std::string> read_file(const std::string& path, const std::string& why) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Code::kInvalidArgument, why + ": cannot read " + path, why);
  std::string text;
  text.resize(kMaxFile + 1);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kMaxFile)
    return fail(Code::kInvalidArgument, why + ": " + path + " is larger than 1 MiB", why);
  return text;
}

const Setting* find_setting(const std::string& name, bool flags) {
  for (const Setting& s : settings_table())
    if (s.key == name || (flags && !s.flag.empty() && (s.flag == name || s.flag.substr(2) == name)))
      return &s;
  return nullptr;
}

// The known key with the fewest edits, for "did you mean".
std::string nearest_key(const std::string& name) {
  std::string best;
  std::size_t least = 4;  // farther ones only confuse
  for (const Setting& s : settings_table()) {
    std::vector<std::size_t> row(s.key.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= name.size() && name.size() < 100; ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j < row.size(); ++j) {
        const std::size_t edit = diagonal + (name[i - 1] == s.key[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, edit});
      }
    }
    if (row.back() < least) {
      least = row.back();
      best = s.key;
    }
  }
  return best;
}

Status unknown_key(const std::string& name, const std::string& where) {
  const std::string near = nearest_key(name);
  return fail(
      Code::kInvalidArgument,
      "unknown setting " + name + " in " + where +
          (near.empty() ? "; `soma dev --help` lists them all" : "; did you mean " + near + "?"),
      name);
}

std::string sequence_text(const YAML::Node& node) {
  std::string out;
  for (const auto& entry : node) (out += out.empty() ? "" : ",") += entry.as<std::string>();
  return out;
}

// Nested mappings and dotted keys mean the same: slm: {openai: {model: x}} is slm.openai.model: x.
Status flatten(const YAML::Node& node, const std::string& prefix, const std::string& where,
               int depth, FoundMap& out) {
  if (depth > kMaxDepth)
    return fail(Code::kInvalidArgument,
                where + " is nested deeper than " + std::to_string(kMaxDepth) + " levels", prefix);
  for (const auto& pair : node) {
    const std::string key = prefix + pair.first.as<std::string>();
    const YAML::Node& value = pair.second;
    if (value.IsMap()) {
      if (auto done = flatten(value, key + '.', where, depth + 1, out); !done) return done;
      continue;
    }
    const Setting* setting = find_setting(key, false);
    if (setting == nullptr && key.starts_with(kClientProperties)) {
      auto& found = out[kClientProperties.substr(0, kClientProperties.size() - 1)];
      found.source = "file " + where;
      found.value += key.substr(kClientProperties.size()) + "=" + value.as<std::string>() + "\n";
      continue;
    }
    if (setting == nullptr) return unknown_key(key, where);
    if (setting->key == "config")
      return fail(Code::kInvalidArgument,
                  "config cannot be set in " + where + "; name one file with --config", key);
    std::string text = value.IsNull()       ? std::string()
                       : value.IsSequence() ? sequence_text(value)
                                            : value.as<std::string>();
    if (!out.emplace(key, Found{std::move(text), "file " + where}).second)
      return fail(Code::kInvalidArgument, key + " stands twice in " + where, key);
  }
  return {};
}

Result<FoundMap> read_yaml(const std::string& path) {
  FoundMap out;
  auto text = read_file(path, "config");
  if (!text) return tl::unexpected(text.error());
  try {
    const YAML::Node root = YAML::Load(*text);
    if (root.IsNull()) return out;
    if (!root.IsMap())
      return fail(Code::kInvalidArgument, path + " must be a mapping of settings", "config");
    if (auto done = flatten(root, "", path, 1, out); !done) return tl::unexpected(done.error());
  } catch (const YAML::Exception& e) {
    // yaml-cpp's messages carry line and column but also, at times, text of the file: leave it out.
    return fail(Code::kInvalidArgument,
                path + " is not valid YAML at line " + std::to_string(e.mark.line + 1) +
                    ", column " + std::to_string(e.mark.column + 1),
                "config");
  }
  return out;
}

Result<std::optional<Found>> from_environment(const Setting& setting, const Environment& env) {
  auto value = env(setting.env);
  if (value && value->empty()) value.reset();  // compose files set variables to nothing
  if (!setting.in_file) {
    if (!value) return std::optional<Found>();
    return std::optional<Found>(Found{*value, "env " + setting.env});
  }
  const std::string file_name = setting.env + "_FILE";
  const auto path = env(file_name);
  if (value && path)
    return fail(Code::kInvalidArgument,
                "both " + setting.env + " and " + file_name + " are set; keep one", setting.key);
  if (value) return std::optional<Found>(Found{*value, "env " + setting.env});
  if (!path) return std::optional<Found>();
  auto text = read_file(*path, file_name);
  if (!text) return tl::unexpected(text.error());
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  if (text->empty())
    return fail(Code::kInvalidArgument, file_name + ": " + *path + " is empty", setting.key);
  return std::optional<Found>(Found{*text, "env " + file_name});
}

Result<FoundMap> gather(const FlagValues& flags, const Environment& env) {
  FoundMap found;
  for (const auto& [name, value] : flags) {
    const Setting* setting = find_setting(name, true);
    if (setting == nullptr) return tl::unexpected(unknown_key(name, "the command line").error());
    found[setting->key] = {value, "flag " + (setting->flag.empty() ? name : setting->flag)};
  }
  for (const Setting& setting : settings_table()) {
    if (found.contains(setting.key)) continue;
    auto value = from_environment(setting, env);
    if (!value) return tl::unexpected(value.error());
    if (*value) found[setting.key] = std::move(**value);
  }
  if (const auto it = found.find("config"); it != found.end() && !it->second.value.empty()) {
    auto file = read_yaml(it->second.value);
    if (!file) return tl::unexpected(file.error());
    found.merge(*file);  // keeps what flags and environment have set
  }
  return found;
}

// TLS half configured must not end as a port in the clear, or one that lets anybody in.
Status check_tls(const Config& c) {
  const std::pair<const std::string&, const char*> http[] = {
      {c.http_tls_cert_file, "http.tls.cert_file"}, {c.http_tls_key_file, "http.tls.key_file"}};
  const std::pair<const std::string&, const char*> cluster[] = {
      {c.cluster_tls_cert_file, "cluster.tls.cert_file"},
      {c.cluster_tls_key_file, "cluster.tls.key_file"},
      {c.cluster_tls_ca_file, "cluster.tls.ca_file"}};
  const auto needs = [](const std::string& given, const std::string& missing) {
    return fail(Code::kInvalidArgument, given + " needs " + missing + " too", missing);
  };
  const auto together = [&](const auto& files) -> Status {
    for (const auto& [given, name] : files)
      for (const auto& [other, missing] : files)
        if (!given.empty() && other.empty()) return needs(name, missing);
    return {};
  };
  if (auto ok = together(http); !ok) return ok;
  if (auto ok = together(cluster); !ok) return ok;
  if (!c.http_tls_client_ca_file.empty() && c.http_tls_cert_file.empty())
    return needs("http.tls.client_ca_file", "http.tls.cert_file");
  if (c.http_tls_client_ca_file.empty() &&
      !(c.http_tls_client_crl_file.empty() && c.http_tls_client_names.empty()))
    return needs(
        c.http_tls_client_names.empty() ? "http.tls.client_crl_file" : "http.tls.client_names",
        "http.tls.client_ca_file");
  return {};
}

// What a single row cannot see.
Status check_together(const Config& c) {
  if (!c.identity_hs256_secret.empty() && c.identity_hs256_secret.size() < 32)
    return fail(
        Code::kInvalidArgument,
        "identity.hs256_secret must have at least 32 bytes; `openssl rand -hex 32` makes one",
        "identity.hs256_secret");
  if (c.kafka_trusted_producers && !c.mode.starts_with("developer-"))
    return fail(Code::kInvalidArgument,
                "kafka.trusted_producers is only for developer modes; remove it or change mode",
                "kafka.trusted_producers");
  if (!c.memory_backend_url.empty())  // not taken in silence: memories would land elsewhere
    return fail(Code::kInvalidArgument,
                "memory.backend_url: an external SomaBrain is not supported by this build; remove "
                "it to use the built-in memory",
                "memory.backend_url");
  if (c.data_dir.empty())
    return fail(Code::kInvalidArgument, "data_dir must name a folder", "data_dir");
  return check_tls(c);
}

Result<Config> build(const FoundMap& found) {
  Config config;
  for (const Setting& setting : settings_table()) {
    const auto it = found.find(setting.key);
    const bool set = it != found.end();
    if (!set && setting.fallback.empty()) continue;
    const std::string& value = set ? it->second.value : setting.fallback;
    if (auto done = setting.apply(config, value); !done) {
      Error error = done.error();
      error.message += " (from " + (set ? it->second.source : std::string("default")) + ")";
      return tl::unexpected(std::move(error));
    }
  }
  if (auto done = check_together(config); !done) return tl::unexpected(done.error());
  return config;
}

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace

Result<Config> load_config(const FlagValues& flags) {
  return load_config(flags, process_environment);
}

Result<Config> load_config(const FlagValues& flags, const Environment& environment) {
  auto found = gather(flags, environment);
  if (!found) return tl::unexpected(found.error());
  return build(*found);
}

Result<std::vector<Origin>> explain_config(const FlagValues& flags,
                                           const Environment& environment) {
  auto found = gather(flags, environment);
  if (!found) return tl::unexpected(found.error());
  auto config = build(*found);
  if (!config) return tl::unexpected(config.error());
  std::vector<Origin> out;
  for (const Setting& setting : settings_table()) {
    const auto it = found->find(setting.key);
    out.push_back(
        {setting.key, setting.show(*config), it == found->end() ? "default" : it->second.source});
  }
  return out;
}

}  // namespace soma::runtime::config
