// Segments, journal, snapshots.
#include "tools/offline/verify_folder.h"

#include <poll.h>

#include <boost/json.hpp>
#include <filesystem>

#include "events/embedded/embedded_log.h"
#include "events/embedded/segment.h"
#include "events/frames.h"
#include "runtime/api/views.h"
#include "runtime/snapshots/rocks_store.h"
#include "runtime/verify/report.h"
#include "schemas/json/json_text.h"
#include "tools/cli/progress.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr int kLooks = 5;
constexpr int kBetweenLooksMs = 100;

struct Scanned {
  events::ScanResult scan;
  std::uint64_t records = 0;
  PartitionId last;  // partition of the last whole record
};

// Damage that is gone at another look was a node at work.
Result<Scanned> scan(const std::string& log) {
  for (int look = 1;; ++look) {
    Scanned out;
    const bool live = events::lock_holder(log).has_value();
    auto result = events::scan_segments(log, live, [&](const events::ScannedRecord& r) {
      ++out.records;
      out.last = r.partition;
    });
    if (!result && result.error().code == Code::kCorrupt) {
      out.scan.damage = events::Damage{log, 0, result.error().message};
      return out;
    }
    if (!result) return tl::unexpected(result.error());
    out.scan = std::move(*result);
    if (!out.scan.damage || look == kLooks) return out;
    if (!live && !events::lock_holder(log)) return out;
    ::poll(nullptr, 0, kBetweenLooksMs);
  }
}

json::object damaged(const Scanned& s) {
  const auto& d = *s.scan.damage;
  return {{"ok", false},
          {"frames", s.records},
          {"events", 0},
          {"partitions", s.scan.partition_count},
          {"actors", 0},
          {"first_bad",
           {{"file", d.file},
            {"offset", d.byte},
            {"partition", nullptr},
            {"frame", nullptr},
            {"reason", d.reason},
            {"invariant", "I13"}}}};
}

}  // namespace

Result<json::object> verify_folder(const std::string& folder, runtime::VerifyOptions options) {
  const std::string path = folder + "/log";
  if (!fs::is_directory(path)) return tl::unexpected(offline::no_journal(folder));
  auto scanned = scan(path);
  if (!scanned) return tl::unexpected(scanned.error());
  if (scanned->scan.damage) return damaged(*scanned);
  // Before the journal, so that no snapshot is ahead of it.
  std::unique_ptr<runtime::StateStore> store;
  std::string store_problem;
  if (auto opened = runtime::open_rocks_store_readonly(folder + "/snapshots"))
    store = std::move(*opened);
  else if (opened.error().code != Code::kNotFound)
    store_problem = opened.error().message;
  auto log = offline::open_log(folder);
  if (!log) return tl::unexpected(log.error());
  options.snapshots = store.get();
  json::object out = verify_log(**log, options);
  auto* findings = out.if_contains("findings");
  for (auto& one : findings->get_array()) {
    const Position at{PartitionId{one.at("partition").to_number<std::uint32_t>()},
                      Offset{one.at("frame").to_number<std::uint64_t>()}};
    if (const auto place = offline::locate(folder, at)) {
      one.get_object()["file"] = place->file;
      one.get_object()["offset"] = place->byte;
    }
  }
  if (!findings->get_array().empty()) out["first_bad"] = findings->get_array().front();
  if (!store_problem.empty() && findings->get_array().empty()) {
    out["ok"] = false;
    out["first_bad"] = json::object{{"file", folder + "/snapshots"}, {"offset", nullptr},
                                    {"partition", nullptr},          {"frame", nullptr},
                                    {"reason", store_problem},       {"invariant", "I9"}};
  }
  out["snapshot_store"] = store ? "compared" : store_problem.empty() ? "absent" : "unreadable";
  return out;
}

json::object verify_log(const events::Log& log, runtime::VerifyOptions options) {
  auto catalog = actors::standard_catalog();
  Progress progress(options.decide_again ? "replay" : "verify", 0);
  options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    progress.at(done, total);
    return true;
  };
  const auto report = runtime::verify_journal(log, *catalog, options);
  progress.end();
  json::object out = runtime::to_json(report);
  json::array findings;
  for (const auto& f : report.findings) {
    json::object one = runtime::to_json(f);
    if (const auto frame = events::read_frame_at(log, f.at))
      one["time"] = runtime::views::iso_time(frame->frame->time_ms());
    findings.push_back(std::move(one));
  }
  out["findings"] = std::move(findings);
  return out;
}

std::string verified_summary(const json::object& r) {
  const auto number = [&](const char* name) {
    const auto* v = r.if_contains(name);
    return v ? json_text(*v) : std::string("0");
  };
  std::string out = r.at("ok").as_bool() ? "verified" : "NOT VERIFIED";
  out += "   " + number("frames") + " frames, " + number("events") + " events, " +
         number("actors") + " actors, " + number("partitions") + " partitions\n";
  const bool again = r.contains("decided_again") && r.at("decided_again").is_bool() &&
                     r.at("decided_again").as_bool();
  out += "chain      every record holds the hash of the one before\n";
  if (!r.at("ok").as_bool()) out.erase(out.find('\n') + 1);
  if (r.at("ok").as_bool() && again)
    out += "decisions  " + number(r.contains("decided") ? "decided" : "commands") +
           " decided again with the same result\n";
  if (r.at("ok").as_bool() && number("erased") != "0")
    out += "erased     " + number("erased") + " commands without their personal data" +
           (again ? ": not decided again\n" : "\n");
  if (r.at("ok").as_bool() && number("parked") != "0")
    out += "parked     " + number("parked") + " commands: not decided again\n";
  if (r.at("ok").as_bool() && number("snapshots") != "0")
    out += "snapshots  " + number("snapshots") + " equal what the events make\n";
  if (const auto* views = r.if_contains("projections"); views && r.at("ok").as_bool())
    out += "views      " +
           (views->is_object() && views->get_object().contains("rows")
                ? json_text(views->at("rows")) + " rows equal what the events make"
                : cell(views)) +
           "\n";
  if (const auto& bad = r.at("first_bad"); bad.is_object()) {
    const auto text = [&](const char* name) {
      const auto* v = bad.get_object().if_contains(name);
      return !v || v->is_null() ? std::string("-")
             : v->is_string()   ? std::string(v->get_string())
                                : json_text(*v);
    };
    out += "first bad  " + text("reason") + " [" + text("invariant") + "]\n           file " +
           text("file") + ", byte " + text("offset") + ", partition " + text("partition") +
           ", frame " + text("frame") + "\n";
  }
  return out;
}

}  // namespace soma::cli
