// Given, read or made.
#include "runtime/privacy/master_key.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/privacy/cipher.h"
#include "runtime/security/private_file.h"
#include "schemas/base/sha256.h"
#include "schemas/base/unhex.h"

namespace soma::runtime::privacy {

namespace fs = std::filesystem;

namespace {

Result<std::string> from_hex(std::string text, const std::string& where) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  auto out = unhex(text);
  if (out && out->size() == kKeyBytes) return std::move(*out);
  return fail(Code::kInvalidArgument,
              where + " must be 64 hexadecimal digits; make one with: openssl rand -hex 32",
              "privacy.master_key");
}

}  // namespace

Result<std::string> master_key(const std::string& folder, const std::string& given,
                               bool read_only) {
  std::error_code error;
  if (!read_only) {
    const fs::path keys = fs::path(folder).parent_path();
    const bool made = fs::create_directories(folder, error);
    if (error) return fail(Code::kIo, "cannot make " + folder + ": " + error.message());
    for (const auto& private_one : {fs::path(folder), keys})
      fs::permissions(private_one, fs::perms::owner_all, error);
    for (const auto& parent : {keys, keys.parent_path()})
      if (made)
        if (auto ok = security::sync_folder(parent.string()); !ok)
          return tl::unexpected(ok.error());
  }
  if (!given.empty()) return from_hex(given, "privacy.master_key");
  const std::string path = folder + "/master.key";
  if (!fs::exists(path)) {
    if (read_only) return fail(Code::kNotFound, "there is no " + path);
    // Data keys without their master key: made anew it would only hide what happened.
    if (fs::exists(folder + "/subject.keys") && fs::file_size(folder + "/subject.keys", error) > 0)
      return fail(Code::kCorrupt, path + " is missing; give privacy.master_key, or restore it");
    const std::string text = hex(random_bytes(kKeyBytes)) + "\n";
    // Nodes that share a folder of keys may start at once: the first one's counts.
    if (auto ok = security::create_private_file(folder, "master.key", text); !ok)
      return tl::unexpected(ok.error());
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || (info.st_mode & 077) != 0)
    return fail(Code::kInvalidArgument, path + " may be read by others; chmod 600 it");
  std::ifstream in(path);
  return from_hex({std::istreambuf_iterator<char>(in), {}}, path);
}

}  // namespace soma::runtime::privacy
