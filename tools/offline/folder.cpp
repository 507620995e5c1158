// The routes over files.
#include "tools/offline/folder.h"

#include <poll.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>

#include "events/embedded/embedded_log.h"
#include "runtime/api/api.h"
#include "runtime/api/views.h"
#include "runtime/config/config.h"
#include "runtime/node/journal.h"
#include "runtime/snapshots/rocks_store.h"
#include "tools/offline/sealed.h"

namespace soma::cli::offline {

namespace json = boost::json;
namespace views = runtime::views;

namespace {

constexpr int kLooks = 5;
constexpr int kBetweenLooksMs = 60;
constexpr std::size_t kListDefault = 50;

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr ==
            text.data() + i + 3) {
      out.push_back(static_cast<char>(value));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  std::size_t from = 0;
  for (auto at = text.find(by); at != text.npos; at = text.find(by, from)) {
    out.push_back(text.substr(from, at - from));
    from = at + 1;
  }
  out.push_back(text.substr(from));
  return out;
}

std::string value(const std::map<std::string, std::string>& q, const char* name) {
  const auto it = q.find(name);
  return it == q.end() ? std::string() : it->second;
}

std::size_t limit_of(const std::map<std::string, std::string>& q) {
  const std::size_t n = std::strtoul(value(q, "limit").c_str(), nullptr, 10);
  return n == 0 ? kListDefault : n;
}

json::object listed(json::array items, json::value next = nullptr) {
  return {{"items", std::move(items)}, {"next_cursor", std::move(next)}};
}

// What lies between a cursor ("a number of items seen") and the limit.
json::object page(json::array all, const std::map<std::string, std::string>& q) {
  const std::size_t from = std::strtoul(value(q, "cursor").c_str(), nullptr, 10);
  const std::size_t to = std::min(all.size(), from + limit_of(q));
  json::array items;
  for (std::size_t i = from; i < to; ++i) items.push_back(std::move(all[i]));
  return listed(std::move(items),
                to < all.size() ? json::value(std::to_string(to)) : json::value(nullptr));
}

}  // namespace

Error no_journal(const std::string& folder) {
  std::string tied;  // as runtime/node/journal.cpp wrote it
  std::ifstream(folder + "/journal") >> tied;
  const bool elsewhere = !tied.empty() && tied != "embedded";
  return {Code::kNotFound,
          "there is no journal in " + folder +
              (elsewhere ? ": its node's is on Kafka; name the brokers with --kafka" : ""),
          {}};
}

Result<std::unique_ptr<events::Log>> open_log(const std::string& folder) {
  const std::string path = folder + "/log";
  if (!std::filesystem::is_directory(path)) return tl::unexpected(no_journal(folder));
  for (int look = 1;; ++look) {
    const bool live = events::lock_holder(path).has_value();
    auto log = events::open_embedded_log_readonly(path);
    if (log)
      if (auto ok = unseal(**log, folder); !ok) return tl::unexpected(ok.error());
    if (log || log.error().code != Code::kCorrupt || look == kLooks) return log;
    // A node that starts or writes at this moment may show a round in part.
    if (!live && !events::lock_holder(path)) return log;
    ::poll(nullptr, 0, kBetweenLooksMs);
  }
}

Result<std::unique_ptr<events::Log>> open_cluster(const Context& c) {
  runtime::config::FlagValues flags{{"--kafka", c.kafka}};
  if (!c.kafka_topic_prefix.empty()) flags["--kafka-topic-prefix"] = c.kafka_topic_prefix;
  auto config = runtime::config::load_config(flags);
  if (!config) return tl::unexpected(config.error());
  config->data_dir = c.folder();
  auto log = runtime::open_journal_readonly(*config);
  if (log)
    if (auto ok = unseal_cluster(**log, *config); !ok) return tl::unexpected(ok.error());
  return log;
}

Result<std::unique_ptr<events::Log>> open_source(const Context& c) {
  if (!c.kafka.empty()) return open_cluster(c);
  auto node = c.elsewhere();
  if (!node) return tl::unexpected(node.error());
  if (!node->empty())
    return fail(Code::kInvalidArgument,
                "this reads a journal itself and cannot ask the node " + *node +
                    "; name that node's folder with --data-dir or its brokers with --kafka, or "
                    "read " +
                    c.folder() + " with --offline",
                !c.server.empty()                     ? "--server"
                : !environment("SOMA_SERVER").empty() ? "SOMA_SERVER"
                                                      : "--context");
  return open_log(c.folder());
}

