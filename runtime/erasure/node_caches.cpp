// The mark first, then what is told: told without a mark it would be done again, never the reverse.
#include "runtime/erasure/node_caches.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include "runtime/privacy/cipher.h"
#include "runtime/security/private_file.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/sha256.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime::erasure {

namespace {

constexpr char kMark[] = "erasures.done";  // the folder's id, then those of erasures, a line each
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr auto kAgain = std::chrono::seconds(1);

}  // namespace

Result<std::unique_ptr<NodeCaches>> NodeCaches::open(privacy::TopicKeys& keys,
                                                     TopicRecords& records,
                                                     const std::string& data_dir,
                                                     const std::string& node_id,
                                                     const Clock& clock) {
  std::unique_ptr<NodeCaches> out(new NodeCaches(keys, records, data_dir, clock));
  if (auto ok = out->load(); !ok) return tl::unexpected(ok.error());
  if (auto ok = out->make_up(); !ok) return tl::unexpected(ok.error());
  if (auto ok = records.add({out->folder_, node_id, clock.now_ms()}); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = out->tell(); !ok) return tl::unexpected(ok.error());
  return out;
}

NodeCaches::~NodeCaches() { stop(); }

void NodeCaches::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

Status NodeCaches::load() {
  std::ifstream in(data_dir_ + "/" + kMark);
  if (std::getline(in, folder_) && !folder_.empty()) {
    for (std::string id; std::getline(in, id);) done_.insert(id);
    return {};
  }
  folder_ = hex(privacy::random_bytes(8));
  return {};
}

Status NodeCaches::save() const {
  std::string text = folder_ + "\n";
  for (const auto& id : done_) text += id + "\n";
  return security::replace_private_file(data_dir_, kMark, text);
}

Status NodeCaches::make_up() {
  auto all = records_.destroyed(false);
  if (!all) return tl::unexpected(all.error());
  bool missed = false;
  for (const auto& id : *all) missed |= done_.insert(id).second;
  if (missed) {
    if (auto ok = remove_snapshots(data_dir_); !ok) return ok;
    log_info("snapshots removed: data was erased while this node was away");
  }
  return save();
}

Status NodeCaches::tell() {
  auto open = records_.destroyed(true);
  if (!open) return tl::unexpected(open.error());
  for (const auto& id : *open) {
    if (!done_.contains(id)) continue;
    auto told = records_.dropped(id);
    if (!told) return tl::unexpected(told.error());
    if (told->contains(folder_)) continue;
    if (auto ok = records_.dropped(id, folder_, clock_.now_ms()); !ok) return ok;
  }
  return {};
}

void NodeCaches::follow(Caches caches) {
  caches_ = std::move(caches);
  thread_ = std::thread([this] {
    name_thread("soma-caches");
    run();
  });
}

void NodeCaches::run() {
  std::uint64_t seen = 0;
  auto again = std::chrono::steady_clock::now();
  std::string said;
  while (!stopping_) {
    const auto now = keys_.notes_seen();
    if (now != seen || std::chrono::steady_clock::now() >= again) {
      const auto ok = look();
      if (!ok && !stopping_ && ok.error().message != said)
        log_error("caches of erased data wait", {{"reason", said = ok.error().message}});
      if (ok) said.clear();
      seen = now;
      again = std::chrono::steady_clock::now() + kAgain;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Status NodeCaches::look() {
  auto all = records_.destroyed(false);
  if (!all) return tl::unexpected(all.error());
  std::set<std::string> due;
  for (const auto& id : *all)
    if (!done_.contains(id)) due.insert(id);
  if (!due.empty()) {
    if (auto ok = drop_states(caches_, [this] { return stopping_.load(); }); !ok) return ok;
    done_.insert(due.begin(), due.end());
    if (auto ok = save(); !ok) return ok;
    log_info("caches dropped for erasures", {{"erasures", due.size()}});
  }
  if (auto ok = tell(); !ok) return ok;
  return look_after_views(!due.empty());
}

// Whoever feeds the database makes it anew: for those whose views nobody has made anew, and also
// when it could open until now what others could not.
Status NodeCaches::look_after_views(bool dropped) {
  if (!caches_.projections) return {};
  auto open = records_.destroyed(true);
  if (!open) return tl::unexpected(open.error());
  std::set<std::string> due;
  for (const auto& id : *open) {
    auto told = records_.dropped(id);
    if (!told) return tl::unexpected(told.error());
    if (!told->contains(TopicRecords::kViews)) due.insert(id);
  }
  if (due.empty() && !dropped) return {};
  if (caches_.projections->report().passive || !caches_.projections->health()) return {};
  if (auto made = drop_views(caches_); !made) return tl::unexpected(made.error());
  for (const auto& id : due)
    if (auto ok = records_.dropped(id, TopicRecords::kViews, clock_.now_ms()); !ok) return ok;
  return {};
}

}  // namespace soma::runtime::erasure
