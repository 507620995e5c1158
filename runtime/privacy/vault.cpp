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

constexpr std::size_t kSlot = KeySlot::kBytes, kRawIdBytes = 16;
constexpr std::size_t kMaxCached = 100'000;

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
    if (got == 0) return {};
    const auto read = KeySlot::parse(std::string_view(bytes).substr(0, got));
    if (!read) {
      // The newest one, cut short by a crash, has sealed nothing yet.
      struct stat info {};
      if (::fstat(file_, &info) == 0 && (n + 1) * kSlot >= static_cast<std::uint64_t>(info.st_size))
        return {};
      return fail(Code::kCorrupt, folder_ + "/subject.keys: slot " + std::to_string(n) +
                                      " does not check; restore it from a backup");
    }
    const std::string id = hex(read->id), who = read->who;
    Slot slot{n, read->gone, read->sealed};
    if (!slot.erased) {
      if (ids_.empty())  // one is enough to know the master key by
        if (auto one = unwrap(id, slot); !one) return tl::unexpected(one.error());
      if (!slots_.contains(id)) ids_[who].push_back(id);
    }
    slots_[id] = std::move(slot);
    next_slot_ = n + 1;
  }
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
  const std::string raw = random_bytes(kRawIdBytes), id = hex(raw);
  auto key = std::make_shared<const DataKey>(id, random_bytes(kKeyBytes));
  const KeySlot slot =
      kept ? KeySlot{false, raw, who, encrypt(master_, id, key->secret)} : KeySlot::destroyed(raw);
  const std::string bytes = slot.bytes();
  if (auto ok = write_slot(next_slot_, bytes); !ok) return tl::unexpected(ok.error());
  slots_[id] = {next_slot_++, !kept, slot.sealed};
  if (kept) ids_[who].push_back(id);
  return DataKeyPtr(key);
}

Result<DataKeyPtr> Vault::of(const std::string& tenant, const std::string& subject) {
  const std::string name = tenant + '\0' + subject;
  {
    std::shared_lock lock(mutex_);
    if (auto it = named_.find(name); it != named_.end()) return it->second;
  }
  const std::string w = key_owner(master_, tenant, subject);
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
  auto key =
      it == ids_.end() ? make(w, true) : unwrap(it->second.back(), slots_.at(it->second.back()));
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
  const std::string w = key_owner(master_, tenant, subject);
  std::shared_lock lock(mutex_);
  const auto it = ids_.find(w);
  return it == ids_.end() ? std::nullopt : std::optional(it->second.back());
}

Status Vault::begin_erasure(const std::string& tenant, const std::string& subject,
                            const std::string&) {
  std::unique_lock lock(mutex_);
  passing_.try_emplace(key_owner(master_, tenant, subject));
  named_.erase(tenant + '\0' + subject);
  return {};
}

Result<std::vector<std::string>> Vault::destroy(const std::string& tenant,
                                                const std::string& subject, const std::string&) {
  const std::string w = key_owner(master_, tenant, subject);
  std::unique_lock lock(mutex_);
  std::vector<std::string> out;
  const auto it = ids_.find(w);
  if (it == ids_.end()) return out;
  named_.erase(tenant + '\0' + subject);
  for (; !it->second.empty(); it->second.pop_back()) {
    const std::string& id = it->second.back();
    Slot& slot = slots_.at(id);
    const std::string gone = KeySlot::destroyed(unhex(id).value()).bytes();
    if (auto ok = write_slot(slot.number, gone); !ok) return tl::unexpected(ok.error());
    slot.erased = true;
    wipe(slot.sealed);
    open_.erase(id);
    out.push_back(id);
  }
  ids_.erase(it);
  return out;
}

Status Vault::end_erasure(const std::string& tenant, const std::string& subject,
                          const std::string&) {
  std::unique_lock lock(mutex_);
  passing_.erase(key_owner(master_, tenant, subject));
  return {};
}

std::size_t Vault::keys() const {
  std::shared_lock lock(mutex_);
  return ids_.size();
}

Result<std::vector<KeySlot>> Vault::slots() const {
  std::shared_lock lock(mutex_);
  std::vector<KeySlot> out;
  std::string bytes(kSlot, '\0');
  for (std::uint64_t n = 0; n < next_slot_; ++n) {
    const auto got = ::pread(file_, bytes.data(), kSlot, static_cast<off_t>(n * kSlot));
    auto slot = KeySlot::parse(bytes);
    if (got != static_cast<ssize_t>(kSlot) || !slot)
      return fail(Code::kIo, "cannot read " + folder_ + "/subject.keys");
    out.push_back(std::move(*slot));
  }
  return out;
}

Status Vault::adopt(const KeySlot& slot) {
  std::unique_lock lock(mutex_);
  const std::string id = hex(slot.id);
  if (const auto known = slots_.find(id); known != slots_.end()) {
    if (known->second.erased || !slot.gone) return {};
    if (auto ok = write_slot(known->second.number, slot.bytes()); !ok) return ok;
    known->second.erased = true;
    wipe(known->second.sealed);
    open_.erase(id);
    for (auto& [who, ids] : ids_) std::erase(ids, id);
    std::erase_if(ids_, [](const auto& owner) { return owner.second.empty(); });
    std::erase_if(named_, [&](const auto& named) { return named.second->id == id; });
    return {};
  }
  Slot kept{next_slot_, slot.gone, slot.sealed};
  if (!slot.gone)
    if (auto one = unwrap(id, kept); !one) return tl::unexpected(one.error());
  if (auto ok = write_slot(next_slot_, slot.bytes()); !ok) return ok;
  ++next_slot_;
  if (!slot.gone) ids_[slot.who].push_back(id);
  slots_[id] = std::move(kept);
  return {};
}

Status Vault::remove() {
  std::unique_lock lock(mutex_);
  const std::string path = folder_ + "/subject.keys", nothing(kSlot, '\0');
  const security::File file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  for (std::uint64_t n = 0; file.fd >= 0 && n < next_slot_; ++n)
    if (::pwrite(file.fd, nothing.data(), kSlot, static_cast<off_t>(n * kSlot)) !=
        static_cast<ssize_t>(kSlot))
      return fail(Code::kIo, "cannot overwrite " + path);
  if (file.fd < 0 || ::fsync(file.fd) != 0 || ::unlink(path.c_str()) != 0)
    return fail(Code::kIo, "cannot remove " + path + ": " + std::strerror(errno));
  return security::sync_folder(folder_);
}

}  // namespace soma::runtime::privacy
