// Makes the key file once, atomically.
#include "runtime/security/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/security/json_object.h"
#include "runtime/security/private_file.h"

namespace soma::runtime::security {
namespace {

constexpr std::size_t kMaxPem = 4096;

Result<Key> read_key(const std::string& path, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error("cannot read", path);
  if (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0)
    return fail(Code::kInvalidArgument,
                "the key file " + path +
                    " can be read by others; `chmod 600` it, or remove it to "
                    "have a new one made",
                "data_dir");
  std::string pem(kMaxPem, '\0');
  const ssize_t n = ::read(fd, pem.data(), pem.size());
  if (n < 0) return io_error("cannot read", path);
  pem.resize(static_cast<std::size_t>(n));
  auto key = ed25519_from_pem(pem);
  if (!key)
    return fail(Code::kInvalidArgument,
                "the key file " + path + " holds " + key.error().message +
                    "; restore it, or remove it to have a new one made (old tokens end)",
                "data_dir");
  return key;
}

Result<std::vector<RetiredKey>> read_retired(const std::string& dir) {
  const std::string path = dir + "/retired.json";
  const auto broken = [&] {
    return fail(Code::kInvalidArgument,
                path +
                    " is no list of retired keys; restore it, or remove it (the tokens that they "
                    "signed end)",
                "data_dir");
  };
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::vector<RetiredKey>();
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto set = parse_object(text);
  const auto* list = set ? set->if_contains("keys") : nullptr;
  if (list == nullptr || !list->is_array()) return broken();
  if (list->get_array().empty()) return std::vector<RetiredKey>();
  auto keys = parse_jwks(text);
  if (!keys || keys->size() != list->get_array().size()) return broken();
  std::vector<RetiredKey> out;
  for (std::size_t i = 0; i < keys->size(); ++i) {
    const auto* until = list->get_array()[i].get_object().if_contains("until");
    if (until == nullptr || !until->is_int64()) return broken();
    out.push_back({std::move((*keys)[i]), until->get_int64()});
  }
  return out;
}

Result<std::string> retired_text(const std::vector<RetiredKey>& retired) {
  std::string out;
  for (const auto& r : retired) {
    auto jwk = public_jwk(r.key);
    if (!jwk) return jwk;
    jwk->pop_back();
    out += (out.empty() ? "" : ",\n") + *jwk + ",\"until\":" + std::to_string(r.until_s) + "}";
  }
  return "{\"keys\":[" + out + "]}\n";
}

}  // namespace

Result<Key> load_or_create_key(const std::string& dir) {
  const std::string path = dir + "/token_ed25519.pem";
  std::error_code error;
  const bool made_folder = std::filesystem::create_directories(dir, error);
  if (error) return fail(Code::kIo, "cannot create " + dir + ": " + error.message(), "data_dir");
  if (made_folder && ::chmod(dir.c_str(), 0700) != 0) return io_error("cannot protect", dir);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file.fd >= 0) return read_key(path, file.fd);
    if (errno != ENOENT) return io_error("cannot read", path);
    auto key = generate_ed25519();
    if (!key) return key;
    auto pem = private_pem(*key);
    if (!pem) return tl::unexpected(pem.error());
    auto made = create_private_file(dir, "token_ed25519.pem", *pem);
    if (!made) return tl::unexpected(made.error());
    if (*made) return key;
  }
  return fail(Code::kIo, "cannot settle on the key file " + path, "data_dir");
}

Result<OwnKeys> load_or_create_keys(const std::string& dir) {
  auto signing = load_or_create_key(dir);
  if (!signing) return tl::unexpected(signing.error());
  auto retired = read_retired(dir);
  if (!retired) return tl::unexpected(retired.error());
  OwnKeys out{std::move(*signing), {}};
  for (auto& r : *retired)  // a crash while replacing may have left the signing key here as well
    if (r.key.id != out.signing.id) out.retired.push_back(std::move(r));
  return out;
}

Result<OwnKeys> replace_key(const std::string& dir, const OwnKeys& now, const Key& next,
                            std::int64_t now_s, std::int64_t until_s) {
  OwnKeys out{next, {}};
  if (until_s > 0) {
    for (const auto& r : now.retired)
      if (r.until_s > now_s) out.retired.push_back(r);
    out.retired.push_back({now.signing, until_s});
  }
  if (out.retired.size() > kMaxKeys - 1)
    return fail(Code::kConflict,
                "63 retired keys still verify, the most there may be; retire them "
                "at once, or wait until they end");
  auto text = retired_text(out.retired);
  if (!text) return tl::unexpected(text.error());
  auto pem = private_pem(next);
  if (!pem) return tl::unexpected(pem.error());
  if (auto ok = replace_private_file(dir, "retired.json", *text); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = replace_private_file(dir, "token_ed25519.pem", *pem); !ok)
    return tl::unexpected(ok.error());
  return out;
}

}  // namespace soma::runtime::security
