// From recorded events to rows.
#include "projections/views/rows.h"

#include <charconv>
#include <cstring>

#include "projections/views/json.h"
#include "schemas/base/sha256.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::projections {

namespace {

// Gathers one row's fields as text; reused from row to row.
class Fields {
 public:
  void clear() {
    used_ = 0;
    views_.clear();
  }
  void text(std::string_view v) { views_.push_back(storable(v, slot())); }
  void number(std::int64_t n) { views_.push_back(format(n)); }
  void real(double x) { views_.push_back(format(x)); }
  void boolean(bool b) { views_.push_back(b ? "t" : "f"); }
  std::string& owned() {  // to be filled, then taken by take()
    std::string& s = slot();
    s.clear();
    return s;
  }
  void take(const std::string& s) { views_.push_back(s); }
  const std::vector<std::string_view>& views() const { return views_; }

 private:
  // A list would move nothing either, but a row has few owned fields.
  std::string& slot() {
    if (used_ == kSlots) used_ = 0;
    return slots_[used_++];
  }
  template <typename N>
  std::string_view format(N n) {
    std::string& s = slot();
    char text[40];
    s.assign(text, std::to_chars(text, text + sizeof text, n).ptr);
    return s;
  }
  static constexpr std::size_t kSlots = 16;  // more than any table has columns
  std::string slots_[kSlots];
  std::size_t used_ = 0;
  std::vector<std::string_view> views_;
};

class Reader {
 public:
  Reader(const events::ValidFrame& valid, RowSink& sink)
      : valid_(valid), sink_(sink), position_(to_string(valid.position)) {}

  void entry(const v1::Entry& entry) {
    const std::string& type = entry.actor().type();
    const bool session = type == "session";
    if (!session && type != "inference") return;
    entry_ = &entry;
    std::string a, b;
    actor_.tenant = storable(entry.actor().tenant(), a);
    actor_.type = type;
    actor_.id = storable(entry.actor().id(), b);
    for (const auto& event : entry.events()) {
      event_ = &event;
      session ? session_event() : inference_event();
    }
  }

 private:
  void begin() {
    fields_.clear();
    fields_.text(actor_.tenant);
    fields_.text(actor_.type);
    fields_.text(actor_.id);
    fields_.number(static_cast<std::int64_t>(event_->sequence()));
  }
  void end(TableId table) {
    sink_.row(
        {table, actor_, event_->sequence(), valid_.position, event_->event_id(), fields_.views()});
  }

  void rejected(std::string_view reason) {
    begin();
    fields_.text(event_->event_id());
    fields_.text(event_->type());
    fields_.text(position_);
    fields_.text(reason);
    end(TableId::kRejected);
  }

  void decision(const v1::PolicyDecision& d) {
    begin();
    fields_.text(d.decision_id());
    fields_.text(d.input().action_id());
    fields_.boolean(d.allow());
    fields_.real(d.score());
    fields_.real(d.threshold());
    std::string& reasons = fields_.owned();
    reasons.push_back('[');
    for (const auto& reason : d.reasons()) {
      if (reasons.size() > 1) reasons.push_back(',');
      append_json_string(reasons, reason);
    }
    reasons.push_back(']');
    fields_.take(reasons);
    fields_.number(entry_->context().now_ms());
    end(TableId::kDecisions);
  }

  void usage(const v1::ModelAnswer& a) {
    begin();
    fields_.text(a.call_id());
    fields_.text(a.model());
    fields_.number(static_cast<std::int64_t>(a.usage().prompt_tokens()));
    fields_.number(static_cast<std::int64_t>(a.usage().completion_tokens()));
    fields_.number(entry_->context().now_ms());
    end(TableId::kUsage);
  }

  void session_event() {
    session_.Clear();
    if (!session_.ParseFromString(event_->payload())) return rejected("the event does not parse");
    begin();
    fields_.text(event_->event_id());
    fields_.text(event_->type());
    fields_.number(entry_->context().now_ms());
    fields_.text(position_);
    fields_.text(entry_->context().principal().subject());
    fields_.text(entry_->context().correlation_id());
    std::string& data = fields_.owned();
    append_json(data, session_);
    fields_.take(data);
    end(TableId::kSessionEvents);
    if (session_.has_policy_decided()) decision(session_.policy_decided().decision());
    if (session_.has_model_answered()) usage(session_.model_answered().answer());
    sink_.session(actor_, change());
  }

