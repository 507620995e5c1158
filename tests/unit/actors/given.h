// Given events, when a command comes, then events or a refusal: how deciders are tested.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "actors/actor_type.h"

namespace soma::actors {

template <typename M>
M message(const std::string& text) {
  M out;
  if (!google::protobuf::TextFormat::ParseFromString(text, &out))
    ADD_FAILURE() << "not a " << out.GetTypeName() << ": " << text;
  return out;
}

// One actor of decider D. Each accepted command's events are folded in, so that commands can follow
// one another.
template <typename D>
class Given {
 public:
  using State = typename D::State;
  using Command = typename D::Command;
  using Event = typename D::Event;

  explicit Given(ActorKey self, std::initializer_list<std::string> events = {})
      : self_(std::move(self)) {
    for (const auto& e : events) D::evolve(state_, message<Event>(e));
    context_.set_now_ms(1000);
    context_.set_partition(3);
    context_.mutable_principal()->set_tenant(self_.tenant);
    by("ana");
  }

  Given& after(const Event& event) {
    D::evolve(state_, event);
    return *this;
  }
  Given& at(std::int64_t now_ms) {
    context_.set_now_ms(now_ms);
    return *this;
  }

  Given& by(const char* who) { return context_.mutable_principal()->set_subject(who), *this; }
  Given& when(const std::string& command) { return when(message<Command>(command)); }
  Given& when(const Command& command) {
    context_.set_command_id(self_.tenant + ":" + std::to_string(++commands_));
    const State before = state_;
    decided_ = D::decide(self_, state_, command, context_);
    // Pure: again, and the same bytes.
    auto again = D::decide(self_, before, command, context_);
    EXPECT_EQ(decided_.has_value(), again.has_value());
    if (!decided_) return *this;
    EXPECT_EQ(decided_->events.size(), again->events.size());
    for (std::size_t i = 0; i < decided_->events.size(); ++i) {
      EXPECT_EQ(deterministic_bytes(decided_->events[i]), deterministic_bytes(again->events[i]));
      EXPECT_FALSE(D::event_type(decided_->events[i]).empty());
      D::evolve(state_, decided_->events[i]);
    }
    return *this;
  }

  // The events' public names, in order.
  Given& then(std::vector<std::string> types) {
    EXPECT_TRUE(decided_.has_value()) << decided_.error().message;
    if (!decided_) return *this;
    std::vector<std::string> got;
    for (const auto& e : decided_->events) got.push_back(D::event_type(e));
    EXPECT_EQ(got, types);
    return *this;
  }
  Given& refused(Code code, const std::string& field = {}) {
    EXPECT_FALSE(decided_.has_value());
    if (decided_) return *this;
    EXPECT_EQ(code_name(decided_.error().code), code_name(code)) << decided_.error().message;
    if (!field.empty()) {
      EXPECT_EQ(decided_.error().field, field);
    }
    return *this;
  }

  const State& state() const { return state_; }
  const typename D::Reply& reply() const { return decided_->reply; }
  const std::vector<Event>& events() const { return decided_->events; }
  const Event& event(std::size_t i) const { return decided_->events.at(i); }
  const std::vector<OutSend>& sends() const { return decided_->sends; }
  std::vector<Effect> effects() const { return D::effects(self_, state_); }
  const ActorKey& self() const { return self_; }

 private:
  const ActorKey self_;
  State state_;
  v1::Context context_;
  Result<typename D::Decided> decided_;
  int commands_ = 0;
};

}  // namespace soma::actors
