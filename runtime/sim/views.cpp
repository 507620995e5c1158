// Feeding, and counting along.
#include "runtime/sim/views.h"

#include <bit>

namespace soma::sim {

namespace {

std::string key_of(const std::vector<std::string_view>& fields) {
  std::string out;
  for (std::size_t i = 0; i < 4; ++i) (out += fields[i]) += '\0';
  return out;
}

std::string text(const projections::Record& row) {
  std::string out;
  for (const auto& f : row) (out += f ? *f : "NULL") += " | ";
  return out;
}

}  // namespace

class Views::Expected final : public projections::RowSink {
 public:
  explicit Expected(Views& views) : v_(views) {}
  void row(const projections::RowRef& row) override {
    SimSql::Row fields;
    for (const auto f : row.fields) fields.emplace_back(std::string(f));
    v_.expected_[std::string(projections::table_of(row.table).name)].emplace(key_of(row.fields),
                                                                             std::move(fields));
    Taken& taken = v_.taken_[row.actor];
    taken.digest ^= projections::digest_of(row.table, row.fields);
    taken.last_sequence = row.sequence;
    ++taken.rows;
    ++v_.total_;
  }
  void session(const projections::ActorName& name, projections::SessionChange change) override {
    auto [it, fresh] = v_.sessions_.try_emplace(name, change);
    if (!fresh) it->second.then(change);
  }

 private:
  Views& v_;
};

Views::Views(Ground& ground, Oracle& oracle) : oracle_(oracle), sql_(ground) {
  sql_.on_commit([this] { committed(); });
}

void Views::take(const events::ValidFrame& frame) {
  const std::uint64_t before = total_;
  Expected sink(*this);
  projections::rows_of(frame, sink);
  if (total_ == before) return;
  auto& counts = counts_[frame.position.partition.value];
  const std::uint64_t so_far = counts.empty() ? 0 : counts.rbegin()->second;
  counts[frame.position.offset.value] = so_far + total_ - before;
}

std::uint64_t Views::rows() {
  std::uint64_t n = 0;
  for (const auto& table : projections::kTables) n += sql_.table(std::string(table.name)).size();
  return n;
}

void Views::committed() {
  std::uint64_t wanted = 0;
  for (const auto& [key, row] : sql_.table("cursor")) {
    const auto& counts = counts_[static_cast<std::uint32_t>(std::stoul(*row[0]))];
    auto it = counts.lower_bound(std::stoull(*row[1]));
    if (it != counts.begin()) wanted += std::prev(it)->second;
  }
  if (const auto found = rows(); found != wanted)
    oracle_.complain("I10", {},
                     "a commit leaves " + std::to_string(found) + " rows where its cursors tell " +
                         std::to_string(wanted));
}

bool Views::caught_up() { return rows() == total_; }

void Views::compare() {
  for (const auto& table : projections::kTables) {
    const std::string name(table.name);
    const auto& wanted = expected_[name];
    const auto& found = sql_.table(name);
    for (const auto& [key, row] : wanted) {
      auto it = found.find(key);
      if (it == found.end())
        return oracle_.complain("I10", {}, "missing in " + name + ": " + text(row));
      if (it->second != row)
        return oracle_.complain("I10", {}, name + " has " + text(it->second) + "not " + text(row));
    }
    if (found.size() != wanted.size())
      return oracle_.complain("I10", {}, name + " has rows that no event gave");
  }
  const auto& sessions = sql_.table("sessions");
  if (sessions.size() != sessions_.size())
    return oracle_.complain("I10", {}, "sessions that no event gave, or none for one");
  for (const auto& [name, change] : sessions_) {
    auto it = sessions.find(name.tenant + '\0' + name.id + '\0');
    if (it == sessions.end()) return oracle_.complain("I10", {}, "no row of session " + name.id);
    static const auto unsaid = projections::session_fields({});  // what NULL stands for
    const auto fields = projections::session_fields(change);
    for (std::size_t i = 0; i < fields.size(); ++i)
      if (const std::string found = it->second[i + 2].value_or(unsaid[i]); found != fields[i])
        return oracle_.complain("I10", {},
                                "session " + name.id + ": " + found + ", not " + fields[i]);
  }
  const auto& digests = sql_.table("actor_digests");
  if (digests.size() != taken_.size())
    return oracle_.complain("I10", {}, "digests of actors without rows, or none for one");
  for (const auto& [name, t] : taken_) {
    const SimSql::Row wanted{name.tenant,
                             name.type,
                             name.id,
                             std::to_string(t.rows),
                             std::to_string(t.last_sequence),
                             std::to_string(std::bit_cast<std::int64_t>(t.digest.high)),
                             std::to_string(std::bit_cast<std::int64_t>(t.digest.low))};
    auto it = digests.find(name.tenant + '\0' + name.type + '\0' + name.id + '\0');
    if (it == digests.end() || it->second != wanted)
      return oracle_.complain("I10", {}, "the digest of " + name.type + " " + name.id);
  }
}

ViewFeed::ViewFeed(std::shared_ptr<Life> life, const events::Log& log, Views& views, Oracle& oracle)
    : life_(std::move(life)),
      log_(log),
      views_(views),
      oracle_(oracle),
      rng_(life_->ground.seed, "views " + life_->name) {}

void ViewFeed::later(std::int64_t at_least_us) {
  auto& time = life_->ground.time;
  time.at(std::max(at_least_us, time.now_us() + rng_.between(1'000, 200'000)),
          [weak = weak_from_this()] {
            if (auto self = weak.lock()) self->turn();
          });
}

void ViewFeed::turn() {
  if (!life_->alive) return;
  if (life_->paused()) return later(life_->paused_until_us);
  if (auto ok = feed(); !ok) {
    feeder_.reset();
    db_.reset();
    if (ok.error().code == Code::kCorrupt && !life_->head_was_hidden)
      oracle_.complain("I10", {}, "the views cannot be fed: " + ok.error().message);
  }
  later(0);
}

Status ViewFeed::feed() {
  if (!db_) {
    auto opened = views_.database().open(life_);
    if (!opened) return tl::unexpected(opened.error());
    db_ = std::move(*opened);
  }
  if (!views_.database().try_lock(*db_))
    return db_->usable() ? Status{} : fail(Code::kUnavailable, "the connection ended");
  if (!feeder_) {
    feeder_ = std::make_unique<projections::Feeder>(
        log_, *db_, counts_, [&ground = life_->ground] { return ground.time.now_us(); });
    if (auto ok = feeder_->load(); !ok) return ok;
    if (auto ok = feeder_->check_against_log(); !ok) return ok;
  }
  const auto bytes = rng_.pick(std::vector<std::size_t>{1, 2'000, 1 << 20});
  auto moved = feeder_->round(bytes);
  return moved ? Status{} : tl::unexpected(moved.error());
}

}  // namespace soma::sim