  SessionChange change() const {
    const auto& e = session_;
    SessionChange c;
    c.updated_ms = entry_->context().now_ms();
    if (e.has_session_started()) {
      c.user = clean(e.session_started().user());
      c.model = clean(e.session_started().model());
      c.created_ms = e.session_started().at_ms();
      c.status = "accepted";
    } else if (e.has_turn_started()) {
      c.turns = e.turn_started().turn();
      c.status = "running";
      if (!e.turn_started().models().primary().empty())
        c.model = clean(e.turn_started().models().primary());
    } else if (e.has_approval_requested() || e.has_turn_reopened()) {
      c.status = "waiting_approval";
    } else if (e.has_approval_granted()) {
      c.status = "running";
    } else if (e.has_model_answered()) {
      if (!e.model_answered().answer().model().empty())
        c.model = clean(e.model_answered().answer().model());
      c.prompt_tokens =
          static_cast<std::int64_t>(e.model_answered().answer().usage().prompt_tokens());
      c.completion_tokens =
          static_cast<std::int64_t>(e.model_answered().answer().usage().completion_tokens());
    } else if (e.has_tools_awaited()) {
      c.status =
          e.tools_awaited().status() == v1::WAITING_TOOLS ? "waiting_tools" : "waiting_approval";
    } else if (e.has_tools_settled()) {
      c.status = "running";
    } else if (e.has_session_completed()) {
      c.status = "completed";
      c.error_code = c.error_message = "";
    } else if (e.has_session_failed()) {
      c.status = "failed";
      c.error_code = clean(e.session_failed().failure().code());
      c.error_message = clean(e.session_failed().failure().message());
    } else if (e.has_session_cancelled()) {
      c.status = "cancelled";
    }
    return c;
  }

  static std::string clean(const std::string& text) {
    std::string scratch;
    return std::string(storable(text, scratch));
  }

  void inference_event() {
    inference_.Clear();
    if (!inference_.ParseFromString(event_->payload())) return rejected("the event does not parse");
    if (inference_.has_inference_started()) decision(inference_.inference_started().decision());
    if (inference_.has_inference_answered()) usage(inference_.inference_answered().answer());
    if (inference_.has_inference_failed() && inference_.inference_failed().has_decision())
      decision(inference_.inference_failed().decision());
  }

  const events::ValidFrame& valid_;
  RowSink& sink_;
  const std::string position_;
  const v1::Entry* entry_ = nullptr;
  const v1::RecordedEvent* event_ = nullptr;
  ActorName actor_;
  Fields fields_;
  v1::SessionEvent session_;
  v1::InferenceEvent inference_;
};

Digest first_bytes(const std::string& hash) {
  Digest d;
  std::memcpy(&d.high, hash.data(), 8);
  std::memcpy(&d.low, hash.data() + 8, 8);
  return d;
}

template <typename T>
void take(std::optional<T>& value, const std::optional<T>& later) {
  if (later) value = later;
}

}  // namespace

void SessionChange::then(const SessionChange& later) {
  take(user, later.user);
  take(status, later.status);
  take(model, later.model);
  take(error_code, later.error_code);
  take(error_message, later.error_message);
  take(created_ms, later.created_ms);
  take(turns, later.turns);
  updated_ms = later.updated_ms;
  prompt_tokens += later.prompt_tokens;
  completion_tokens += later.completion_tokens;
}

std::vector<std::string> session_fields(const SessionChange& c) {
  return {c.user.value_or(""),
          c.status.value_or("accepted"),
          c.model.value_or(""),
          std::to_string(c.created_ms.value_or(0)),
          std::to_string(c.updated_ms),
          std::to_string(c.turns.value_or(0)),
          c.error_code.value_or(""),
          c.error_message.value_or(""),
          std::to_string(c.prompt_tokens),
          std::to_string(c.completion_tokens)};
}

void rows_of(const events::ValidFrame& valid, RowSink& sink) {
  Reader reader(valid, sink);
  for (const auto& entry : valid.frame->entries()) reader.entry(entry);
}

std::uint64_t events_in(const v1::Frame& frame) {
  std::uint64_t n = 0;
  for (const auto& entry : frame.entries()) n += static_cast<std::uint64_t>(entry.events_size());
  return n;
}

std::string to_hex(const Digest& digest) {
  char bytes[16];
  std::memcpy(bytes, &digest.high, 8);
  std::memcpy(bytes + 8, &digest.low, 8);
  return hex({bytes, sizeof bytes});
}

Digest digest_of(TableId table, const std::vector<std::string_view>& fields) {
  thread_local std::string bytes;
  bytes.assign(1, static_cast<char>(table));
  for (std::size_t i = 0; i < fields.size(); ++i) {
    std::string_view field = fields[i];
    char real[sizeof(double)];
    if (table_of(table).real_columns >> i & 1) {
      double x = 0;
      std::from_chars(field.data(), field.data() + field.size(), x);
      std::memcpy(real, &x, sizeof x);
      field = {real, sizeof real};
    }
    const auto size = static_cast<std::uint32_t>(field.size());
    bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
    bytes.append(field);
  }
  return first_bytes(sha256(bytes));
}

Digest digest_of_session(const std::vector<std::string>& fields) {
  std::string bytes = "session";
  for (const auto& f : fields) bytes += "\n" + std::to_string(f.size()) + ":" + f;
  return first_bytes(sha256(bytes));
}

}  // namespace soma::projections
