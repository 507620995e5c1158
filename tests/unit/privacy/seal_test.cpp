// Personal data leaves an entry, comes back byte for byte, and is gone with its key.
#include "runtime/privacy/seal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "events/frames.h"
#include "runtime/privacy/pieces.h"
#include "soma/v1/counter.pb.h"
#include "soma/v1/identity.pb.h"
#include "soma/v1/model.pb.h"
#include "soma/v1/session.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::privacy {
namespace {

namespace fs = std::filesystem;

class Seal : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("soma-seal-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    auto made = open_sealer(*actors::standard_catalog(), folder_.string(), {}, false);
    ASSERT_TRUE(made) << made.error().message;
    sealer_ = *made;
  }
  void TearDown() override { fs::remove_all(folder_); }

  static v1::Entry entry(const char* type, const std::string& subject) {
    v1::Entry e;
    e.mutable_actor()->set_tenant("acme");
    e.mutable_actor()->set_type(type);
    e.mutable_actor()->set_id("a1");
    e.mutable_context()->set_command_id("acme:key");
    e.mutable_context()->mutable_principal()->set_tenant("acme");
    e.mutable_context()->mutable_principal()->set_subject(subject);
    return e;
  }
  template <typename M>
  static void add_event(v1::Entry& e, const M& message) {
    auto* event = e.add_events();
    event->set_sequence(static_cast<std::uint64_t>(e.events_size()));
    event->set_payload(actors::deterministic_bytes(message));
  }
  static v1::Entry session_entry() {
    v1::Entry e = entry("session", "ana");
    v1::SessionCommand c;
    c.mutable_start_session()->set_user("ana");
    c.mutable_start_session()->set_prompt("canary-prompt");
    (*c.mutable_start_session()->mutable_metadata())["topic"] = "canary-metadata";
    e.set_command(actors::deterministic_bytes(c));
    v1::SessionEvent started, turn;
    started.mutable_session_started()->set_session_id("a1");
    started.mutable_session_started()->set_user("ana");
    (*started.mutable_session_started()->mutable_metadata())["topic"] = "canary-metadata";
    turn.mutable_turn_started()->set_turn(1);
    turn.mutable_turn_started()->set_prompt("canary-prompt");
    turn.mutable_turn_started()->set_requested_by("ana");
    add_event(e, started);
    add_event(e, turn);
    v1::TenantCommand reserve;
    reserve.mutable_reserve_budget()->set_reservation_id("r1");
    reserve.mutable_reserve_budget()->set_user("ana");
    auto* send = e.add_sends();
    send->mutable_to()->set_type("tenant");
    send->set_command(actors::deterministic_bytes(reserve));
    e.set_request_hash("canary-hash");
    return e;
  }
  std::string sealed(const v1::Entry& e) const {
    std::string bytes = e.SerializeAsString();
    EXPECT_TRUE(sealer_->seal(e, bytes));
    return bytes;
  }
  v1::Entry opened(const std::string& bytes) const {
    v1::Entry e;
    EXPECT_TRUE(e.ParseFromString(bytes));
    const auto ok = sealer_->open(e);
    EXPECT_TRUE(ok) << ok.error().message;
    return e;
  }
  static bool holds(const std::string& bytes, const char* text) {
    return bytes.find(text) != bytes.npos;
  }
  v1::SessionEvent event(const v1::Entry& e, int i) const {
    v1::SessionEvent out;
    EXPECT_TRUE(out.ParseFromString(e.events(i).payload()));
    return out;
  }
  void destroy(const std::string& subject) const {
    EXPECT_EQ(sealer_->keys().destroy("acme", subject, "e1")->size(), 1u);
  }

  fs::path folder_;
  std::shared_ptr<SubjectSealer> sealer_;
};