std::optional<Place> locate(const std::string& folder, Position position) {
  std::optional<Place> out;
  const auto scanned =
      events::scan_segments(folder + "/log", true, [&](const events::ScannedRecord& r) {
        if (r.partition == position.partition && r.offset == position.offset)
          out = Place{folder + "/log/" + events::segment_name(r.segment), r.byte};
      });
  return scanned ? out : std::nullopt;
}

Result<std::shared_ptr<Folder>> Folder::open(const std::string& folder) {
  auto out = std::shared_ptr<Folder>(new Folder(folder));
  if (auto store = runtime::open_rocks_store_readonly(folder + "/snapshots"))
    out->store_ = std::move(*store);
  auto log = open_log(folder);
  if (!log) return tl::unexpected(log.error());
  out->log_ = std::move(*log);
  out->journal_ = std::make_unique<runtime::Journal>(*out->log_);
  return out;
}

std::shared_ptr<Folder> Folder::over(std::string name, std::unique_ptr<events::Log> log) {
  auto out = std::shared_ptr<Folder>(new Folder(std::move(name)));
  out->log_ = std::move(log);
  out->journal_ = std::make_unique<runtime::Journal>(*out->log_);
  return out;
}

Result<json::value> Folder::get(const std::string& path_and_query) {
  const auto mark = path_and_query.find('?');
  Query q;
  if (mark != path_and_query.npos)
    for (const auto& pair : split(path_and_query.substr(mark + 1), '&')) {
      const auto equals = pair.find('=');
      if (equals != pair.npos) q[pair.substr(0, equals)] = decoded(pair.substr(equals + 1));
    }
  auto parts = split(path_and_query.substr(0, mark), '/');
  for (auto& part : parts) part = decoded(part);
  parts.erase(parts.begin());  // before the first slash
  if (parts.size() < 2 || parts[0] != "v1") parts = {"", ""};
  const std::string& area = parts[1];
  if (area == "actor-types") return json::value(runtime::api::actor_types(*catalog_));
  if (area == "actors" && parts.size() == 2) return actors(q);
  if (area == "actors" && parts.size() == 4) return actor(parts[2], parts[3], q);
  if (area == "actors" && parts.size() == 5) return history(parts[2], parts[3], q);
  if (area == "sessions" && parts.size() == 2) return sessions(q);
  if (area == "sessions" && parts.size() == 3) return session(parts[2], q);
  if (area == "sessions" && parts.size() == 4 && parts[3] == "events")
    return history("session", parts[2], q);
  if (area == "log" && parts.back() == "partitions") {
    auto all = journal_->summary();
    if (!all) return tl::unexpected(all.error());
    return json::value(listed(runtime::api::journal_partitions(*all)));
  }
  if (area == "log" && parts.size() == 3) return frames(q);
  if (area == "log" && parts.size() == 5) {
    const auto position = parse_position(parts[3] + "/" + parts[4]);
    if (!position)
      return fail(Code::kInvalidArgument, "a position is PARTITION/OFFSET, as 3/17", "position");
    auto f = journal_->at(*position);
    if (!f) return tl::unexpected(f.error());
    return json::value(views::frame(*catalog_, *f, nullptr));
  }
  if (area == "decisions" && parts.size() == 3) {
    auto found = runtime::api::explain_decision(*journal_, *catalog_, nullptr, parts[2]);
    if (!found) return tl::unexpected(found.error());
    return json::value(std::move(*found));
  }
  if (area == "admin" && parts.back() == "snapshots") return snapshots(q);
  return fail(Code::kUnavailable, "this needs a running node; " + folder_ + " has none");
}

