// A host that answers reads as the test says, and an admission over it.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "actors/constitution/constitution.h"
#include "actors/identity/identity.h"
#include "runtime/api/admission.h"
#include "soma/v1/constitution.pb.h"
#include "tests/support/bare_host.h"
#include "tests/support/hand_clock.h"

namespace soma::runtime::api {

// A host whose reads are answered when the test says so, from states that it sets.
class ReadHost : public BareHost {
 public:
  std::map<std::string, std::pair<std::shared_ptr<const actors::Message>, std::uint64_t>> states;
  std::optional<Error> broken;
  bool hold = false;
  std::vector<std::function<void()>> held;

  void read(ActorKey actor, OnState done) override {
    auto answer = [this, actor, done = std::move(done)] {
      if (broken) return done(tl::unexpected(*broken));
      const auto& [state, sequence] = states.at(actor.type);
      done(StateView{state, Sequence{sequence}, {}});
    };
    if (hold)
      held.push_back(std::move(answer));
    else
      answer();
  }
  bool all = true;
  bool observes_all() const override { return all; }
};

template <typename Event>
events::ValidFrame frame(const ActorKey& actor, const std::string& type, std::uint64_t sequence,
                         const Event& event) {
  auto f = std::make_shared<v1::Frame>();
  auto* entry = f->add_entries();
  *entry->mutable_actor() = actors::to_ref(actor);
  auto* recorded = entry->add_events();
  recorded->set_type(type);
  recorded->set_sequence(sequence);
  recorded->set_payload(event.SerializeAsString());
  return {{}, f, {}};
}

inline events::ValidFrame revoked(const std::string& id, std::uint64_t sequence) {
  v1::IdentityEvent e;
  e.mutable_token_revoked()->mutable_token()->set_token_id(id);
  return frame(actors::identity_key("acme"), "token.revoked", sequence, e);
}

inline security::Identity caller(const std::string& token_id) {
  security::Identity who;
  who.principal.set_tenant("acme");
  who.principal.set_subject("ana");
  who.token_id = token_id;
  return who;
}

struct AdmissionTest : testing::Test {
  ReadHost host;
  Constitutions constitutions{{}, {}};
  Admission admission{constitutions};
  std::shared_ptr<v1::IdentityState> identity = std::make_shared<v1::IdentityState>();

  AdmissionTest() {
    host.states["identity"] = {identity, 1};
    host.states["constitution"] = {std::make_shared<v1::ConstitutionState>(), 0};
  }
  std::string check(const security::Identity& who) {
    std::string out = "not answered";
    admission.check(host, who,
                    [&](Status s) { out = s ? "in" : std::string(code_name(s.error().code)); });
    return out;
  }
};

}  // namespace soma::runtime::api
