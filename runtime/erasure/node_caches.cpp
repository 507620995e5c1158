// The mark first, then what is told: told without a mark it would be done again, never the reverse.
#include "runtime/erasure/node_caches.h"

#include <algorithm>
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
  std::lock_guard lock(mutex_);
  for (const auto& name : done_) text += name + "\n";
  return security::replace_private_file(data_dir_, kMark, text);
}

Status NodeCaches::make_up() {
  auto all = records_.due(false);
  if (!all) return tl::unexpected(all.error());
  bool missed = false;
  for (const auto& due : *all) missed |= done_.insert(due.name()).second;
  if (missed) {
    if (auto ok = remove_snapshots(data_dir_); !ok) return ok;
    log_info("snapshots removed: data was erased while this node was away");
  }
  return save();
}

Status NodeCaches::may_serve() {
  if (auto ok = keys_.catch_up(); !ok) return ok;
  auto all = records_.due(false);
  if (!all) return tl::unexpected(all.error());
  if (!keys_.passed().empty())
    return fail(Code::kUnavailable, "snapshots made under a passing key are being dropped");
  std::lock_guard lock(mutex_);
  for (const auto& due : *all)
    if (!done_.contains(due.name()) && !cleared_.contains(due.name()) &&
        !(due.end && done_.contains(due.in_round())))
      return fail(Code::kUnavailable, "snapshots that hold erased data are being dropped");
  return {};
}

Status NodeCaches::tell() {
  auto open = records_.due(true);
  if (!open) return tl::unexpected(open.error());
  for (const auto& due : *open) {
    {
      std::lock_guard lock(mutex_);
      if (!done_.contains(due.name())) continue;
    }
    auto told = records_.dropped(due.name());
    if (!told) return tl::unexpected(told.error());
    if (told->contains(folder_)) continue;
    if (auto ok = records_.dropped(due.name(), folder_, clock_.now_ms()); !ok) return ok;
  }
  return {};
}

void NodeCaches::follow(Work work) {
  work_ = std::move(work);
  thread_ = std::thread([this] {
    name_thread("soma-caches");
    run();
  });
}

void NodeCaches::run() {
  std::uint64_t seen = 0;
  auto again = std::chrono::steady_clock::now();
  bool left = true;
  std::string said;
  while (!stopping_) {
    const auto now = keys_.notes_seen();
    if (now != seen || !keys_.passed().empty() ||
        (left && std::chrono::steady_clock::now() >= again)) {
      const auto ok = look();
      if (!ok && !stopping_ && ok.error().message != said)
        log_error("caches of erased data wait", {{"reason", said = ok.error().message}});
      if (ok) said.clear();
      seen = now;
      left = !ok || work_.projections;  // the views' database comes and goes by itself
      again = std::chrono::steady_clock::now() + kAgain;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

// At an erasure's end only who sealed under a passing key, or missed the last round, has something
// to drop. That it is over stands in the topic before its end does.
Status NodeCaches::look() {
  auto all = records_.due(false);
  if (!all) return tl::unexpected(all.error());
  std::set<std::string> due;
  bool drops = dropped_.has_value() || !keys_.passed().empty();
  {
    std::lock_guard lock(mutex_);
    for (const auto& d : *all) {
      if (done_.contains(d.name())) continue;
      due.insert(d.name());
      drops |= !(d.end && done_.contains(d.in_round()));
    }
  }
  if (drops)
    if (auto ok = drop(due); !ok) return ok;
  if (!due.empty()) {
    {
      std::lock_guard lock(mutex_);
      done_.insert(due.begin(), due.end());
      cleared_.clear();
    }
    if (auto ok = save(); !ok) return ok;
  }
  if (auto ok = tell(); !ok) return ok;
  return look_after_views();
}

Status NodeCaches::drop(std::set<std::string> due) {
  const auto passed = keys_.passed();
  const bool waits =
      dropped_ && passed.empty() &&
      std::includes(dropped_->due.begin(), dropped_->due.end(), due.begin(), due.end());
  if (!waits) {
    views_due_ = true;
    auto before = work_.drop_states();
    if (!before) return tl::unexpected(before.error());
    keys_.let_go(passed);
    std::lock_guard lock(mutex_);
    cleared_ = due;
    dropped_ = {std::move(due), {std::move(*before)}};
  }
  if (auto ok = made_anew(work_, dropped_->remaking, [this] { return stopping_.load(); }); !ok)
    return ok;
  dropped_.reset();
  log_info("caches dropped for erasures");
  return {};
}

// Whoever feeds the database makes it anew at an erasure's end: for those whose views nobody has
// made anew, and also when it could open until now what others could not. Nobody waits for it here:
// what is erased meanwhile is dropped at once.
Status NodeCaches::look_after_views() {
  if (!work_.projections) return {};
  auto open = records_.due(true);
  if (!open) return tl::unexpected(open.error());
  std::set<std::string> due;
  bool under_way = false;
  for (const auto& d : *open) {
    under_way |= !d.end;
    if (!d.end) continue;
    auto told = records_.dropped(d.name());
    if (!told) return tl::unexpected(told.error());
    if (!told->contains(TopicRecords::kViews)) due.insert(d.name());
  }
  if (!views_ && due.empty() && (!views_due_ || under_way)) return {};
  if (work_.projections->report().passive || !work_.projections->health()) return {};
  if (!views_) {
    views_ = {due, work_.projections->start_over()};
    views_due_ = false;
  }
  if (auto made = work_.projections->wait_over(views_->over, 0); !made)
    return made.error().code == Code::kDeadlineExceeded ? Status{} : tl::unexpected(made.error());
  for (const auto& name : due)
    if (views_->due.contains(name))
      if (auto ok = records_.dropped(name, TopicRecords::kViews, clock_.now_ms()); !ok) return ok;
  views_.reset();
  return {};
}

}  // namespace soma::runtime::erasure
