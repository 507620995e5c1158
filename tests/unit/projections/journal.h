// A real log in a temporary folder, and session histories written to it as a host would.
#pragma once

#include <poll.h>

#include <chrono>
#include <future>
#include <map>

#include "events/embedded/embedded_log.h"
#include "events/frames.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"
#include "tests/unit/events/log_fixture.h"

namespace soma::projections::test {

using events::test::TempFolder;

// Until the state is there; false once the time is over.
template <typename Predicate>
bool eventually(Predicate there, int seconds = 30) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!there()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

class Journal {
 public:
  explicit Journal(const std::string& folder, std::uint32_t partitions = 2,
                   std::uint64_t segment_bytes = 16 << 20) {
    events::EmbeddedOptions o;
    o.folder = folder;
    o.partition_count = partitions;
    o.segment_bytes = segment_bytes;
    auto log = events::open_embedded_log(std::move(o));
    EXPECT_TRUE(log) << (log ? "" : log.error().message);
    log_ = std::move(*log);
    for (std::uint32_t p = 0; p < log_->partition_count(); ++p) claim(p);
  }

  // A new owner: frames of the one before are void from here on.
  void claim(std::uint32_t partition) {
    events::FrameReader reader(*log_, PartitionId{partition});
    for (;;) {
      auto frames = reader.next();
      ASSERT_TRUE(frames) << frames.error().message;
      if (frames->empty()) break;
    }
    auto writer = events::FrameWriter::claim(*log_, reader, {}, 1, [](const auto&) {});
    ASSERT_TRUE(writer) << writer.error().message;
    writers_[partition] = std::move(*writer);
  }

  events::Log& log() { return *log_; }

  // One event of an actor, into the frame that is being made.
  void event(v1::Frame& frame, const std::string& tenant, const std::string& type,
             const std::string& id, const std::string& event_type, const std::string& payload) {
    auto* entry = frame.add_entries();
    entry->mutable_actor()->set_tenant(tenant);
    entry->mutable_actor()->set_type(type);
    entry->mutable_actor()->set_id(id);
    entry->mutable_context()->set_now_ms(1'700'000'000'000 + ++clock_);
    entry->mutable_context()->mutable_principal()->set_subject("alice");
    entry->mutable_context()->set_correlation_id("req-1");
    auto* e = entry->add_events();
    const auto sequence = ++sequences_[tenant + "/" + type + "/" + id];
    e->set_sequence(sequence);
    e->set_event_id("evt_" + id + "_" + std::to_string(sequence));
    e->set_type(event_type);
    e->set_payload(payload);
  }
  void session_event(v1::Frame& frame, const std::string& tenant, const std::string& id,
                     const v1::SessionEvent& e) {
    event(frame, tenant, "session", id, "session.fact", e.SerializeAsString());
  }

  // A whole small session: started, a turn with a decision and an answer, completed. 6 events.
  void session(v1::Frame& frame, const std::string& tenant, const std::string& id,
               const std::string& prompt = "what is new?") {
    v1::SessionEvent e;
    auto* started = e.mutable_session_started();
    started->set_session_id(id);
    started->set_tenant_id(tenant);
    started->set_user("alice");
    started->set_model("tiny");
    started->set_at_ms(1'700'000'000'000 + clock_);
    session_event(frame, tenant, id, e);
    e.mutable_turn_started()->set_turn(1);
    e.mutable_turn_started()->set_prompt(prompt);
    session_event(frame, tenant, id, e);
    auto* d = e.mutable_policy_decided()->mutable_decision();
    d->set_decision_id("dec_" + id);
    d->set_allow(true);
    d->set_score(0.1 + 0.2);
    d->set_threshold(1e-7);
    d->add_reasons("risk \"low\"");
    session_event(frame, tenant, id, e);
    auto* answer = e.mutable_model_answered()->mutable_answer();
    answer->set_call_id("call_" + id);
    answer->set_model("tiny");
    answer->set_output("nothing\tmuch\n\\ today");
    answer->mutable_usage()->set_prompt_tokens(12);
    answer->mutable_usage()->set_completion_tokens(5);
    session_event(frame, tenant, id, e);
    e.mutable_turn_completed()->set_turn(1);
    session_event(frame, tenant, id, e);
    e.mutable_session_completed()->set_at_ms(1);
    session_event(frame, tenant, id, e);
  }

  Position append(std::uint32_t partition, v1::Frame frame) {
    std::promise<events::FrameWriter::Outcome> done;
    writers_[partition]->append(std::move(frame),
                                [&](const auto& outcome) { done.set_value(outcome); });
    auto outcome = done.get_future().get();
    EXPECT_TRUE(outcome.valid) << outcome.error.message;
    return outcome.frame.position;
  }
  // `count` sessions, spread over partitions, `per_frame` to a frame. The last position.
  Position sessions(const std::string& prefix, int count, int per_frame = 20,
                    const std::string& tenant = "acme") {
    Position last{};
    for (int i = 0; i < count;) {
      v1::Frame frame;
      for (int k = 0; k < per_frame && i < count; ++k, ++i)
        session(frame, tenant, prefix + std::to_string(i));
      last = append(static_cast<std::uint32_t>(i / per_frame) % log_->partition_count(),
                    std::move(frame));
    }
    return last;
  }

 private:
  std::unique_ptr<events::Log> log_;
  std::map<std::uint32_t, std::unique_ptr<events::FrameWriter>> writers_;
  std::map<std::string, std::uint64_t> sequences_;
  std::int64_t clock_ = 0;
};

}  // namespace soma::projections::test