// A fork names everybody whose words or name it brings, each once, and nobody whose data is gone.
TEST_F(Seal, TellsWhoseDataACommandBrings) {
  v1::SessionCommand c;
  auto* events = c.mutable_fork_session()->mutable_events();
  events->Add()->mutable_session_started()->set_user("ana");
  auto* turn = events->Add()->mutable_turn_started();
  turn->set_prompt("what does bob like?");
  turn->set_requested_by("carl");
  auto* recalled = events->Add()->mutable_memory_recalled();
  for (const char* user : {"bob", "erased-0123456789ab", "bob"}) {
    auto* memory = recalled->add_memories();
    memory->set_user(user);
    memory->set_text("tea");
  }
  const auto e = entry("session", "root");
  const auto bytes = actors::deterministic_bytes(c);
  EXPECT_EQ(sealer_->subjects_in(e.actor(), bytes, "ana"),
            (std::set<std::string>{"ana", "bob", "carl"}));
  EXPECT_TRUE(sealer_->subjects_in(entry("identity", "root").actor(), {}, "ana").empty());
  EXPECT_TRUE(sealer_->subjects_in(e.actor(), {}, "ana").empty());
}

TEST_F(Seal, NothingPersonalIsStoredAndAllComesBack) {
  const v1::Entry e = session_entry();
  const std::string stored = sealed(e);
  EXPECT_FALSE(holds(stored, "canary"));
  EXPECT_FALSE(holds(stored, "ana"));
  EXPECT_TRUE(sealer_->in_clear(e).contains("ana"));
  v1::Entry as_stored;
  ASSERT_TRUE(as_stored.ParseFromString(stored));
  EXPECT_TRUE(sealer_->in_clear(as_stored).empty());
  EXPECT_EQ(as_stored.SerializeAsString(), stored);  // what audit hashes
  EXPECT_EQ(opened(stored).SerializeAsString(), e.SerializeAsString());
}

TEST_F(Seal, WithoutItsKeyAnEntryKeepsItsShape) {
  const std::string stored = sealed(session_entry());
  destroy("ana");
  const v1::Entry e = opened(stored);
  EXPECT_EQ(e.sealed_size(), 1);
  const auto started = event(e, 0).session_started();
  EXPECT_EQ(started.session_id(), "a1");
  EXPECT_TRUE(started.user().starts_with("erased-")) << started.user();
  EXPECT_EQ(started.metadata().at("topic"), kErased);
  EXPECT_EQ(event(e, 1).turn_started().prompt(), kErased);
  EXPECT_EQ(event(e, 1).turn_started().turn(), 1u);
  EXPECT_EQ(event(e, 1).turn_started().requested_by(), started.user());
  EXPECT_EQ(e.context().principal().tenant(), "acme");
}

TEST_F(Seal, EachFieldIsUnderItsOwnSubjectsKey) {
  v1::Entry e = entry("session", "ana");
  v1::SessionEvent recalled;
  for (const char* user : {"ana", "bob"}) {
    auto* m = recalled.mutable_memory_recalled()->add_memories();
    m->set_user(user);
    m->set_text(std::string("of ") + user);
    m->set_payload_json("{\"a\":1}");
  }
  add_event(e, recalled);
  const std::string stored = sealed(e);
  destroy("bob");
  const auto left = event(opened(stored), 0).memory_recalled();
  EXPECT_EQ(left.memories(0).text(), "of ana");
  EXPECT_EQ(left.memories(1).text(), kErased);
  EXPECT_EQ(left.memories(1).payload_json(), "{}");
}

TEST_F(Seal, WhatHoldsTheWordsOfSeveralGoesWithAnyOfThem) {
  v1::Entry e = entry("model", "ana");
  v1::ModelEvent queued;
  auto* request = queued.mutable_call_queued()->mutable_request();
  request->set_user("ana");
  auto* system = request->add_messages();
  system->set_content("both");
  for (const char* user : {"ana", "bob"}) system->add_users(user);
  request->add_messages()->set_content("only hers");
  add_event(e, queued);
  const std::string stored = sealed(e);
  EXPECT_EQ(opened(stored).SerializeAsString(), e.SerializeAsString());
  destroy("bob");
  v1::ModelEvent left;
  ASSERT_TRUE(left.ParseFromString(opened(stored).events(0).payload()));
  EXPECT_EQ(left.call_queued().request().messages(0).content(), kErased);
  EXPECT_EQ(left.call_queued().request().messages(1).content(), "only hers");
}

