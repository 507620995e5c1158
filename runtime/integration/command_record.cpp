// Headers in, headers out.
#include "runtime/integration/command_record.h"

#include <algorithm>

#include "runtime/http/text.h"
#include "runtime/integration/command_body.h"
#include "schemas/base/times.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::integration {

namespace {

constexpr char kSource[] = "/soma/";
constexpr std::size_t kMaxId = 255;  // as of an Idempotency-Key
constexpr std::size_t kMaxHeader = 16 * 1024;

// Nothing: absent. Two of one name are refused: readers would differ about which counts.
Result<std::optional<std::string>> header(const events::TopicRecord& record, const char* name) {
  std::optional<std::string> found;
  for (const auto& [key, value] : record.headers) {
    if (key != name) continue;
    if (found) return fail(Code::kMalformed, std::string(name) + " stands more than once", name);
    if (value.size() > kMaxHeader)
      return fail(Code::kInvalidArgument, std::string(name) + " is longer than 16 KiB", name);
    found = value;
  }
  return found;
}

Status check_version(const std::optional<std::string>& version) {
  if (!version || *version == "1.0") return {};
  return fail(Code::kInvalidArgument, "ce_specversion must be 1.0", "ce_specversion");
}

bool visible(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c >= 0x20 && c < 0x7F; });
}

// What a CloudEvent says of itself, in whichever mode it came.
struct Attributes {
  std::optional<std::string> id, type, token, tenant, trace, content, version;
  std::string data;
};

Result<Attributes> read_attributes(const events::TopicRecord& record) {
  Attributes a;
  a.data = record.value;
  for (const auto& [name, field] : {std::pair{"ce_id", &a.id},
                                    {"ce_type", &a.type},
                                    {"ce_somatoken", &a.token},
                                    {"ce_somatenant", &a.tenant},
                                    {"traceparent", &a.trace},
                                    {"content-type", &a.content},
                                    {"ce_specversion", &a.version}}) {
    auto value = header(record, name);
    if (!value) return tl::unexpected(value.error());
    *field = std::move(*value);
  }
  if (!a.content || !a.content->starts_with(kStructuredType)) return a;
  auto event = parse_structured(record.value);
  if (!event) return tl::unexpected(event.error());
  a.id = std::move(event->id);
  a.type = std::move(event->type);
  a.tenant = std::move(event->somatenant);
  if (event->traceparent) a.trace = std::move(event->traceparent);
  a.content = std::move(event->content_type);
  a.version = std::move(event->specversion);
  a.data = std::move(event->data);
  return a;
}

}  // namespace

bool is_ours(const events::TopicRecord& record) {
  std::string_view type, source;
  for (const auto& [name, value] : record.headers) {
    if (name == "soma_send") return true;
    if (name == "ce_type") type = value;
    if (name == "ce_source") source = value;
  }
  if (!source.starts_with(kSource) || command_row(type)) return false;
  return public_row(source.substr(sizeof kSource - 1), type) != nullptr;
}

Result<Command> decode_command(const events::TopicRecord& record) {
  if (record.value.empty()) return fail(Code::kMalformed, "the record has no value", "value");
  auto a = read_attributes(record);
  if (!a) return tl::unexpected(a.error());
  if (auto ok = check_version(a->version); !ok) return tl::unexpected(ok.error());
  if (!a->id || a->id->empty() || a->id->size() > kMaxId || !visible(*a->id))
    return fail(Code::kInvalidArgument,
                "ce_id must be one text of 1 to 255 visible ASCII characters", "ce_id");
  if (!a->type || a->type->empty())
    return fail(Code::kInvalidArgument, "ce_type is missing: it names the command", "ce_type");
  const auto* row = command_row(*a->type);
  if (!row) {
    std::string known;
    for (const auto& r : command_table()) (known += known.empty() ? "" : ", ") += r.type;
    return fail(Code::kInvalidArgument, "ce_type must be one of " + known, "ce_type");
  }
  auto body = json_body(*row, a->content, std::move(a->data));
  if (!body) return tl::unexpected(body.error());
  return Command{row,
                 std::move(*a->id),
                 std::move(a->token),
                 std::move(a->tenant).value_or(""),
                 std::move(a->trace).value_or(""),
                 std::move(*body)};
}

http::Head request_head(const Command& command) {
  http::Head head;
  head.method = command.row->method;
  head.target = command.row->path;
  head.remote = "kafka";
  auto& h = head.headers;
  h.add("Host", "kafka");
  h.add("Content-Type", "application/json");
  h.add("Content-Length", std::to_string(command.body.size()));
  h.add("Idempotency-Key", command.id);
  h.add("X-Request-ID", command.id);
  h.add("X-Client-Type", "bot");
  if (command.token) h.add("Authorization", "Bearer " + *command.token);
  if (!command.tenant.empty()) h.add("X-Tenant-ID", command.tenant);
  if (!command.traceparent.empty()) h.add("traceparent", command.traceparent);
  return head;
}

events::TopicRecord event_record(const actors::Catalog& catalog, const PublicEvent& e,
                                 const std::string& topic_prefix) {
  const auto& context = e.entry->context();
  events::TopicRecord out;
  out.topic = topic_prefix + std::string(e.row->topic);
  out.key = to_string(actors::to_key(e.entry->actor()));
  out.value = json_text(public_data(catalog, e));
  out.headers.reserve(11);
  const auto add = [&](const char* name, std::string value) {
    out.headers.emplace_back(name, std::move(value));
  };
  add("ce_specversion", "1.0");
  add("ce_id", e.event->event_id());
  add("ce_type", e.event->type());
  add("ce_source", kSource + e.entry->actor().type());
  add("ce_time", iso_time(context.now_ms()));
  add("ce_subject", out.key);
  add("ce_somatenant", std::string(e.tenant));
  add("ce_somaposition", to_string(e.position));
  add("content-type", "application/json");
  if (!context.correlation_id().empty()) add("ce_correlationid", context.correlation_id());
  if (!context.traceparent().empty()) add("traceparent", context.traceparent());
  return out;
}

}  // namespace soma::runtime::integration
