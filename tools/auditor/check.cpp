// Stage by stage.
#include "tools/auditor/check.h"

#include <openssl/evp.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <fstream>
#include <iterator>

#include "runtime/security/base64url.h"
#include "schemas/base/sha256.h"
#include "tools/auditor/entry.h"

namespace soma::auditor {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostLine = 8 << 20;  // bytes; a record is at most 900 KiB

std::optional<json::object> object(std::string_view text) {
  boost::system::error_code bad;
  json::value v = json::parse(text, bad);
  if (bad || !v.is_object()) return {};
  return std::move(v.get_object());
}

// Takes "N" and the text behind it off the front.
std::optional<std::uint64_t> take_number(std::string_view& text, char behind) {
  std::uint64_t n = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), n);
  const auto length = static_cast<std::size_t>(r.ptr - text.data());
  if (r.ec != std::errc{} || length == 0 || (length > 1 && text[0] == '0') ||
      length >= text.size() || text[length] != behind)
    return {};
  text.remove_prefix(length + 1);
  return n;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

struct At {
  std::uint64_t partition = 0, index = 0, offset = 0;
};
std::optional<At> read_at(std::string_view text) {
  std::uint64_t n[7];
  for (auto& each : n) {
    const auto taken = take_number(text, ' ');
    if (!taken) return {};
    each = *taken;
  }
  if (!unhex(text)) return {};
  return At{n[0], n[1], n[2]};
}

