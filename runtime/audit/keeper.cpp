// One pass over what came since the last one.
#include "runtime/audit/keeper.h"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <set>

#include "events/entry_owner.h"
#include "runtime/audit/records.h"
#include "runtime/security/key_file.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"
#include "schemas/json/json_read.h"

namespace soma::runtime::audit {

namespace {
constexpr std::size_t kHeadsASync = 256;  // they wait in memory, a few KB each
}  // namespace

Keeper::Keeper(const events::Log& log, SigningKey key, std::string data_dir,
               std::int64_t interval_ms, const Clock& clock)
    : log_(log),
      key_(std::move(key)),
      heads_(std::move(data_dir)),
      interval_ms_(interval_ms),
      clock_(clock) {
  for (std::uint32_t p = 0; p < log_.partition_count(); ++p)
    readers_.emplace_back(std::make_unique<events::FrameReader>(log_, PartitionId{p}))->as_stored();
  if (interval_ms_ > 0) thread_ = std::thread([this] { run(); });
}

Keeper::~Keeper() {
  {
    std::lock_guard lock(stop_mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::uint64_t Keeper::TenantTrees::records() const {
  std::uint64_t sum = 0;
  for (const auto& tree : trees) sum += tree.size();
  return sum;
}

Status Keeper::advance() {
  for (std::uint32_t p = 0; p < readers_.size(); ++p) {
    auto& reader = *readers_[p];
    for (const Offset end = log_.end(PartitionId{p}); reader.next_offset() < end;) {
      if (stopping_) return stopped();
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& frame : *frames) {
        std::set<std::string> names;
        for (const auto& e : frame.frame->entries())
          if (const auto& name = events::tenant_of(e); !name.empty() && !name.starts_with('$'))
            names.insert(name);
        for (const auto& name : names) {
          auto& t = tenants_[name];
          t.trees.resize(readers_.size());
          std::uint64_t index = t.trees[p].size();
          each_record(frame, name, index,
                      [&](const Record& r) { t.trees[p].add(soma::audit::leaf_hash(r.hashed())); });
        }
      }
    }
  }
  return {};
}

Result<Keeper::Signed> Keeper::signed_head(const std::string& tenant, const TenantTrees& t,
                                           const security::Key& key) const {
  Signed out;
  out.head.tenant = tenant;
  out.head.time_ms = clock_.now_ms();
  for (std::uint32_t p = 0; p < readers_.size(); ++p) {
    const auto& reader = *readers_[p];
    out.head.partitions.push_back({PartitionId{p}, t.trees[p].size(), t.trees[p].root(),
                                   reader.next_offset(), reader.fence().epoch(),
                                   reader.fence().last_number(), reader.fence().head()});
  }
  auto jws = sign_head(key, out.head);
  if (!jws) return tl::unexpected(jws.error());
  out.jws = std::move(*jws);
  out.key_id = key.id;
  return out;
}

Status Keeper::keep(std::vector<Signed>& heads) {
  std::erase_if(heads, [this](const Signed& one) {
    return one.head.records() <= tenants_.at(one.head.tenant).signed_records;
  });
  if (heads.empty()) return {};
  if (auto kept = heads_.append(heads); !kept) return kept;
  for (const auto& one : heads) tenants_.at(one.head.tenant).signed_records = one.head.records();
  return {};
}

Result<Keeper::Signed> Keeper::sign(const std::string& tenant) {
  std::lock_guard lock(mutex_);
  if (auto ok = advance(); !ok) return tl::unexpected(ok.error());
  const auto it = tenants_.find(tenant);
  if (it == tenants_.end())
    return fail(Code::kNotFound, "the journal has no records of this tenant");
  auto key = key_();
  if (!key) return tl::unexpected(key.error());
  auto one = signed_head(tenant, it->second, *key);
  if (!one) return one;
  std::vector<Signed> heads{*one};
  if (auto kept = keep(heads); !kept) return tl::unexpected(kept.error());
  return one;
}

std::vector<boost::json::object> Keeper::all_heads(const std::string& tenant) const {
  auto out = heads_.of(tenant);
  if (!elsewhere_) return out;
  const auto text = [](const boost::json::object& o, const char* name) {
    const auto* v = o.if_contains(name);
    return v && v->is_string() ? std::string(v->get_string()) : std::string();
  };
  std::set<std::string> known;
  for (const auto& o : out) known.insert(text(o, "head"));
  for (const auto& line : elsewhere_(tenant)) {
    auto o = read_json_object(line);
    const auto* time = o ? o->if_contains("time_ms") : nullptr;
    if (!time || !time->is_number() || text(*o, "tenant") != tenant || text(*o, "head").empty() ||
        !known.insert(text(*o, "head")).second)
      continue;
    out.push_back(std::move(*o));
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.at("time_ms").template to_number<std::int64_t>() <
           b.at("time_ms").template to_number<std::int64_t>();
  });
  if (out.size() > HeadFile::kMost)
    out.erase(out.begin(), out.end() - static_cast<long>(HeadFile::kMost));
  return out;
}

// Who asks for a head meanwhile waits for one tenant's, or for the sync of some.
Status Keeper::sign_all() {
  std::vector<std::string> grown;
  {
    std::lock_guard lock(mutex_);
    if (auto ok = advance(); !ok) return ok;
    for (const auto& [tenant, t] : tenants_)
      if (t.records() != t.signed_records) grown.push_back(tenant);
  }
  if (grown.empty()) return {};
  auto key = key_();
  if (!key) return tl::unexpected(key.error());
  std::vector<Signed> heads;
  for (std::size_t i = 0; i < grown.size(); ++i) {
    if (stopping_) return stopped();
    std::lock_guard lock(mutex_);
    auto one = signed_head(grown[i], tenants_.at(grown[i]), *key);
    if (!one) return tl::unexpected(one.error());
    heads.push_back(std::move(*one));
    if (heads.size() < kHeadsASync && i + 1 < grown.size()) continue;
    if (auto kept = keep(heads); !kept) return kept;
    heads.clear();
  }
  return {};
}

void Keeper::run() {
  name_thread("soma-audit");
  const auto interval = std::chrono::milliseconds(interval_ms_);
  for (;;) {
    {
      std::unique_lock lock(stop_mutex_);
      if (stop_changed_.wait_for(lock, interval, [this] { return stopping_.load(); })) return;
    }
    if (const Status ok = sign_all(); !ok && !stopping_)
      log_warn("no audit head was made", {{"reason", ok.error().message}});
  }
}

Result<std::unique_ptr<Keeper>> open_keeper(const events::Log& log, const std::string& data_dir,
                                            std::uint64_t interval_s, const Clock& clock) {
  const auto key = [data_dir] { return security::load_or_create_key(data_dir + "/keys"); };
  if (auto first = key(); !first) return tl::unexpected(first.error());
  return std::make_unique<Keeper>(log, key, data_dir, static_cast<std::int64_t>(interval_s) * 1000,
                                  clock);
}

}  // namespace soma::runtime::audit
