// JSON files.
#include "runtime/erasure/records.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/security/private_file.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::erasure {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr char kPending[] = ".pending.json", kDone[] = ".json";

std::optional<json::object> read(const fs::path& path) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  boost::system::error_code bad;
  const json::value v = json::parse(text, bad);
  return bad || !v.is_object() ? std::nullopt : std::optional(v.get_object());
}

void overwrite(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  const int fd = error ? -1 : ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  const std::string zeros(size, '\0');
  if (::pwrite(fd, zeros.data(), zeros.size(), 0) == static_cast<ssize_t>(size)) ::fsync(fd);
  ::close(fd);
}

std::string text(const json::object& o, const char* name) {
  const auto* v = o.if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

}  // namespace

std::string Pending::subject_hash() const {
  return sha256_hex(salt + "\n" + tenant + "\n" + subject);
}

Status Records::begin(const Pending& p) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  return security::replace_private_file(folder_, p.id + kPending,
                                        json_text(json::object{{"id", p.id},
                                                               {"tenant", p.tenant},
                                                               {"subject", p.subject},
                                                               {"reason", p.reason},
                                                               {"requested_by", p.requested_by},
                                                               {"key_id", p.key_id},
                                                               {"salt", p.salt},
                                                               {"two_keys", p.two_keys},
                                                               {"requested_ms", p.requested_ms}}) +
                                            "\n");
}

Status Records::finish(const Pending& p, const json::object& certificate) const {
  if (auto ok =
          security::replace_private_file(folder_, p.id + kDone, json_text(certificate) + "\n");
      !ok)
    return ok;
  return drop(p);
}

Status Records::drop(const Pending& p) const {
  // By another name first: cut off in the middle, the next reading ends it.
  const std::string pending = folder_ + "/" + p.id + kPending;
  const std::string gone = pending + std::string(security::kUnfinished);
  std::error_code error;
  fs::rename(pending, gone, error);
  if (error && fs::exists(pending))
    return fail(Code::kIo, "cannot rename " + pending + ": " + error.message());
  if (auto ok = security::sync_folder(folder_); !ok) return ok;
  overwrite(gone);
  fs::remove(gone, error);
  return security::sync_folder(folder_);
}

Result<std::vector<Pending>> Records::pending() const {
  std::vector<Pending> out;
  std::error_code none;
  for (const auto& file : fs::directory_iterator(folder_, none)) {
    const std::string name = file.path().filename().string();
    if (name.ends_with(security::kUnfinished)) {  // of a process that ended while it wrote
      overwrite(file.path().string());
      fs::remove(file.path(), none);
      continue;
    }
    if (!name.ends_with(kPending)) continue;
    const std::string id = name.substr(0, name.size() - sizeof(kPending) + 1);
    if (fs::exists(folder_ + "/" + id + kDone)) {  // certified; only this was left
      overwrite(file.path().string());
      fs::remove(file.path(), none);
      continue;
    }
    const auto o = read(file.path());
    if (!o) return fail(Code::kCorrupt, file.path().string() + " cannot be read");
    Pending p{id,
              text(*o, "tenant"),
              text(*o, "subject"),
              text(*o, "reason"),
              text(*o, "requested_by"),
              text(*o, "key_id"),
              text(*o, "salt"),
              0,
              false,
              {}};
    if (const auto* two = o->if_contains("two_keys"); two && two->is_bool())
      p.two_keys = two->get_bool();
    if (const auto* ms = o->if_contains("requested_ms"); ms && ms->is_int64())
      p.requested_ms = ms->get_int64();
    out.push_back(std::move(p));
  }
  return out;
}

std::vector<json::object> Records::certificates(const std::string& tenant) const {
  std::vector<json::object> out;
  std::error_code none;
  for (const auto& file : fs::directory_iterator(folder_, none)) {
    const std::string name = file.path().filename().string();
    if (!name.ends_with(kDone) || name.ends_with(kPending)) continue;
    if (auto o = read(file.path()); o && text(*o, "tenant") == tenant) out.push_back(std::move(*o));
  }
  std::sort(out.begin(), out.end(), [](const json::object& a, const json::object& b) {
    return text(a, "erased_at") > text(b, "erased_at");
  });
  return out;
}

}  // namespace soma::runtime::erasure