struct RecordLine {
  std::string_view at;
  std::string entry;
  std::vector<audit::Hash> spine;
};
std::optional<RecordLine> read_record(std::string_view text) {
  RecordLine out;
  if (!take(text, R"({"at":")")) return {};
  const auto at_end = text.find('"');
  if (at_end == text.npos) return {};
  out.at = text.substr(0, at_end);
  text.remove_prefix(at_end);
  if (!take(text, R"(","entry":")")) return {};
  const auto entry_end = text.find('"');
  if (entry_end == text.npos) return {};
  auto entry = runtime::security::base64url_decode(text.substr(0, entry_end));
  if (!entry) return {};
  out.entry = std::move(*entry);
  text.remove_prefix(entry_end);
  if (!take(text, R"(","spine":[)")) return {};
  while (text.size() >= 66 && text[0] == '"' && text[65] == '"') {
    auto hash = unhex(text.substr(1, 64));
    if (!hash) return {};
    out.spine.push_back(std::move(*hash));
    text.remove_prefix(66);
    if (!text.starts_with(",\"")) break;
    text.remove_prefix(1);
  }
  if (text != "]}") return {};
  return out;
}

audit::Hash hash_of(std::string_view at, std::string_view entry) {
  return audit::leaf_hash("soma-audit-1 " + std::string(at) + "\n" + std::string(entry));
}

}  // namespace

json::object to_json(const Report& r) {
  json::object out{{"ok", r.ok()},
                   {"kind", r.kind},
                   {"tenant", r.tenant},
                   {"key", r.key_id},
                   {"records", r.records},
                   {"partitions", r.partitions},
                   {"older_heads", r.older_heads},
                   {"head_time_ms", r.head_time_ms},
                   {"bad", nullptr}};
  if (r.kind == "proof") out["event_id"] = r.event_id;
  if (!r.bad) return out;
  const auto maybe = [](const auto& v) { return v ? json::value(*v) : json::value(nullptr); };
  out["bad"] = json::object{{"line", r.bad->line},
                            {"partition", maybe(r.bad->partition)},
                            {"index", maybe(r.bad->index)},
                            {"reason", r.bad->reason},
                            {"detail", r.bad->detail}};
  return out;
}

std::optional<SignedHead> read_head(std::string_view jws, const PublicKey& key) {
  const auto payload = open_document(jws, "soma-audit-head", key);
  if (!payload) return {};
  SignedHead out;
  out.tenant = text(*payload, "tenant");
  const auto time = number(*payload, "time_ms");
  const auto* parts = payload->if_contains("partitions");
  if (!time || !parts || !parts->is_array()) return {};
  out.time_ms = *time;
  for (const auto& part : parts->get_array()) {
    const auto* o = part.if_object();
    const auto n = o ? number(*o, "partition") : std::nullopt;
    const auto records = o ? number(*o, "records") : std::nullopt;
    const auto root = o ? unhex(text(*o, "root")) : std::nullopt;
    if (!n || !records || !root || (!out.parts.empty() && *n <= out.parts.back().partition))
      return {};
    out.parts.push_back({*n, *records, *root});
  }
  return out;
}

bool BundleCheck::fail(std::string reason, std::string detail, bool with_record) {
  Bad bad{line_, {}, {}, std::move(reason), std::move(detail)};
  if (with_record && waiting()) {
    bad.partition = head_.parts[part_].partition;
    bad.index = reader_->index();
  }
  report.bad = std::move(bad);
  return false;
}

bool BundleCheck::line(std::string_view text_line) {
  ++line_;
  if (stage_ == Stage::kRecords) {
    if (text_line.starts_with(R"({"end":)")) return end_line(text_line);
    if (!record_line(text_line)) return false;
  } else if (stage_ == Stage::kEnded) {
    return fail("trailing", "there is more after the end");
  } else {
    const auto o = object(text_line);
    if (!o) return fail("malformed", "the line is not a JSON object");
    if (!heads_line(*o)) return false;
  }
  if (!digest_) {
    digest_ = {EVP_MD_CTX_new(), EVP_MD_CTX_free};
    EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr);
  }
  EVP_DigestUpdate(digest_.get(), text_line.data(), text_line.size());
  EVP_DigestUpdate(digest_.get(), "\n", 1);
  return true;
}

bool BundleCheck::key_line(const json::object& o) {
  const auto* jwk = o.if_contains("key");
  const auto key = jwk ? key_of(*jwk) : std::nullopt;
  if (!key) return fail("key", "the line holds no Ed25519 key with its own thumbprint");
  key_ = *key;
  report.key_id = key_.id;
  if (std::find(trusted_.begin(), trusted_.end(), key_.id) == trusted_.end())
    return fail("key", "the bundle is signed by " + key_.id + ", which is not a key you named");
  return true;
}

bool BundleCheck::heads_line(const json::object& o) {
  switch (stage_) {
    case Stage::kFirst:
      report.tenant = text(o, "tenant");
      if (number(o, "soma_audit_bundle") != 1u || report.tenant.empty())
        return fail("malformed", "this is no audit bundle of format 1");
      report.kind = "bundle";
      stage_ = Stage::kKey;
      return true;
    case Stage::kKey:
      stage_ = Stage::kSchemas;
      return key_line(o);
    case Stage::kSchemas:
      if (text(o, "schemas").empty()) return fail("malformed", "the schemas are missing");
      stage_ = Stage::kHeads;
      return true;
    default:
      break;
  }
  const bool older = o.contains("older_head");
  auto head = read_head(text(o, older ? "older_head" : "head"), key_);
  if (!head || head->tenant != report.tenant)
    return fail(older ? "older_head" : "head", "the head's form, tenant or signature is not right");
  if (older) {
    older_heads_.emplace_back(line_, std::move(*head));
    return true;
  }
  head_ = std::move(*head);
  report.head_time_ms = head_.time_ms;
  report.partitions = head_.parts.size();
  report.older_heads = older_heads_.size();
  for (const auto& jws : kept_) {
    auto kept = read_head(jws, key_);
    ++report.older_heads;
    if (!kept || kept->tenant != report.tenant) {
      line_ = 0;
      return fail("older_head", "a head that you kept is of another tenant or another key");
    }
    older_heads_.emplace_back(0, std::move(*kept));
  }
  if (!index_older()) return false;
  stage_ = Stage::kRecords;
  part_ = 0;
  return begin_part();
}

bool BundleCheck::index_older() {
  for (const auto& [line, each] : older_heads_)
    for (const auto& part : each.parts) {
      const auto now = std::find_if(head_.parts.begin(), head_.parts.end(),
                                    [&](const auto& p) { return p.partition == part.partition; });
      if (now == head_.parts.end() || part.records > now->records) {
        line_ = line;
        return fail("older_head", "an older head knew of more records than this one");
      }
      older_[{part.partition, part.records}].push_back({line, part.root});
    }
  return true;
}

bool BundleCheck::begin_part() {
  for (; waiting(); ++part_) {
    frontier_ = {};
    if (!check_older()) return false;
    const auto& part = head_.parts[part_];
    reader_ = std::make_unique<audit::SpineReader>(part.root, part.records);
    if (part.records > 0) return true;
    if (part.root != frontier_.root()) {
      return fail("head", "the root of a partition without records is not that of nothing");
    }
  }
  return true;
}

bool BundleCheck::check_older() {
  const auto found = older_.find({head_.parts[part_].partition, frontier_.size()});
  if (found == older_.end()) return true;
  for (const auto& older : found->second)
    if (older.root != frontier_.root()) {
      line_ = older.line;
      return fail("older_head", "an older head is not the root of the records before it");
    }
  return true;
}

bool BundleCheck::record_line(std::string_view text_line) {
  if (!waiting()) return fail("record_unexpected", "the head does not know of this record");
  const auto record = read_record(text_line);
  const auto at = record ? read_at(record->at) : std::nullopt;
  if (!at) return fail("malformed", "the line is not a record", true);
  if (at->partition != head_.parts[part_].partition || at->index != reader_->index())
    return fail("record_missing", "another record stands in its place", true);
  const auto leaf = hash_of(record->at, record->entry);
  if (!reader_->next(leaf, record->spine))
    return fail("record_changed", "the record or its spine is not what the head was signed over",
                true);
  ++report.records;
  frontier_.add(leaf);
  if (!check_older()) return false;
  if (!reader_->done()) return true;
  ++part_;
  return begin_part();
}

bool BundleCheck::end_line(std::string_view text_line) {
  if (waiting()) return fail("record_missing", "the bundle ends before this record", true);
  const auto o = object(text_line);
  const auto end = o ? open_document(text(*o, "end"), "soma-audit-end", key_) : std::nullopt;
  unsigned char bytes[32];
  EVP_DigestFinal_ex(digest_.get(), bytes, nullptr);
  if (!end || number(*end, "lines") != line_ - 1 ||
      text(*end, "sha256") != hex({reinterpret_cast<const char*>(bytes), sizeof bytes}))
    return fail("end", "the bytes before the end are not those it was signed over");
  stage_ = Stage::kEnded;
  return true;
}

void BundleCheck::finish(bool whole_last_line) {
  if (report.bad) return;
  if (stage_ == Stage::kEnded && whole_last_line) return;
  ++line_;
  if (stage_ == Stage::kEnded)
    fail("end", "the last line has no end");
  else if (stage_ == Stage::kRecords && waiting())
    fail("record_missing", "the bundle ends before this record", true);
  else
    fail("truncated", "the bundle has no end");
}

namespace {

Report check_proof(const json::object& o, const std::vector<std::string>& trusted) {
  Report r;
  r.kind = "proof";
  r.tenant = text(o, "tenant");
  r.event_id = text(o, "event_id");
  const auto fail = [&](std::string reason, std::string detail) {
    r.bad = Bad{0, {}, {}, std::move(reason), std::move(detail)};
    return r;
  };
  const auto* jwk = o.if_contains("key");
  const auto key = jwk ? key_of(*jwk) : std::nullopt;
  if (!key) return fail("key", "the proof holds no Ed25519 key with its own thumbprint");
  r.key_id = key->id;
  if (std::find(trusted.begin(), trusted.end(), key->id) == trusted.end())
    return fail("key", "the proof is signed by " + key->id + ", which is not a key you named");
  const auto head = read_head(text(o, "head"), *key);
  if (!head || head->tenant != r.tenant)
    return fail("head", "the head's form, tenant or signature is not right");
  r.head_time_ms = head->time_ms;
  r.partitions = head->parts.size();
  const std::string where = text(o, "at");
  const auto at = read_at(where);
  const auto entry = runtime::security::base64url_decode(text(o, "entry"));
  const auto* given = o.if_contains("path");
  if (!at || !entry || !given || !given->is_array())
    return fail("malformed", "the record's place, bytes or path is not in its form");
  if (text(o, "position") != std::to_string(at->partition) + "/" + std::to_string(at->offset))
    return fail("malformed", "the position is not that of the record");
  std::vector<audit::Hash> path;
  for (const auto& h : given->get_array()) {
    const auto hash = h.is_string() ? unhex(h.get_string()) : std::nullopt;
    if (!hash) return fail("malformed", "the path holds something that is no hash");
    path.push_back(*hash);
  }
  const auto part = std::find_if(head->parts.begin(), head->parts.end(),
                                 [&](const auto& p) { return p.partition == at->partition; });
  if (part == head->parts.end() || at->index >= part->records ||
      audit::root_of_path(hash_of(where, *entry), at->index, part->records, path) != part->root)
    return fail("record_changed", "the record is not what the head was signed over");
  if (!holds_event(*entry, r.event_id)) return fail("event", "the record holds no such event");
  r.records = 1;
  return r;
}

}  // namespace

std::string kept_head(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string all((std::istreambuf_iterator<char>(in)), {});
  if (const auto o = object(all)) return text(*o, "head");
  while (!all.empty() && (all.back() == '\n' || all.back() == '\r')) all.pop_back();
  return all;
}

Report check_stream(std::istream& in, const std::vector<std::string>& trusted,
                    const std::vector<std::string>& kept) {
  BundleCheck check(trusted, kept);
  std::string first, line;
  bool whole = false;
  for (bool bundle = false; std::getline(in, line);) {
    whole = !in.eof();
    if (!bundle) {
      // A proof may be printed over several lines; a bundle says what it is in its first.
      const auto o = object(line);
      bundle = o && o->contains("soma_audit_bundle");
      if (!bundle) {
        const std::string rest((std::istreambuf_iterator<char>(in)), {});
        const auto proof = object(line + "\n" + rest);
        if (proof && number(*proof, "soma_audit_proof") == 1u) return check_proof(*proof, trusted);
      }
      bundle = true;
    }
    if (line.size() > kMostLine) line = "\x01";  // no line of ours is so long
    if (!check.line(line)) return check.report;
  }
  check.finish(whole);
  return check.report;
}

}  // namespace soma::auditor
