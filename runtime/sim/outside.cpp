// Latencies, failures and answers.
#include "runtime/sim/outside.h"

#include <optional>

#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/model.pb.h"

namespace soma::sim {

using Job = runtime::EffectRunner::Job;

void Outside::Memories::take(const events::ValidFrame& frame) {
  for (const auto& entry : frame.frame->entries()) {
    if (entry.actor().type() != "memory") continue;
    for (const auto& recorded : entry.events()) {
      v1::MemoryEvent event;
      if (!event.ParseFromString(recorded.payload())) continue;
      auto& mine = facts[entry.actor().tenant()];
      if (event.has_memory_remembered())
        mine.emplace_back(entry.actor().id(), event.memory_remembered().fact().text());
      if (event.has_memory_forgotten())
        std::erase_if(mine, [&](const auto& f) { return f.first == entry.actor().id(); });
    }
  }
}

void Outside::run(const std::shared_ptr<Life>& life, const std::shared_ptr<Memories>& memories,
                  Job job, runtime::EffectRunner::OnOutcome done) {
  if (!life->enter()) return;
  const auto& effect = job.effect;
  ground_.note(life->name + " runs " + effect.kind + " " + effect.effect_id + " " +
               std::to_string(effect.attempt));
  oracle_.began(life->name, job.actor, effect);
  std::int64_t delay = rng_.between(200, 50'000);
  if (ground_.faults.draw(Fault::kSlowEffect)) delay = rng_.between(50'000, 20'000'000);
  auto shared = std::make_shared<Job>(std::move(job));
  ground_.time.after(delay, [this, life, memories, shared, done = std::move(done)] {
    // What was asked for happens outside whether or not the asking process still lives.
    v1::EffectOutcome o = outcome(*shared, *memories);
    if (!life->alive) return;
    if (cancelled_.erase(life->name + " " + shared->effect.effect_id) > 0 && !o.has_result()) {
      o.mutable_failure()->set_code("cancelled");
      o.mutable_failure()->set_message("simulated: cancelled");
      o.mutable_failure()->set_retryable(false);
    }
    const auto deliver = [life, done, o] {
      if (life->alive) done(o);
    };
    ground_.time.at(life->paused_until_us, deliver);
  });
}

void Outside::cancel(const std::string& process, const std::string& effect_id) {
  cancelled_.insert(process + " " + effect_id);
}

std::uint64_t Outside::performed(const std::string& effect_id) const {
  auto it = performed_.find(effect_id);
  return it == performed_.end() ? 0 : it->second;
}

v1::EffectOutcome Outside::outcome(const Job& job, const Memories& memories) {
  v1::EffectOutcome o;
  o.set_effect_id(job.effect.effect_id);
  o.set_attempt(job.effect.attempt);
  if (ground_.faults.draw(Fault::kFailedEffect)) {
    auto* f = o.mutable_failure();
    f->set_code("model_unavailable");
    f->set_message("simulated: failed");
    f->set_retryable(rng_.chance(800'000));
    if (rng_.chance(200'000)) f->set_retry_after_ms(rng_.between(1, 5'000));
    return o;
  }
  const bool at_most_once = job.effect.effect_class == actors::EffectClass::kAtMostOnce;
  if (at_most_once && ++performed_[job.effect.effect_id] > 1)
    oracle_.complain("I16", {}, "at-most-once effect " + job.effect.effect_id + " happened twice");
  if (ground_.faults.draw(Fault::kGarbledEffect)) {
    if (at_most_once)
      o.set_unknown("simulated: the answer was cut");
    else
      o.set_result("\xff\xff garbage");
    return o;
  }
  o.set_result(result(job, memories));
  return o;
}

namespace {

// Other terms are in force than a call was allowed under, at times ones that refuse it. Of those
// that carry none, nothing is asked.
std::optional<v1::StartTerms> held(const v1::CallTerms& allowed, Rng& rng) {
  if (!rng.chance(30'000)) return {};
  v1::StartTerms now;
  now.mutable_settings()->set_deployment_mode("developer-light");
  now.mutable_settings()->set_budgets_tokens(50'000'000);
  now.mutable_settings()->set_version(allowed.settings_version() + 1);
  now.mutable_constitution()->set_hash(allowed.constitution_hash());
  // As in the constitution of every workload that has one.
  now.mutable_constitution()->mutable_rules()->add_prohibited_actions("nuke");
  *now.mutable_asker() = allowed.asker();
  switch (rng.below(5)) {
    case 0:
      now.set_halted(true);
      break;
    case 1:
      now.set_asker_out("simulated: who asked is gone");
      break;
    case 2:
      now.mutable_constitution()->mutable_rules()->set_human_approval_above_risk(0.01);
      break;
    default:
      break;
  }
  return now;
}

// Of those that were named, and at times of one that was not, with arguments that are at times
// none.
void ask_for_tools(v1::ModelAnswer& answer, const v1::ModelRequest& request, Rng& rng) {
  answer.set_finish_reason("tool_calls");
  for (std::int64_t n = rng.between(1, 3); n > 0; --n) {
    auto* call = answer.add_tool_calls();
    call->set_id("same");
    const auto i = rng.below(static_cast<std::uint64_t>(request.tools_size()) + 1);
    call->set_name(i < static_cast<std::uint64_t>(request.tools_size())
                       ? request.tools(static_cast<int>(i)).name()
                       : "made up");
    call->set_arguments(rng.chance(900'000) ? "{}" : "not JSON");
  }
}

}  // namespace

std::string Outside::result(const Job& job, const Memories& memories) {
  const auto& kind = job.effect.kind;
  if (kind == "slm.chat") {
    v1::ModelRequest request;
    request.ParseFromString(job.effect.request);
    v1::ModelAnswer answer;
    if (auto now = request.has_terms() ? held(request.terms(), held_) : std::nullopt) {
      *answer.mutable_held() = std::move(*now);
      return answer.SerializeAsString();
    }
    answer.set_call_id(job.effect.effect_id);
    answer.set_output("answer " + sha256_hex(job.effect.request).substr(0, 8));
    answer.set_model("simulated");
    answer.set_finish_reason(rng_.chance(30'000) ? "length" : "stop");
    answer.mutable_usage()->set_prompt_tokens(static_cast<std::uint64_t>(request.messages_size()) *
                                              7);
    answer.mutable_usage()->set_completion_tokens(1 + rng_.below(20));
    if (request.tools_size() > 0 && rng_.chance(600'000)) ask_for_tools(answer, request, rng_);
    return answer.SerializeAsString();
  }
  if (kind == "memory.embed") {
    v1::EmbedResult embedded;
    v1::EmbedRequest request;
    request.ParseFromString(job.effect.request);
    if (auto now = request.has_terms() ? held(request.terms(), held_) : std::nullopt) {
      *embedded.mutable_held() = std::move(*now);
      return embedded.SerializeAsString();
    }
    auto* e = embedded.add_embeddings();
    e->set_model("simulated");
    e->add_values(1);
    return embedded.SerializeAsString();
  }
  if (kind == "memory.recall") {
    v1::RecallResult recalled;
    auto mine = memories.facts.find(job.actor.tenant);
    for (std::size_t i = 0; mine != memories.facts.end() && i < 5 && i < mine->second.size(); ++i) {
      auto* m = recalled.add_memories();
      m->set_memory_id(mine->second[mine->second.size() - 1 - i].first);
      m->set_text(mine->second[mine->second.size() - 1 - i].second.substr(0, 60));
      m->set_score(1.0 / static_cast<double>(i + 1));
    }
    return recalled.SerializeAsString();
  }
  return "ok";
}

namespace {

class Runner final : public runtime::EffectRunner {
 public:
  Runner(std::shared_ptr<Life> life, Outside& outside, std::shared_ptr<Outside::Memories> memories)
      : life_(std::move(life)), outside_(outside), memories_(std::move(memories)) {}
  void run(Job job, OnOutcome done) override {
    outside_.run(life_, memories_, std::move(job), std::move(done));
  }
  void cancel(const std::string& effect_id) override {
    if (life_->alive) outside_.cancel(life_->name, effect_id);
  }

 private:
  std::shared_ptr<Life> life_;
  Outside& outside_;
  std::shared_ptr<Outside::Memories> memories_;
};

}  // namespace

std::unique_ptr<runtime::EffectRunner> make_runner(std::shared_ptr<Life> life, Outside& outside,
                                                   std::shared_ptr<Outside::Memories> memories) {
  return std::make_unique<Runner>(std::move(life), outside, std::move(memories));
}

}  // namespace soma::sim
