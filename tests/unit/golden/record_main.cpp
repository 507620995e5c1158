// golden_record: adds recorded events where a type has fewer than three.
// usage: golden_record [--digests]
//   --digests     the states behind all events are renewed, and nothing else is done
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <set>

#include "soma/v1/common.pb.h"
#include "tests/unit/golden/corpus.h"
#include "tests/unit/golden/shaped.h"

namespace soma::golden {
namespace {

constexpr int kWanted = 3;
constexpr unsigned kMostRounds = 50;
constexpr unsigned kTries = 400;
constexpr unsigned kLongest = 40;  // commands of a history

[[noreturn]] void stop(const std::string& why) {
  std::cerr << "golden_record: " << why << "\n";
  std::exit(1);
}

// What is recorded of one actor type, and what it lacks.
class Recorder {
 public:
  explicit Recorder(const actors::ActorType& type) : type_(type) {
    auto corpus = load(file());
    if (!corpus) stop(corpus.error().message);
    corpus_ = std::move(*corpus);
    for (const auto& history : corpus_) count(history);
  }

  // What the decider makes of commands, up to an event whose type no such history has.
  void decided() {
    std::set<int> seen;
    for (const auto& history : corpus_)
      if (history.origin == "decided")
        for (const auto& s : history.events) seen.insert(number(s.payload));
    for (unsigned seed = 1; seed <= kTries; ++seed) {
      History history{"decided", {}};
      std::size_t end = 0;
      auto state = type_.new_state();
      for (unsigned n = 0; n < kLongest; ++n)
        for (const auto& event : decide(*state, seed, n)) {
          type_.evolve(*state, *event);
          history.events.push_back(sample(actors::deterministic_bytes(*event)));
          if (seen.insert(case_of(*event)).second) end = history.events.size();
        }
      history.events.resize(end);
      add(std::move(history));
    }
  }

  // Each type once with all of its fields, and until there are enough. An event that no decider
  // would give on that state, and that cannot be folded into it, is left out.
  void shaped() {
    std::map<int, unsigned> rounds;
    for (const auto& history : corpus_)
      if (history.origin == "shaped")
        for (const auto& s : history.events) ++rounds[number(s.payload)];
    const auto* kind = type_.new_event()->GetDescriptor()->FindOneofByName("kind");
    History history{"shaped", {}};
    auto state = type_.new_state();
    for (bool more = true; more;) {
      more = false;
      for (int i = 0; i < kind->field_count(); ++i) {
        const int n = kind->field(i)->number();
        if (rounds[n] > 0 && count_[n] >= kWanted) continue;
        auto event = type_.new_event();
        if (rounds[n] == kMostRounds)
          stop(std::string(type_.name()) + ": too few of case " + std::to_string(n));
        shape(*event, n, rounds[n]++);
        more = true;
        if (!folds(*state, *event)) continue;
        history.events.push_back(sample(actors::deterministic_bytes(*event)));
        ++count_[n];
      }
    }
    add(std::move(history), false);
  }

  void write() {
    for (auto& history : corpus_) {
      auto digests = fold(type_, history);
      if (!digests) stop(digests.error().message);
      for (std::size_t i = 0; i < digests->size(); ++i) {
        auto& known = history.events[i].digest;
        if (known.empty() || renew) known = (*digests)[i];
      }
    }
    save(file(), std::string(type_.name()), corpus_);
  }

  bool renew = false;

 private:
  std::filesystem::path file() const {
    return std::filesystem::path(SOMA_SOURCES) / "tests/unit/golden/events" /
           (std::string(type_.name()) + ".tsv");
  }
  std::unique_ptr<actors::Message> parsed(const std::string& payload) const {
    auto event = type_.new_event();
    if (!event->ParseFromString(payload)) stop("an event does not parse");
    return event;
  }
  int number(const std::string& payload) const { return case_of(*parsed(payload)); }
  Sample sample(const std::string& payload) const {
    return {type_.event_type(*parsed(payload)), 1, payload, {}};
  }
  // A command of any kind, or the outcome of an effect that the state calls for; refused ones give
  // nothing.
  std::vector<std::unique_ptr<actors::Message>> decide(const actors::Message& state, unsigned seed,
                                                       unsigned n) const {
    const ActorKey self{"demo", std::string(type_.name()), "a", {}};
    auto command = type_.new_command();
    const auto effects = type_.effects(self, state);
    if (!effects.empty() && (seed + n) % 3 == 0) {
      v1::EffectOutcome outcome;
      const auto& effect =
          *std::min_element(effects.begin(), effects.end(),
                            [](const auto& a, const auto& b) { return a.effect_id < b.effect_id; });
      outcome.set_effect_id(effect.effect_id);
      outcome.set_attempt(effect.attempt);
      if (n % 2 == 0) outcome.set_unknown("the node stopped");
      if (n % 2 == 1) outcome.set_result("");
      command->ParseFromString(type_.outcome_command(outcome));
    } else {
      const auto* kind = command->GetDescriptor()->FindOneofByName("kind");
      const unsigned pick = (seed * 7919 + n * 104729) / 13;
      const auto count = static_cast<unsigned>(kind->field_count());
      shape(*command, kind->field(static_cast<int>(pick % count))->number(), n % 3, seed + n);
    }
    v1::Context context;
    context.set_now_ms(1'700'000'000'000 + n * 60'000);
    context.set_command_id("c" + std::to_string(n));
    context.mutable_principal()->set_tenant("demo");
    context.mutable_principal()->set_subject(n % 2 == 0 ? "ana" : "ben");
    try {
      if (auto made = type_.decide(self, state, *command, context)) return std::move(made->events);
    } catch (const std::exception&) {  // a counter that was told to
    }
    return {};
  }
  bool folds(actors::Message& state, const actors::Message& event) const {
    auto next = type_.new_state();
    next->CopyFrom(state);
    try {
      type_.evolve(*next, event);
    } catch (const std::exception&) {
      return false;
    }
    state.CopyFrom(*next);
    return true;
  }
  void count(const History& history) {
    for (const auto& s : history.events) ++count_[number(s.payload)];
  }
  void add(History history, bool counted = true) {
    if (history.events.empty()) return;
    if (counted) count(history);
    corpus_.push_back(std::move(history));
  }

  const actors::ActorType& type_;
  Corpus corpus_;
  std::map<int, int> count_;  // events by case
};

}  // namespace
}  // namespace soma::golden

int main(int argc, char** argv) {
  const bool digests = argc == 2 && std::string_view(argv[1]) == "--digests";
  if (argc > 1 && !digests) soma::golden::stop("usage: golden_record [--digests]");
  const auto catalog = soma::actors::standard_catalog();
  for (const auto* type : catalog->all()) {
    soma::golden::Recorder recorder(*type);
    recorder.renew = digests;
    if (!digests) {
      recorder.decided();
      recorder.shaped();
    }
    recorder.write();
  }
}
