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
#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::erasure {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr char kPending[] = ".pending.json", kDone[] = ".json";

std::optional<json::object> read(const fs::path& path) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto o = read_json_object(text);
  return o ? std::optional(std::move(*o)) : std::nullopt;
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

}  // namespace

std::string text(const json::object& o, const char* name) {
  const auto* v = o.if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

std::int64_t number(const json::object& o, const char* name) {
  const auto* v = o.if_contains(name);
  return v && v->is_int64() ? v->get_int64() : 0;
}

bool truth(const json::object& o, const char* name) {
  const auto* v = o.if_contains(name);
  return v && v->is_bool() && v->get_bool();
}

std::vector<std::string> texts(const json::object& o, const char* name) {
  std::vector<std::string> out;
  if (const auto* v = o.if_contains(name); v && v->is_array())
    for (const auto& one : v->get_array())
      if (one.is_string()) out.emplace_back(one.get_string());
  return out;
}

std::string Pending::subject_hash() const {
  return sha256_hex(salt + "\n" + tenant + "\n" + subject);
}

json::object to_json(const Pending& p) {
  return {{"id", p.id},
          {"tenant", p.tenant},
          {"subject", p.subject},
          {"reason", p.reason},
          {"requested_by", p.requested_by},
          {"key_id", p.key_id},
          {"salt", p.salt},
          {"two_keys", p.two_keys},
          {"requested_ms", p.requested_ms}};
}

Pending pending_from(const json::object& o) {
  Pending p;
  p.id = text(o, "id");
  p.tenant = text(o, "tenant");
  p.subject = text(o, "subject");
  p.reason = text(o, "reason");
  p.requested_by = text(o, "requested_by");
  p.key_id = text(o, "key_id");
  p.salt = text(o, "salt");
  p.two_keys = truth(o, "two_keys");
  p.requested_ms = number(o, "requested_ms");
  return p;
}

void newest_first(std::vector<json::object>& certificates) {
  std::sort(certificates.begin(), certificates.end(),
            [](const json::object& a, const json::object& b) {
              return text(a, "erased_at") > text(b, "erased_at");
            });
}

Status FolderRecords::begin(const Pending& p) {
  std::error_code error;
  fs::create_directories(folder_, error);
  return security::replace_private_file(folder_, p.id + kPending, json_text(to_json(p)) + "\n");
}

Status FolderRecords::finish(const Pending& p, const json::object& certificate) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (auto ok =
          security::replace_private_file(folder_, p.id + kDone, json_text(certificate) + "\n");
      !ok)
    return ok;
  return drop(p);
}

Status FolderRecords::drop(const Pending& p) {
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

Result<std::vector<Pending>> FolderRecords::pending() const {
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
    Pending p = pending_from(*o);
    p.id = id;
    out.push_back(std::move(p));
  }
  return out;
}

std::vector<json::object> FolderRecords::certificates() const {
  std::vector<json::object> out;
  std::error_code none;
  for (const auto& file : fs::directory_iterator(folder_, none)) {
    const std::string name = file.path().filename().string();
    if (!name.ends_with(kDone) || name.ends_with(kPending)) continue;
    if (auto o = read(file.path())) out.push_back(std::move(*o));
  }
  newest_first(out);
  return out;
}

std::vector<json::object> FolderRecords::certificates(const std::string& tenant) const {
  auto out = certificates();
  std::erase_if(out, [&](const json::object& o) { return text(o, "tenant") != tenant; });
  return out;
}

void FolderRecords::remove_all() {
  std::error_code none;
  for (const auto& file : fs::directory_iterator(folder_, none)) overwrite(file.path().string());
  fs::remove_all(folder_, none);
}

}  // namespace soma::runtime::erasure