Result<ActorKey> Folder::find(const std::string& tenant, const std::string& type,
                              const std::string& id) {
  std::set<ActorKey> found;
  auto ok = events::each_frame(*log_, [&](const events::ValidFrame& f) {
    for (const auto& t : f.frame->touched())
      if (t.events() > 0 && t.actor().type() == type && t.actor().id() == id &&
          (tenant.empty() || t.actor().tenant() == tenant))
        found.insert(actors::to_key(t.actor()));
    return true;
  });
  if (!ok) return tl::unexpected(ok.error());
  if (found.empty())
    return fail(Code::kNotFound, "no events of " + (tenant.empty() ? "" : tenant + "/") + type +
                                     "/" + id + " in " + folder_);
  if (found.size() > 1)
    return fail(Code::kConflict, std::to_string(found.size()) + " tenants have a " + type + "/" +
                                     id + "; say which, as " + found.begin()->tenant + "/" + type +
                                     "/" + id);
  return *found.begin();
}

Status Folder::each_event(
    const ActorKey& key,
    const std::function<bool(const v1::RecordedEvent&, const v1::Context&, Position)>& visit) {
  const PartitionId partition = partition_of(key, log_->partition_count());
  events::FrameReader reader(*log_, partition);
  for (;;) {
    auto batch = reader.next();
    if (!batch) return tl::unexpected(batch.error());
    if (batch->empty()) return {};
    for (const auto& frame : *batch)
      for (const auto& e : frame.frame->entries()) {
        if (!(actors::to_key(e.actor()) == key)) continue;
        for (const auto& recorded : e.events())
          if (!visit(recorded, e.context(), frame.position)) return {};
      }
  }
}

Result<json::value> Folder::actors(const Query& q) {
  std::map<ActorKey, std::pair<std::uint32_t, std::uint64_t>> found;  // partition, events
  const std::string type = value(q, "type"), tenant = value(q, "tenant");
  auto ok = events::each_frame(*log_, [&](const events::ValidFrame& f) {
    for (const auto& t : f.frame->touched())
      if (t.events() > 0 && (type.empty() || t.actor().type() == type) &&
          (tenant.empty() || t.actor().tenant() == tenant)) {
        auto& entry = found[actors::to_key(t.actor())];
        entry.first = f.position.partition.value;
        entry.second += t.events();
      }
    return true;
  });
  if (!ok) return tl::unexpected(ok.error());
  json::array all;
  for (const auto& [key, facts] : found) {
    json::object item = views::actor(key);
    item["partition"] = facts.first;
    item["events"] = facts.second;
    all.push_back(std::move(item));
  }
  return json::value(page(std::move(all), q));
}

Result<Folder::Then> Folder::folded(const std::string& tenant, const std::string& type,
                                    const std::string& id, const std::string& place) {
  const auto* actor_type = catalog_->find(type);
  if (!actor_type) return fail(Code::kNotFound, "no actor type `" + type + "` in this build");
  auto at = views::parse_at(place);
  if (!at) return tl::unexpected(at.error());
  auto key = find(tenant, type, id);
  if (!key) return tl::unexpected(key.error());
  Then out{*key, views::Fold(*actor_type), {}, 0};
  Status folded;
  auto ok = each_event(*key, [&](const v1::RecordedEvent& e, const v1::Context& c, Position p) {
    if (!at->holds(e.sequence(), c.now_ms(), p)) return false;
    folded = out.fold.apply(e);
    out.position = p;
    out.time_ms = c.now_ms();
    return folded.has_value();
  });
  if (!ok) return tl::unexpected(ok.error());
  if (!folded) return tl::unexpected(folded.error());
  if (out.fold.sequence().value == 0)
    return fail(Code::kNotFound, to_string(*key) + " did not exist at that time");
  return out;
}

Result<json::value> Folder::actor(const std::string& type, const std::string& id, const Query& q) {
  auto then = folded(value(q, "tenant"), type, id, value(q, "at"));
  if (!then) return tl::unexpected(then.error());
  return json::value(views::actor_state(then->key, then->fold.sequence(), then->position,
                                        then->time_ms, then->fold.state()));
}

Result<json::value> Folder::history(const std::string& type, const std::string& id,
                                    const Query& q) {
  if (!catalog_->find(type))
    return fail(Code::kNotFound, "no actor type `" + type + "` in this build");
  auto key = find(value(q, "tenant"), type, id);
  if (!key) return tl::unexpected(key.error());
  json::array items;
  const std::uint64_t after = std::strtoull(value(q, "cursor").c_str(), nullptr, 10);
  bool more = false;
  auto ok = each_event(*key, [&](const v1::RecordedEvent& e, const v1::Context& c, Position p) {
    if (e.sequence() <= after) return true;
    if ((more = items.size() == limit_of(q))) return false;
    items.push_back(views::event(*catalog_, {*key, e, c, p}));
    return true;
  });
  if (!ok) return tl::unexpected(ok.error());
  return json::value(listed(
      items,
      more ? json::value(std::to_string(items.back().at("sequence").to_number<std::int64_t>()))
           : json::value(nullptr)));
}

