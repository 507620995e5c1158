// Which node, which folder, which token.
#include <signal.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "events/embedded/folder_lock.h"
#include "schemas/json/json_read.h"
#include "tools/cli/commands.h"
#include "tools/cli/discovery.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

json::value json_file(const std::string& path) {
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  return read_json(text).value_or(nullptr);
}

}  // namespace

std::string environment(const char* name) {
  const char* v = std::getenv(name);
  return v ? v : "";
}

Result<std::string> text_file(const std::string& path) {
  constexpr std::size_t kMost = 4 << 20;
  std::ifstream file;
  if (path != "-") file.open(path, std::ios::binary);
  std::istream& in = path == "-" ? std::cin : file;
  if (!in) return soma::fail(Code::kNotFound, "cannot read the file " + path, path);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (text.size() > kMost) return soma::fail(Code::kTooLarge, path + " is over 4 MiB", path);
  return text;
}

std::string text_of(const json::value& object, std::string_view name) {
  const auto* v = object.is_object() ? object.get_object().if_contains(name) : nullptr;
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

std::string contexts_file() {
  std::string base = environment("XDG_CONFIG_HOME");
  if (base.empty()) base = environment("HOME") + "/.config";
  return base + "/somastack/contexts.json";
}

Result<Profile> profile_of(const Context& c) {
  std::string name = c.profile.empty() ? environment("SOMA_CONTEXT") : c.profile;
  const std::string file = contexts_file();
  if (name.empty() && !fs::exists(file)) return Profile{};
  const json::value all = json_file(file);
  if (name.empty()) name = text_of(all, "current");
  if (name.empty()) return Profile{};
  const auto* found = member(all, "contexts");
  found = found && found->is_object() ? found->get_object().if_contains(name) : nullptr;
  if (!found)
    return soma::fail(Code::kNotFound, "no context `" + name + "` in " + file, "--context");
  return Profile{text_of(*found, "server"), text_of(*found, "token"), text_of(*found, "ca_file"),
                 text_of(*found, "cert_file"), text_of(*found, "key_file")};
}

std::optional<Endpoints> endpoints_of(const std::string& folder) {
  const json::value v = json_file(folder + "/run/endpoints.json");
  if (text_of(v, "http").empty()) return {};
  Endpoints e{text_of(v, "http"), 0, false, text_of(v, "tls_cert_file")};
  if (const auto* pid = v.get_object().if_contains("pid"); pid && pid->is_int64())
    e.pid = static_cast<int>(pid->get_int64());
  // The lock tells more than a pid, which may have been given to another process.
  if (fs::exists(folder + "/log/lock"))
    e.alive = events::lock_holder(folder + "/log").has_value();
  else
    e.alive = e.pid > 0 && (::kill(e.pid, 0) == 0 || errno == EPERM);
  return e;
}

std::string Context::folder() const {
  if (!data_dir.empty()) return data_dir;
  const std::string from_environment = environment("SOMA_DATA_DIR");
  return from_environment.empty() ? ".soma" : from_environment;
}

Result<std::string> Context::named_node() const {
  if (!server.empty()) return server;
  if (const std::string s = environment("SOMA_SERVER"); !s.empty()) return s;
  if (!data_dir.empty() && profile.empty()) return std::string();
  auto chosen = profile_of(*this);
  if (!chosen) return tl::unexpected(chosen.error());
  return chosen->server;
}

Result<std::string> Context::elsewhere() const {
  const bool files = offline || !kafka.empty();
  if (files || (!data_dir.empty() && server.empty() && profile.empty())) return std::string();
  return named_node();
}

Result<std::string> Context::url() const {
  auto named = named_node();
  if (!named || !named->empty()) return named;
  const auto endpoints = endpoints_of(folder());
  if (endpoints && endpoints->alive) return endpoints->http;
  return soma::fail(Code::kUnavailable, endpoints
                                            ? "the node on " + folder() + " (pid " +
                                                  std::to_string(endpoints->pid) + ") has ended"
                                            : "no node is running on " + folder());
}

bool Context::node_is_there() const { return !offline && url().has_value(); }

}  // namespace soma::cli