TEST_F(Seal, OfACounterOnlyTheSubjectsPartIsPersonal) {
  v1::Entry e = entry("tenant", "ana");
  v1::TenantEvent reserved;
  auto* r = reserved.mutable_budget_reserved()->mutable_reservation();
  r->set_user("ana");
  r->add_counted()->set_counter("tenant/tokens/day/UTC/");
  r->add_counted()->set_counter("user/tokens/day/UTC/ana");
  add_event(e, reserved);
  const std::string stored = sealed(e);
  destroy("ana");
  v1::TenantEvent left;
  ASSERT_TRUE(left.ParseFromString(opened(stored).events(0).payload()));
  EXPECT_EQ(left.budget_reserved().reservation().counted(0).counter(), "tenant/tokens/day/UTC/");
  EXPECT_TRUE(left.budget_reserved().reservation().counted(1).counter().starts_with(
      "user/tokens/day/UTC/erased-"));
}

TEST_F(Seal, ProfilesAreTheirUsersNotTheAdministrators) {
  v1::Entry e = entry("identity", "root");
  v1::IdentityEvent changed;
  auto* user = changed.mutable_user_changed()->mutable_user();
  user->set_user_id("ana");
  user->set_email("canary@example.com");
  add_event(e, changed);
  const std::string stored = sealed(e);
  destroy("ana");
  v1::IdentityEvent left;
  const v1::Entry read = opened(stored);
  ASSERT_TRUE(left.ParseFromString(read.events(0).payload()));
  EXPECT_EQ(left.user_changed().user().email(), kErased);
  EXPECT_EQ(read.context().principal().subject(), "root");
}

TEST_F(Seal, EntriesWithoutPersonalDataAreStoredAsTheyAre) {
  v1::Frame frame;
  frame.set_format(1);
  frame.set_epoch(1);
  frame.set_number(1);
  *frame.add_entries() = entry("counter", "ana");
  frame.add_inputs()->set_source_partition(3);
  EXPECT_EQ(*events::encode_frame(frame, sealer_.get()), events::encode_frame(frame));
  *frame.add_entries() = session_entry();
  const std::string bytes = *events::encode_frame(frame, sealer_.get());
  EXPECT_FALSE(holds(bytes, "canary"));
  auto stored = events::decode_frame(bytes), read = events::decode_frame(bytes, sealer_.get());
  ASSERT_TRUE(stored && read);
  EXPECT_EQ((*stored)->SerializeAsString(), bytes);
  EXPECT_EQ((*read)->SerializeAsString(), frame.SerializeAsString());
}

TEST_F(Seal, AMovedCiphertextDoesNotCheck) {
  v1::Entry a, b;
  ASSERT_TRUE(a.ParseFromString(sealed(session_entry())));
  b = a;
  b.mutable_context()->set_command_id("acme:another");
  EXPECT_TRUE(sealer_->open(a));
  const auto refused = sealer_->open(b);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kCorrupt);
}

TEST_F(Seal, WhatIsNotKnownToBeAnybodysIsSealedToo) {
  v1::Entry e = entry("session", "soma");
  v1::SessionCommand c;
  c.mutable_cancel_session()->set_reason("canary");
  e.set_command(actors::deterministic_bytes(c));
  const std::string stored = sealed(e);
  EXPECT_FALSE(holds(stored, "canary"));
  EXPECT_TRUE(holds(stored, "soma"));  // the node's own name is nobody's
  EXPECT_EQ(opened(stored).SerializeAsString(), e.SerializeAsString());
  destroy(kUnknown);
  EXPECT_EQ(opened(stored).sealed_size(), 1);
}

}  // namespace
}  // namespace soma::runtime::privacy
