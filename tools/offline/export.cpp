// Pages of routes into lines.
#include "tools/offline/export.h"

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <functional>
#include <iostream>

#include "runtime/api/session_transfer.h"
#include "runtime/audit/heads.h"
#include "schemas/base/ids.h"
#include "schemas/json/json_text.h"
#include "tools/cli/progress.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

// Whole or not at all: a new file appears under its name only when complete.
class Sink {
 public:
  explicit Sink(std::string path) : path_(std::move(path)) {
    if (!path_.empty()) file_.open(path_ + ".part", std::ios::trunc);
  }
  bool ok() const { return path_.empty() || file_.good(); }
  void line(const json::value& v) {
    (path_.empty() ? std::cout : file_) << json_text(v) << "\n";
    ++lines_;
  }
  void text(const std::string& lines) {
    (path_.empty() ? std::cout : file_) << lines;
    lines_ += static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
  }
  Status finish() {
    if (path_.empty()) {
      std::cout.flush();
      return std::cout.good() ? Status{} : soma::fail(Code::kIo, "stdout is closed");
    }
    file_.close();
    if (!file_ || std::rename((path_ + ".part").c_str(), path_.c_str()) != 0)
      return soma::fail(Code::kIo, "cannot write " + path_);
    return {};
  }
  std::uint64_t lines() const { return lines_; }

 private:
  std::string path_;
  std::ofstream file_;
  std::uint64_t lines_ = 0;
};

Status pages(const Context& c, const std::string& path, std::string cursor,
             const std::function<bool(const json::value&)>& visit) {
  for (;;) {
    std::string page = path + (path.find('?') == path.npos ? "?" : "&") + "limit=200";
    if (!cursor.empty()) page += "&cursor=" + url_encoded(cursor);
    auto r = c.read(page);
    if (!r) return tl::unexpected(r.error());
    for (const auto& item : r->at("items").as_array())
      if (!visit(item)) return {};
    cursor = text_of(*r, "next_cursor");
    if (cursor.empty()) return {};
  }
}

int finished(const Context& c, Sink& sink, const std::string& out) {
  if (auto ok = sink.finish(); !ok) return c.fail(ok.error());
  if (!out.empty()) c.note(std::to_string(sink.lines()) + " lines in " + out);
  return 0;
}

}  // namespace

int export_frames(const Context& c, const std::string& from, int partition,
                  const std::string& out) {
  std::string cursor = from;
  if (partition >= 0 && from.empty()) cursor = std::to_string(partition) + "/0";
  if (!cursor.empty() && !parse_position(cursor))
    return c.fail({Code::kInvalidArgument, "--from must be PARTITION/OFFSET, as 3/17", "--from"});
  Sink sink(out);
  if (!sink.ok()) return c.fail({Code::kIo, "cannot write " + out, {}}, "name another --out");
  Progress progress("frames", 0);
  auto ok = pages(c, "/v1/log/frames", cursor, [&](const json::value& frame) {
    const auto position = parse_position(text_of(frame, "position"));
    if (partition >= 0 && position && position->partition.value != static_cast<unsigned>(partition))
      return false;
    sink.line(frame);
    progress.at(sink.lines());
    return true;
  });
  progress.end();
  if (!ok) return c.fail(ok.error());
  return finished(c, sink, out);
}

// As GET /v1/sessions/{id}/export, from files; signed where the folder has a key.
Result<std::string> export_text(const Context& c, const std::string& id) {
  auto session = c.read("/v1/sessions/" + url_encoded(id));
  if (!session) return tl::unexpected(session.error());
  std::string out = json_text(json::object{{"session", *session}}) + "\n";
  std::uint64_t events = 0;
  auto ok = pages(c, "/v1/sessions/" + url_encoded(id) + "/events", {}, [&](const json::value& e) {
    out += json_text(json::object{{"event", e}}) + "\n";
    ++events;
    return true;
  });
  if (!ok) return tl::unexpected(ok.error());
  auto key = runtime::audit::folder_key(c.folder());
  if (!key) {
    c.note("not signed, so that no node will import it: " + key.error().message);
    return out;
  }
  auto last = runtime::api::export_signature(*key, text_of(*session, "tenant_id"), id, events, out);
  if (!last) return last;
  return out + *last;
}

int export_session(const Context& c, const std::string& id, const std::string& out) {
  const bool from_node = c.kafka.empty() && !c.offline && c.node_is_there();
  auto text = from_node ? c.fetch("GET", "/v1/sessions/" + url_encoded(id) + "/export")
                        : export_text(c, id);
  if (!text) return c.fail(text.error());
  Sink sink(out);
  if (!sink.ok()) return c.fail({Code::kIo, "cannot write " + out, {}}, "name another --out");
  sink.text(*text);
  return finished(c, sink, out);
}

int import_session(const Context& c, const std::string& path) {
  auto text = text_file(path);
  if (!text) return c.fail(text.error());
  auto taken = c.call("POST", "/v1/sessions/import", json::object{{"export", *text}});
  if (!taken && taken.error().message.find("does not verify") != std::string::npos)
    return c.fail({Code::kCorrupt, path + ": " + taken.error().message, {}},
                  "export it again, from a node or folder with the same keys");
  return c.show(taken);
}

}  // namespace soma::cli
