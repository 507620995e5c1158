// Slots: state, id, who, sealed key, checksum.
#include "runtime/privacy/vault.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "runtime/privacy/cipher.h"
#include "runtime/privacy/master_key.h"
#include "runtime/security/private_file.h"
#include "schemas/base/sha256.h"
#include "schemas/base/unhex.h"

namespace soma::runtime::privacy {

namespace fs = std::filesystem;

namespace {

// One sector holds four: a slot is never written in part, and its checksum tells if one was.
constexpr std::size_t kSlot = 128, kIdBytes = 16, kWhoBytes = 32, kCheckBytes = 16;
constexpr std::size_t kSealedBytes = kNonceBytes + kKeyBytes + kTagBytes;
constexpr char kLive = 1, kGone = 2;
constexpr std::size_t kMaxCached = 100'000;

std::string slot_bytes(char state, const std::string& id, const std::string& who,
                       const std::string& sealed) {
  std::string out(1, state);
  out.resize(4, '\0');
  out += id + who + sealed;
  out.resize(kSlot - kCheckBytes, '\0');
  out += sha256(out).substr(0, kCheckBytes);
  return out;
}

}  // namespace

DataKey::~DataKey() { wipe(secret); }

Vault::Vault(std::string folder, std::string master, bool read_only)
    : folder_(std::move(folder)), master_(std::move(master)), read_only_(read_only) {}

Vault::~Vault() {
  if (file_ >= 0) ::close(file_);
}

Result<std::unique_ptr<Vault>> Vault::open(const std::string& data_dir, const std::string& master,
                                           bool read_only) {
  const std::string folder = data_dir + "/keys/vault";
  if (read_only && !fs::exists(folder + "/subject.keys"))
    return fail(Code::kNotFound, "there is no vault in " + data_dir);
  auto key = master_key(folder, master, read_only);
  if (!key) return tl::unexpected(key.error());
  std::unique_ptr<Vault> out(new Vault(folder, std::move(*key), read_only));
  out->file_ = ::open((folder + "/subject.keys").c_str(),
                      (read_only ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (out->file_ < 0) return fail(Code::kIo, "cannot open " + folder + "/subject.keys");
  if (auto ok = out->load(); !ok) return tl::unexpected(ok.error());
  if (auto ok = read_only ? Status{} : security::sync_folder(folder); !ok)
    return tl::unexpected(ok.error());
  return out;
}

Status Vault::load() {
  std::string bytes(kSlot, '\0');
  for (std::uint64_t n = 0;; ++n) {
    const auto got = ::pread(file_, bytes.data(), kSlot, static_cast<off_t>(n * kSlot));
    if (got < 0) return fail(Code::kIo, "cannot read " + folder_ + "/subject.keys");
    const bool last = static_cast<std::size_t>(got) < kSlot;
    if (got == 0) return {};
    const bool whole =
        !last && sha256(bytes.substr(0, kSlot - kCheckBytes)).substr(0, kCheckBytes) ==
                     bytes.substr(kSlot - kCheckBytes);
    if (!whole) {
      // The newest one, cut short by a crash, has sealed nothing yet.
      struct stat info {};
      if (::fstat(file_, &info) == 0 && (n + 1) * kSlot >= static_cast<std::uint64_t>(info.st_size))
        return {};
      return fail(Code::kCorrupt, folder_ + "/subject.keys: slot " + std::to_string(n) +
                                      " does not check; restore it from a backup");
    }
    const std::string id = hex(bytes.substr(4, kIdBytes));
    const std::string who = bytes.substr(4 + kIdBytes, kWhoBytes);
    Slot slot{n, bytes[0] == kGone, bytes.substr(4 + kIdBytes + kWhoBytes, kSealedBytes)};
    if (!slot.erased) {
      if (ids_.empty())  // one is enough to know the master key by
        if (auto one = unwrap(id, slot); !one) return tl::unexpected(one.error());
      ids_[who] = id;
    }
    slots_[id] = std::move(slot);
    next_slot_ = n + 1;
  }
}

std::string Vault::who(const std::string& tenant, const std::string& subject) const {
  return hmac_sha256(master_, std::to_string(tenant.size()) + ":" + tenant + subject);
}

Result<DataKeyPtr> Vault::unwrap(const std::string& id, const Slot& slot) const {
  auto secret = decrypt(master_, id, slot.sealed);
  if (!secret)
    return fail(Code::kCorrupt, "key " + id + " of " + folder_ +
                                    " was made with another master key than the one given");
  return std::make_shared<const DataKey>(id, std::move(*secret));
}

Status Vault::write_slot(std::uint64_t number, const std::string& bytes) {
  const auto wrote =
      ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(number * kSlot));
  const bool ok = wrote == static_cast<ssize_t>(bytes.size()) && ::fdatasync(file_) == 0;
  if (ok) return {};
  return fail(errno == ENOSPC ? Code::kStorageFull : Code::kIo,
              "cannot write " + folder_ + "/subject.keys: " + std::strerror(errno));
}

// Durable before anything is sealed with it; one that is not kept is known as gone from the start.
Result<DataKeyPtr> Vault::make(const std::string& who, bool kept) {
  if (read_only_) return fail(Code::kForbidden, "the vault is open for reading");
  if (next_slot_ >= kMaxKeys)
    return fail(Code::kTooLarge,
                "the vault holds " + std::to_string(kMaxKeys) + " keys, the most there may be");
  const std::string raw = random_bytes(kIdBytes), id = hex(raw);
  auto key = std::make_shared<const DataKey>(id, random_bytes(kKeyBytes));
  const std::string sealed =
      kept ? encrypt(master_, id, key->secret) : std::string(kSealedBytes, '\0');
  const std::string bytes =
      slot_bytes(kept ? kLive : kGone, raw, kept ? who : std::string(kWhoBytes, '\0'), sealed);
  if (auto ok = write_slot(next_slot_, bytes); !ok) return tl::unexpected(ok.error());
  slots_[id] = {next_slot_++, !kept, sealed};
  if (kept) ids_[who] = id;
  return DataKeyPtr(key);
}

Result<DataKeyPtr> Vault::of(const std::string& tenant, const std::string& subject) {
  const std::string name = tenant + '\0' + subject;
  {
    std::shared_lock lock(mutex_);
    if (auto it = named_.find(name); it != named_.end()) return it->second;
  }
  const std::string w = who(tenant, subject);
  std::unique_lock lock(mutex_);
  if (auto passing = passing_.find(w); passing != passing_.end()) {
    if (!passing->second) {
      auto key = make(w, false);
      if (!key) return key;
      passing->second = *key;
    }
    return passing->second;
  }
  const auto it = ids_.find(w);
  auto key = it == ids_.end() ? make(w, true) : unwrap(it->second, slots_.at(it->second));
  if (!key) return key;
  if (named_.size() >= kMaxCached) named_.clear();
  named_[name] = *key;
  return key;
}

Result<DataKeyPtr> Vault::find(const std::string& id) {
  {
    std::shared_lock lock(mutex_);
    if (auto it = open_.find(id); it != open_.end()) return it->second;
  }
  std::unique_lock lock(mutex_);
  auto slot = slots_.find(id);
  if (slot == slots_.end() && read_only_) {  // a running node may have made it meanwhile
    if (auto ok = load(); !ok) return tl::unexpected(ok.error());
    slot = slots_.find(id);
  }
  if (slot == slots_.end())
    return fail(Code::kCorrupt, "key " + id + " is not in " + folder_ +
                                    ", nor was it destroyed by an erasure; restore the vault "
                                    "from a backup");
  if (slot->second.erased) return DataKeyPtr();
  auto key = unwrap(id, slot->second);
  if (!key) return key;
  if (open_.size() >= kMaxCached) open_.clear();
  open_[id] = *key;
  return key;
}

std::optional<std::string> Vault::id_of(const std::string& tenant,
                                        const std::string& subject) const {
  const std::string w = who(tenant, subject);
  std::shared_lock lock(mutex_);
  const auto it = ids_.find(w);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

void Vault::begin_erasure(const std::string& tenant, const std::string& subject) {
  std::unique_lock lock(mutex_);
  passing_.try_emplace(who(tenant, subject));
  named_.erase(tenant + '\0' + subject);
}

Result<std::vector<std::string>> Vault::destroy(const std::string& tenant,
                                                const std::string& subject) {
  const std::string w = who(tenant, subject);
  std::unique_lock lock(mutex_);
  std::vector<std::string> out;
  const auto it = ids_.find(w);
  if (it == ids_.end()) return out;
  const std::string id = it->second;
  Slot& slot = slots_.at(id);
  const std::string gone = slot_bytes(kGone, unhex(id).value(), std::string(kWhoBytes, '\0'),
                                      std::string(kSealedBytes, '\0'));
  if (auto ok = write_slot(slot.number, gone); !ok) return tl::unexpected(ok.error());
  slot.erased = true;
  wipe(slot.sealed);
  ids_.erase(it);
  open_.erase(id);
  named_.erase(tenant + '\0' + subject);
  out.push_back(id);
  return out;
}

void Vault::end_erasure(const std::string& tenant, const std::string& subject) {
  std::unique_lock lock(mutex_);
  passing_.erase(who(tenant, subject));
}

std::size_t Vault::keys() const {
  std::shared_lock lock(mutex_);
  return ids_.size();
}

}  // namespace soma::runtime::privacy
