// Given, read or made.
#include "runtime/privacy/master_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/privacy/cipher.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::privacy {

namespace fs = std::filesystem;

namespace {

Result<std::string> from_hex(std::string text, const std::string& where) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::string out;
  if (text.size() == 2 * kKeyBytes && text.find_first_not_of("0123456789abcdefABCDEF") == text.npos)
    for (std::size_t i = 0; i < text.size(); i += 2)
      out.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
  if (out.size() == kKeyBytes) return out;
  return fail(Code::kInvalidArgument,
              where + " must be 64 hexadecimal digits; make one with: openssl rand -hex 32",
              "privacy.master_key");
}

Status write_key(const std::string& path) {
  const std::string temp = path + ".new-" + std::to_string(::getpid());
  const std::string text = hex(random_bytes(kKeyBytes)) + "\n";
  const int fd = ::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool ok = fd >= 0 &&
                  ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                  ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (!ok || ::rename(temp.c_str(), path.c_str()) != 0)
    return fail(Code::kIo, "cannot write " + path);
  return {};
}

}  // namespace

Status sync_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool ok = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  return ok ? Status{} : fail(Code::kIo, "cannot sync " + folder);
}

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
        if (auto ok = sync_folder(parent.string()); !ok) return tl::unexpected(ok.error());
  }
  if (!given.empty()) return from_hex(given, "privacy.master_key");
  const std::string path = folder + "/master.key";
  if (!fs::exists(path)) {
    if (read_only) return fail(Code::kNotFound, "there is no " + path);
    // Data keys without their master key: made anew it would only hide what happened.
    if (fs::exists(folder + "/subject.keys") && fs::file_size(folder + "/subject.keys", error) > 0)
      return fail(Code::kCorrupt, path + " is missing; give privacy.master_key, or restore it");
    if (auto ok = write_key(path); !ok) return tl::unexpected(ok.error());
    if (auto ok = sync_folder(folder); !ok) return tl::unexpected(ok.error());
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || (info.st_mode & 077) != 0)
    return fail(Code::kInvalidArgument, path + " may be read by others; chmod 600 it");
  std::ifstream in(path);
  return from_hex({std::istreambuf_iterator<char>(in), {}}, path);
}

}  // namespace soma::runtime::privacy