Result<json::value> Folder::session(const std::string& id, const Query& q) {
  auto then = folded({}, "session", id, value(q, "at"));
  if (!then) return tl::unexpected(then.error());
  return json::value(views::session(static_cast<const v1::SessionState&>(then->fold.state())));
}

Result<json::value> Folder::sessions(const Query& q) {
  std::map<ActorKey, views::Fold> folds;
  const auto* type = catalog_->find("session");
  auto ok = events::each_frame(*log_, [&](const events::ValidFrame& f) {
    for (const auto& e : f.frame->entries())
      if (e.actor().type() == "session" && e.events_size() > 0) {
        auto& fold = folds.try_emplace(actors::to_key(e.actor()), *type).first->second;
        for (const auto& event : e.events())
          if (!fold.apply(event)) break;
      }
    return true;
  });
  if (!ok) return tl::unexpected(ok.error());
  json::array all;
  for (const auto& [key, fold] : folds) {
    json::object item = views::session(static_cast<const v1::SessionState&>(fold.state()));
    const std::string wanted = value(q, "status");
    if (!wanted.empty() && item["status"].as_string() != wanted) continue;
    all.push_back({{"session_id", item["session_id"]},
                   {"tenant_id", item["tenant_id"]},
                   {"user", item["user"]},
                   {"status", item["status"]},
                   {"created_at", item["created_at"]},
                   {"updated_at", item["updated_at"]},
                   {"model", item["model"]},
                   {"turns", item["turns"].as_array().size()}});
  }
  std::sort(all.begin(), all.end(), [](const json::value& a, const json::value& b) {
    return a.at("created_at").as_string() > b.at("created_at").as_string();
  });
  return json::value(page(std::move(all), q));
}

Result<json::value> Folder::frames(const Query& q) {
  const auto everything = [](const events::ValidFrame&) { return true; };
  json::array items;
  if (value(q, "newest") == "true") {
    auto found = journal_->newest(limit_of(q), everything);
    if (!found) return tl::unexpected(found.error());
    for (const auto& f : *found) items.push_back(views::frame(*catalog_, f, nullptr));
    return json::value(listed(std::move(items)));
  }
  std::optional<Position> at = Position{};
  if (const std::string cursor = value(q, "cursor"); !cursor.empty()) at = parse_position(cursor);
  if (!at) return fail(Code::kInvalidArgument, "the cursor must be PARTITION/OFFSET", "--cursor");
  while (at->partition.value < log_->partition_count() && items.size() < limit_of(q)) {
    Offset next;
    auto found =
        journal_->page(at->partition, at->offset, limit_of(q) - items.size(), everything, next);
    if (!found) return tl::unexpected(found.error());
    for (const auto& f : *found) items.push_back(views::frame(*catalog_, f, nullptr));
    const bool at_end = next == at->offset || next >= log_->end(at->partition);
    at = at_end && items.size() < limit_of(q) ? Position{at->partition.next(), Offset{}}
                                              : Position{at->partition, next};
  }
  return json::value(listed(std::move(items), at->partition.value < log_->partition_count()
                                                  ? json::value(to_string(*at))
                                                  : json::value(nullptr)));
}

Result<json::value> Folder::snapshots(const Query& q) {
  if (!store_) return json::value(listed({}));
  json::array all;
  const std::string type = value(q, "type");
  for (std::uint32_t p = 0; p < log_->partition_count(); ++p) {
    auto read = store_->each_snapshot(
        PartitionId{p}, [&](const ActorKey& key, std::optional<runtime::StateStore::Snapshot> s) {
          if (type.empty() || key.type == type)
            all.push_back(runtime::api::snapshot_view(*catalog_, PartitionId{p}, key, s));
        });
    if (!read) return tl::unexpected(read.error());
  }
  return json::value(page(std::move(all), q));
}

}  // namespace soma::cli::offline
