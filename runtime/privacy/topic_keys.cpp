// Appended, and known once it comes back in the topic's order.
#include "runtime/privacy/topic_keys.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "runtime/privacy/cipher.h"
#include "runtime/privacy/master_key.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/sha256.h"
#include "schemas/base/unhex.h"

namespace soma::runtime::privacy {

namespace fs = std::filesystem;
using events::KeyedRecord;

namespace {

constexpr char kKey[] = "key/", kErasing[] = "erasing/", kErased[] = "erased/",
               kMaster[] = "master/", kNote[] = "note/", kNudge[] = "nudge";
constexpr std::size_t kRawIdBytes = 16, kMaxCached = 100'000, kAdoptedAtOnce = 10'000;
constexpr int kTries = 5;
constexpr auto kPoll = std::chrono::milliseconds(50);
// A segment that holds what was overwritten is closed by a later record, then cleaned when the
// brokers' cleaner looks (log.cleaner.backoff.ms, 15 s), and its file removed a moment later.
constexpr auto kFirstLook = std::chrono::milliseconds(events::kRollMs + 200);
constexpr auto kLongestPause = std::chrono::milliseconds(10'000);
constexpr auto kForgotten = std::chrono::minutes(5);
constexpr auto kFileGone = std::chrono::milliseconds(events::kFileDeleteDelayMs + 2000);

KeyedRecord record(const char* kind, const std::string& id, std::optional<std::string> value) {
  return {{}, kind + id, std::move(value)};
}

}  // namespace

std::string keys_topic(const std::string& prefix) { return prefix + "soma.keys"; }

Result<std::unique_ptr<TopicKeys>> TopicKeys::open(const OpenTopic& topic,
                                                   const std::string& data_dir,
                                                   const std::string& master, bool read_only) {
  const std::string folder = data_dir + "/keys/vault";
  std::unique_ptr<TopicKeys> out(new TopicKeys(folder));
  auto opened = topic([self = out.get()](const KeyedRecord& r) { self->take(r); });
  if (!opened) return tl::unexpected(opened.error());
  out->topic_ = std::move(*opened);
  if (auto ok = out->topic_->catch_up(); !ok) return tl::unexpected(ok.error());
  if (master.empty() && !out->prints_.empty() && !fs::exists(folder + "/master.key"))
    return fail(read_only ? Code::kNotFound : Code::kInvalidArgument,
                "the cluster's keys are under a master key that this node lacks: give it as "
                "privacy.master_key, or copy keys/vault/master.key of another node",
                "privacy.master_key");
  auto key = master_key(folder, master, read_only);
  if (!key) return tl::unexpected(key.error());
  out->master_ = std::move(*key);
  if (auto ok = out->agree_on_master(read_only); !ok) return tl::unexpected(ok.error());
  return out;
}

TopicKeys::~TopicKeys() { topic_.reset(); }

Status TopicKeys::agree_on_master(bool read_only) {
  const std::string print = hex(hmac_sha256(master_, "soma-master-key-1"));
  const auto first = [&]() -> std::string {
    std::shared_lock lock(mutex_);
    return prints_.empty() ? std::string() : prints_.begin()->second;
  };
  if (first().empty()) {
    if (read_only) return {};
    if (auto ok = topic_->append({record(kMaster, print, "1")}); !ok) return ok;
  }
  if (first() == print) return {};
  if (!read_only)  // it came second, if it is there at all
    if (auto ok = topic_->append({record(kMaster, print, std::nullopt)}); !ok) return ok;
  return fail(Code::kInvalidArgument,
              "the master key here is not the one that the cluster's keys were made with: give "
              "that as privacy.master_key, or copy keys/vault/master.key of another node",
              "privacy.master_key");
}

void TopicKeys::take(const KeyedRecord& r) {
  const std::string_view key = r.key;
  std::unique_lock lock(mutex_);
  if (key.starts_with(kKey)) return take_slot(r.key.substr(sizeof(kKey) - 1), r);
  if (key.starts_with(kErasing))
    return r.value ? take_erasing(r.key.substr(sizeof(kErasing) - 1), true) : void();
  if (key.starts_with(kErased))
    return r.value ? take_erasing(r.key.substr(sizeof(kErased) - 1), false) : void();
  if (key.starts_with(kNote)) {
    const std::string name = r.key.substr(sizeof(kNote) - 1);
    if (r.value)
      notes_[name] = {r.offset, *r.value};
    else
      notes_.erase(name);
    ++notes_seen_;
    return;
  }
  if (!key.starts_with(kMaster)) return;
  const std::string print = r.key.substr(sizeof(kMaster) - 1);
  std::erase_if(prints_, [&](const auto& known) { return !r.value && known.second == print; });
  if (r.value) prints_[r.offset] = print;
}

void TopicKeys::take_slot(const std::string& id, const KeyedRecord& r) {
  const auto slot = KeySlot::parse(r.value.value_or(std::string()));
  if (!slot || hex(slot->id) != id) {
    log_error("a record of the keys' topic does not check", {{"offset", r.offset.value}});
    return;
  }
  const auto [it, made] = slots_.try_emplace(id);
  Slot& known = it->second;
  if (!slot->gone) {
    if (!made) return;  // again, or after it was destroyed, which nothing undoes
    known = {false, slot->who, slot->sealed};
    owned_[slot->who].push_back(id);
    if (const auto erased = erasing_.find(slot->who); erased != erasing_.end())
      for (const auto& erasure : erased->second) doomed_[slot->who + erasure].push_back(id);
    return;
  }
  if (!made && !known.gone) {
    if (const auto ids = owned_.find(known.who); ids != owned_.end()) {
      std::erase(ids->second, id);
      if (ids->second.empty()) owned_.erase(ids);
    }
    wipe(known.sealed);
    open_.erase(id);
    std::erase_if(named_, [&](const auto& named) { return named.second->id == id; });
  }
  known = {true, {}, {}};
}

// Of nodes that carry the same erasure out the last one's end counts: what comes later begins
// nothing, so that nobody destroys a key that was made after it.
void TopicKeys::take_erasing(const std::string& what, bool begun) {
  const auto slash = what.find('/');
  const auto raw = unhex(what.substr(0, slash));
  if (!raw || slash == what.npos) return;
  const std::string erasure = what.substr(slash + 1), both = *raw + erasure;
  if (!begun) {
    over_.insert(both);
    doomed_.erase(both);
    if (const auto it = erasing_.find(*raw); it != erasing_.end()) {
      it->second.erase(erasure);
      if (it->second.empty()) erasing_.erase(it);
    }
    return;
  }
  if (over_.contains(both) || !erasing_[*raw].insert(erasure).second) return;
  if (const auto it = passing_.find(*raw); it != passing_.end()) it->second.during.insert(erasure);
  const auto ids = owned_.find(*raw);
  if (ids == owned_.end()) return;
  doomed_[both] = ids->second;
  std::erase_if(named_, [&](const auto& named) {
    return std::find(ids->second.begin(), ids->second.end(), named.second->id) != ids->second.end();
  });
}

Result<DataKeyPtr> TopicKeys::unwrap(const std::string& id, const Slot& slot) const {
  auto secret = decrypt(master_, id, slot.sealed);
  if (!secret)
    return fail(Code::kCorrupt, "key " + id + " of the cluster does not open with its master key");
  return std::make_shared<const DataKey>(id, std::move(*secret));
}

// Nothing: the owner has no key yet.
std::optional<DataKeyPtr> TopicKeys::known(const std::string& name, const std::string& who,
                                           Status& problem) {
  std::unique_lock lock(mutex_);
  if (const auto it = passing_.find(who); it != passing_.end()) return it->second.key;
  if (erasing_.contains(who)) return {};
  const auto ids = owned_.find(who);
  if (ids == owned_.end()) return {};
  const std::string& id = ids->second.front();
  auto key = unwrap(id, slots_.at(id));
  if (!key) {
    problem = tl::unexpected(key.error());
    return DataKeyPtr();
  }
  if (named_.size() >= kMaxCached) named_.clear();
  named_[name] = *key;
  return *key;
}

Result<DataKeyPtr> TopicKeys::of(const std::string& tenant, const std::string& subject) {
  const std::string name = tenant + '\0' + subject;
  {
    std::shared_lock lock(mutex_);
    if (auto it = named_.find(name); it != named_.end()) return it->second;
  }
  const std::string who = key_owner(master_, tenant, subject);
  Status problem;
  if (auto key = known(name, who, problem); key)
    return problem ? Result<DataKeyPtr>(*key) : tl::unexpected(problem.error());
  std::lock_guard making(making_);
  for (int i = 0; i < kTries; ++i) {
    if (auto key = known(name, who, problem); key)
      return problem ? Result<DataKeyPtr>(*key) : tl::unexpected(problem.error());
    if (auto ok = make(who); !ok) return tl::unexpected(ok.error());
  }
  return fail(Code::kUnavailable, "the subject's key changes all the time; try again");
}

// Known to all nodes before anything is sealed with it. While its owner is being erased it is known
// as gone from the start.
Status TopicKeys::make(const std::string& who) {
  const std::string raw = random_bytes(kRawIdBytes), id = hex(raw);
  const auto key = std::make_shared<const DataKey>(id, random_bytes(kKeyBytes));
  bool erasing = false;
  {
    std::shared_lock lock(mutex_);
    if (slots_.size() >= kMaxKeys)
      return fail(Code::kTooLarge,
                  "the cluster has " + std::to_string(kMaxKeys) + " keys, the most there may be");
    erasing = erasing_.contains(who);
  }
  const KeySlot slot = erasing ? KeySlot::destroyed(raw)
                               : KeySlot{false, raw, who, encrypt(master_, id, key->secret)};
  if (auto ok = topic_->append({record(kKey, id, slot.bytes())}); !ok) return ok;
  std::unique_lock lock(mutex_);
  if (erasing && erasing_.contains(who)) passing_[who] = {key, erasing_.at(who)};
  return {};
}

Result<DataKeyPtr> TopicKeys::find(const std::string& id) {
  {
    std::shared_lock lock(mutex_);
    if (auto it = open_.find(id); it != open_.end()) return it->second;
  }
  for (const bool last : {false, true}) {
    {
      std::unique_lock lock(mutex_);
      if (const auto slot = slots_.find(id); slot != slots_.end()) {
        if (slot->second.gone) return DataKeyPtr();
        auto key = unwrap(id, slot->second);
        if (!key) return key;
        if (open_.size() >= kMaxCached) open_.clear();
        open_[id] = *key;
        return key;
      }
    }
    if (!last)  // another node may have made it a moment ago
      if (auto ok = topic_->catch_up(); !ok) return tl::unexpected(ok.error());
  }
  return fail(Code::kCorrupt, "key " + id +
                                  " is not in the cluster's keys, nor was it destroyed by an "
                                  "erasure; the journal may be of a data folder whose keys/vault "
                                  "is not in " +
                                  where_);
}

std::optional<std::string> TopicKeys::id_of(const std::string& tenant,
                                            const std::string& subject) const {
  const std::string who = key_owner(master_, tenant, subject);
  std::shared_lock lock(mutex_);
  const auto ids = owned_.find(who);
  return ids == owned_.end() ? std::nullopt : std::optional(ids->second.front());
}

Status TopicKeys::begin_erasure(const std::string& tenant, const std::string& subject,
                                const std::string& erasure) {
  if (is_over(tenant, subject, erasure)) return {};
  return topic_->append(
      {record(kErasing, hex(key_owner(master_, tenant, subject)) + "/" + erasure, "1")});
}

bool TopicKeys::is_over(const std::string& tenant, const std::string& subject,
                        const std::string& erasure) const {
  std::shared_lock lock(mutex_);
  return over_.contains(key_owner(master_, tenant, subject) + erasure);
}

std::vector<std::string> TopicKeys::doomed(const std::string& tenant, const std::string& subject,
                                           const std::string& erasure) const {
  std::shared_lock lock(mutex_);
  const auto it = doomed_.find(key_owner(master_, tenant, subject) + erasure);
  return it == doomed_.end() ? std::vector<std::string>() : it->second;
}

Result<std::vector<std::string>> TopicKeys::destroy(const std::string& tenant,
                                                    const std::string& subject,
                                                    const std::string& erasure) {
  if (auto ok = topic_->catch_up(); !ok) return tl::unexpected(ok.error());
  const auto ids = doomed(tenant, subject, erasure);
  std::vector<KeyedRecord> gone;
  for (const auto& id : ids)
    gone.push_back(record(kKey, id, KeySlot::destroyed(unhex(id).value()).bytes()));
  if (auto ok = topic_->append(gone); !ok) return tl::unexpected(ok.error());
  return ids;
}

Status TopicKeys::end_erasure(const std::string& tenant, const std::string& subject,
                              const std::string& erasure) {
  const std::string what = hex(key_owner(master_, tenant, subject)) + "/" + erasure;
  return topic_->append({record(kErased, what, "1"), record(kErasing, what, std::nullopt)});
}

std::set<std::string> TopicKeys::passed() const {
  std::shared_lock lock(mutex_);
  std::set<std::string> out;
  for (const auto& [who, passing] : passing_)
    for (const auto& erasure : passing.during)
      if (over_.contains(who + erasure)) out.insert(who);
  return out;
}

void TopicKeys::let_go(const std::set<std::string>& passed) {
  std::unique_lock lock(mutex_);
  for (const auto& who : passed) passing_.erase(who);
}

Status TopicKeys::nudge() { return topic_->append({{{}, kNudge, "1"}}); }

std::size_t TopicKeys::keys() const {
  std::shared_lock lock(mutex_);
  return owned_.size();
}

Status TopicKeys::note(const std::string& name, const std::optional<std::string>& text) {
  return topic_->append(
      {record(kNote, name, text ? std::optional(encrypt(master_, name, *text)) : std::nullopt)});
}

Result<std::map<std::string, std::string>> TopicKeys::notes(const std::string& prefix) const {
  std::map<std::string, std::string> out;
  std::shared_lock lock(mutex_);
  for (auto it = notes_.lower_bound(prefix); it != notes_.end() && it->first.starts_with(prefix);
       ++it) {
    auto text = decrypt(master_, it->first, it->second.stored);
    if (!text)
      return fail(Code::kCorrupt, "a note beside the cluster's keys does not open: " + it->first);
    out[it->first.substr(prefix.size())] = std::move(*text);
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> TopicKeys::notes_in_order(
    const std::string& prefix) const {
  auto all = notes(prefix);
  if (!all) return tl::unexpected(all.error());
  std::vector<std::pair<Offset, std::pair<std::string, std::string>>> out;
  {
    std::shared_lock lock(mutex_);
    for (auto& [name, text] : *all)
      if (const auto it = notes_.find(prefix + name); it != notes_.end())
        out.push_back({it->second.offset, {name, std::move(text)}});
  }
  std::sort(out.begin(), out.end());
  std::vector<std::pair<std::string, std::string>> sorted;
  for (auto& one : out) sorted.push_back(std::move(one.second));
  return sorted;
}

Status TopicKeys::wait_forgotten(const std::vector<std::string>& ids,
                                 const std::function<bool()>& stopping) {
  using Clock = std::chrono::steady_clock;
  const auto sleep = [&](Clock::duration time) {
    for (const auto until = Clock::now() + time; Clock::now() < until && !stopping();)
      std::this_thread::sleep_for(kPoll);
  };
  const std::set<std::string> wanted(ids.begin(), ids.end());
  const auto until = Clock::now() + kForgotten;
  for (Clock::duration pause = kFirstLook; !stopping();
       pause = std::min<Clock::duration>(pause * 3 / 2, kLongestPause)) {
    sleep(pause);
    if (auto ok = nudge(); !ok) return ok;
    bool there = false;
    auto read = topic_->scan(
        [&](const KeyedRecord& r) {
          if (!r.key.starts_with(kKey) || !r.value) return;
          const auto slot = KeySlot::parse(*r.value);
          there |= slot && !slot->gone && wanted.contains(hex(slot->id));
        },
        stopping);
    if (!read) return read;
    if (!there) {
      sleep(kFileGone);
      if (!stopping()) return {};
      break;
    }
    if (Clock::now() > until)
      return fail(Code::kDeadlineExceeded,
                  "the brokers have not compacted the topic of the keys for 5 minutes: look at "
                  "log.cleaner.enable, the cleaner's log, and the topic's segment.ms and "
                  "max.compaction.lag.ms");
  }
  return fail(Code::kCancelled, "the node is stopping");
}

std::vector<KeySlot> TopicKeys::slots() const {
  std::shared_lock lock(mutex_);
  std::vector<KeySlot> out;
  for (const auto& [id, slot] : slots_) {
    const std::string raw = unhex(id).value();
    out.push_back(slot.gone ? KeySlot::destroyed(raw) : KeySlot{false, raw, slot.who, slot.sealed});
  }
  return out;
}

Status TopicKeys::adopt(const std::vector<KeySlot>& slots) {
  std::vector<KeyedRecord> missing;
  const auto flush = [&] {
    auto ok = topic_->append(missing);
    missing.clear();
    return ok;
  };
  for (const auto& slot : slots) {
    const std::string id = hex(slot.id);
    {
      std::shared_lock lock(mutex_);
      const auto known = slots_.find(id);
      if (known != slots_.end() && (known->second.gone || !slot.gone)) continue;
    }
    missing.push_back(record(kKey, id, slot.bytes()));
    if (missing.size() < kAdoptedAtOnce) continue;
    if (auto ok = flush(); !ok) return ok;
  }
  return flush();
}

}  // namespace soma::runtime::privacy
