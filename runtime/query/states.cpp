// The tables whose rows are actors: folded a partition at a time, since an actor lives in one.
#include <boost/json.hpp>
#include <map>
#include <utility>

#include "runtime/api/journal_views.h"
#include "runtime/api/views.h"
#include "runtime/query/tables.h"
#include "schemas/json/json_text.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::query::detail {

namespace {

constexpr std::size_t kMostActors = 1'000'000;  // of one partition in memory
constexpr std::size_t kMeasureShare = 8;        // a state is measured as it grew by such a share

struct Known {
  std::uint64_t events = 0;
  std::int64_t first_ms = 0, last_ms = 0;
  Position last;
  std::optional<views::Fold> fold;   // where the table needs the state
  std::size_t bytes = 0, since = 0;  // of the state as measured; of events since
};
using Rows = std::vector<std::vector<Cell>>;

Cell time_or_nothing(std::int64_t ms) { return ms > 0 ? Cell(views::iso_time(ms)) : Cell(); }

std::size_t text_bytes(const Rows& rows, std::size_t from) {
  std::size_t sum = 0;
  for (std::size_t i = from; i < rows.size(); ++i)
    for (const auto& cell : rows[i])
      if (const auto* text = std::get_if<std::string>(&cell)) sum += text->size();
  return sum;
}

// One cursor's part of what the reading holds.
class Held {
 public:
  explicit Held(const Reading& r) : r_(r) {}
  ~Held() { clear(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  void clear() { r_.held -= std::exchange(bytes_, 0); }
  // So many bytes instead of others. kTooLarge.
  Status change(std::size_t before, std::size_t now) {
    bytes_ += now - before;
    r_.held += now - before;
    if (r_.held <= r_.may_hold) return {};
    return fail(Code::kTooLarge, "the actors' states and rows are more than " +
                                     std::to_string(r_.may_hold >> 20) +
                                     " MiB: ask for one partition, or use events");
  }

 private:
  const Reading& r_;
  std::size_t bytes_ = 0;
};

// `Kind` says which actors are folded, and makes rows of what is known of one.
template <typename Kind>
class States final : public Cursor {
 public:
  States(const Reading& r, std::optional<std::uint32_t> only)
      : r_(r),
        partition_(only.value_or(0)),
        last_(only.value_or(r.log.partition_count() - 1)),
        held_(r) {}

  Result<bool> next() override {
    while (++at_ >= rows_.size()) {
      if (partition_ > last_ || partition_ >= r_.log.partition_count()) return false;
      if (auto ok = read(partition_++); !ok) return tl::unexpected(ok.error());
      at_ = static_cast<std::size_t>(-1);
    }
    return true;
  }
  Cell cell(int column) const override { return rows_[at_][static_cast<std::size_t>(column)]; }

 private:
  Status read(std::uint32_t partition) {
    rows_.clear();
    held_.clear();
    std::map<ActorKey, Known> known;
    Entries entries(r_, partition);
    for (;;) {
      auto more = entries.next();
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
      if (auto ok = take(entries, known); !ok) return ok;
    }
    for (auto it = known.begin(); it != known.end(); it = known.erase(it)) {  // few of both at once
      if (auto ok = r_.in_time(); !ok) return ok;
      const std::size_t before = rows_.size();
      Kind::rows(r_, partition, it->first, it->second, rows_);
      if (auto ok = held_.change(it->second.bytes, text_bytes(rows_, before)); !ok) return ok;
    }
    return {};
  }
  Status take(const Entries& at, std::map<ActorKey, Known>& known) {
    const auto& entry = at.entry();
    if (entry.events_size() == 0 || !Kind::wanted(entry)) return {};
    const auto* type = r_.catalog.find(entry.actor().type());
    if (known.size() >= kMostActors)
      return fail(Code::kTooLarge, "a partition has more than " + std::to_string(kMostActors) +
                                       " such actors: ask for one partition, or use events");
    auto& k = known[actors::to_key(entry.actor())];
    if (k.events == 0) {
      k.first_ms = entry.context().now_ms();
      if (Kind::kFolds && type) k.fold.emplace(*type);
    }
    k.events += static_cast<std::uint64_t>(entry.events_size());
    k.last_ms = entry.context().now_ms();
    k.last = at.frame().position;
    if (!k.fold) return {};
    for (const auto& event : entry.events()) {
      if (auto ok = k.fold->apply(event); !ok) return ok;
      k.since += event.payload().size();
    }
    if (k.bytes > 0 && k.since * kMeasureShare <= k.bytes) return {};
    k.since = 0;
    const std::size_t before = std::exchange(k.bytes, k.fold->state().SpaceUsedLong());
    return held_.change(before, k.bytes);
  }

  const Reading& r_;
  std::uint32_t partition_;
  const std::uint32_t last_;
  Rows rows_;
  Held held_;
  std::size_t at_ = static_cast<std::size_t>(-1);
};

struct Actors {
  static constexpr bool kFolds = false;
  static bool wanted(const v1::Entry&) { return true; }
  static void rows(const Reading&, std::uint32_t partition, const ActorKey& key, const Known& k,
                   Rows& out) {
    out.push_back({std::int64_t{partition}, key.tenant, key.type, key.id, to_string(key),
                   static_cast<std::int64_t>(k.events), views::iso_time(k.first_ms),
                   views::iso_time(k.last_ms), to_string(k.last)});
  }
};

struct Sessions {
  static constexpr bool kFolds = true;
  static bool wanted(const v1::Entry& e) { return e.actor().type() == "session"; }
  static void rows(const Reading&, std::uint32_t partition, const ActorKey& key, const Known& k,
                   Rows& out) {
    if (!k.fold) return;
    const auto s = views::session(static_cast<const v1::SessionState&>(k.fold->state()));
    const auto text = [&](const char* name) -> Cell {
      const auto* v = s.if_contains(name);
      return v && v->is_string() ? Cell(std::string(v->get_string())) : Cell();
    };
    const auto* turns = s.if_contains("turns");
    const auto* error = s.if_contains("error");
    const auto* code =
        error && error->is_object() ? error->get_object().if_contains("code") : nullptr;
    out.push_back(
        {std::int64_t{partition}, key.id, key.tenant, text("user"), text("status"),
         text("created_at"), text("updated_at"), text("model"),
         static_cast<std::int64_t>(turns && turns->is_array() ? turns->get_array().size() : 0),
         code && code->is_string() ? Cell(std::string(code->get_string())) : Cell(), json_text(s)});
  }
};

struct Effects {
  static constexpr bool kFolds = true;
  static bool wanted(const v1::Entry&) { return true; }
  static void rows(const Reading& r, std::uint32_t partition, const ActorKey& key, const Known& k,
                   Rows& out) {
    const auto* type = k.fold ? r.catalog.find(key.type) : nullptr;
    if (!type) return;
    static constexpr const char* kClasses[] = {"idempotent", "probeable", "at_most_once"};
    for (const auto& e : type->effects(key, k.fold->state()))
      out.push_back({std::int64_t{partition}, e.effect_id, key.tenant, to_string(key), e.kind,
                     std::string(e.unknown.empty() ? "pending" : "unknown"),
                     std::string(kClasses[static_cast<std::size_t>(e.effect_class)]),
                     std::int64_t{e.attempt}, time_or_nothing(e.not_before_ms),
                     time_or_nothing(e.deadline_ms), static_cast<std::int64_t>(e.request.size())});
  }
};

}  // namespace

std::unique_ptr<Cursor> open_actors(const Reading& r, std::optional<std::uint32_t> p) {
  return std::make_unique<States<Actors>>(r, p);
}
std::unique_ptr<Cursor> open_sessions(const Reading& r, std::optional<std::uint32_t> p) {
  return std::make_unique<States<Sessions>>(r, p);
}
std::unique_ptr<Cursor> open_effects(const Reading& r, std::optional<std::uint32_t> p) {
  return std::make_unique<States<Effects>>(r, p);
}

}  // namespace soma::runtime::query::detail
