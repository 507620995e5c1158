// Heads as JWS and on disk.
#include "runtime/audit/heads.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>

#include "runtime/security/base64url.h"
#include "runtime/security/jwt.h"
#include "runtime/security/key_file.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"

namespace soma::runtime::audit {

namespace json = boost::json;

std::uint64_t Head::records() const {
  std::uint64_t n = 0;
  for (const auto& p : partitions) n += p.records;
  return n;
}

json::object to_json(const Head& head) {
  json::array partitions;
  for (const auto& p : head.partitions)
    partitions.push_back({{"partition", p.partition.value},
                          {"records", p.records},
                          {"root", hex(p.root)},
                          {"journal",
                           {{"next_offset", p.next.value},
                            {"epoch", p.epoch.value},
                            {"number", p.number.value},
                            {"hash", hex(p.journal_hash)}}}});
  return {{"tenant", head.tenant},
          {"time_ms", head.time_ms},
          {"records", head.records()},
          {"partitions", std::move(partitions)}};
}

Result<std::string> sign_document(const security::Key& key, const std::string& type,
                                  const json::object& payload) {
  if (key.algorithm != security::Algorithm::kEdDsa)
    return fail(Code::kInvalidArgument, "heads are signed with an Ed25519 key");
  const std::string text = security::unsigned_token(
      json::serialize(json::object{{"alg", "EdDSA"}, {"kid", key.id}, {"typ", type}}),
      json::serialize(payload));
  auto signature = security::sign(key, text);
  if (!signature) return signature;
  return text + "." + security::base64url_encode(*signature);
}

Result<json::object> open_document(std::string_view jws, const std::string& type,
                                   const std::vector<security::Key>& keys, std::string& key_id) {
  const auto object_in = [](std::string_view part) -> std::optional<json::object> {
    const auto text = security::base64url_decode(part);
    auto o = read_json_object(text.value_or(""));
    return o ? std::optional(std::move(*o)) : std::nullopt;
  };
  const auto first = jws.find('.'), second = jws.rfind('.');
  const auto header =
      first != jws.npos && second > first ? object_in(jws.substr(0, first)) : std::nullopt;
  const auto* kid = header ? header->if_contains("kid") : nullptr;
  if (!kid || !kid->is_string() ||
      *header != json::object{{"alg", "EdDSA"}, {"kid", *kid}, {"typ", type}})
    return fail(Code::kInvalidArgument, "it is not a signed document of type " + type);
  key_id = std::string(kid->get_string());
  const auto signature = security::base64url_decode(jws.substr(second + 1));
  const auto payload = object_in(jws.substr(first + 1, second - first - 1));
  for (const auto& key : keys) {
    if (key.id != key_id || key.algorithm != security::Algorithm::kEdDsa) continue;
    if (signature && payload && security::verify_signature(key, jws.substr(0, second), *signature))
      return *payload;
    return fail(Code::kInvalidArgument, "its signature is not right");
  }
  return fail(Code::kInvalidArgument,
              "it is signed by " + key_id + ", which is no key of this node");
}

Result<std::string> sign_head(const security::Key& key, const Head& head) {
  return sign_document(key, kHeadType, to_json(head));
}

Result<security::Key> folder_key(const std::string& data_dir) {
  std::error_code error;
  if (!std::filesystem::exists(data_dir + "/keys/token_ed25519.pem", error))
    return fail(Code::kNotFound, data_dir + " holds no key to sign with; a node makes it at start");
  return security::load_or_create_key(data_dir + "/keys");
}

namespace {
// As every line begins, without the bracket that ends it.
json::object line_head(const std::string& tenant) { return {{"tenant", tenant}}; }
}  // namespace

Status HeadFile::append(std::span<const SignedHead> heads) const {
  const std::string folder = data_dir_ + "/audit", path = folder + "/heads.ndjson";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) return fail(Code::kIo, "cannot open " + path + ": " + std::strerror(errno));
  std::string lines;
  for (const auto& one : heads) {
    json::object line = line_head(one.head.tenant);
    line["time_ms"] = one.head.time_ms;
    line["records"] = one.head.records();
    line["head"] = one.jws;
    lines += json::serialize(line) + "\n";
  }
  struct stat info {};
  char last = '\n';
  if (::fstat(fd, &info) == 0 && info.st_size > 0 && ::pread(fd, &last, 1, info.st_size - 1) == 1 &&
      last != '\n')
    lines.insert(lines.begin(), '\n');
  const bool written =
      ::write(fd, lines.data(), lines.size()) == static_cast<ssize_t>(lines.size()) &&
      ::fsync(fd) == 0;
  const std::string reason = std::strerror(errno);
  ::close(fd);
  if (!written) return fail(Code::kIo, "cannot write " + path + ": " + reason);
  return {};
}

// The file holds every tenant's of all time: of the others no line is parsed.
std::vector<json::object> HeadFile::of(const std::string& tenant) const {
  std::ifstream in(data_dir_ + "/audit/heads.ndjson");
  std::string beginning = json::serialize(line_head(tenant));
  beginning.back() = ',';
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(beginning)) continue;
    last.push_back(std::move(line));
    if (last.size() > kMost) last.pop_front();
  }
  std::vector<json::object> out;
  for (const auto& line : last) {
    auto o = read_json_object(line);
    if (!o) continue;
    const auto* name = o->if_contains("tenant");
    const auto* head = o->if_contains("head");
    if (!name || !name->is_string() || name->get_string() != tenant || !head || !head->is_string())
      continue;
    out.push_back(std::move(*o));
  }
  return out;
}

}  // namespace soma::runtime::audit
