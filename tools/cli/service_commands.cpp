// policy, memory, slm, status, projections, effects: thin calls of the node's routes.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "tools/cli/commands.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

int show(const Context& c, Result<json::value> r) {
  if (!r) return c.fail(r.error());
  c.print(*r);
  return 0;
}

int list(const Context& c, Result<json::value> r, const char* member,
         const std::vector<std::string>& columns) {
  if (!r) return c.fail(r.error());
  c.print_list(r->at(member).as_array(), columns);
  return 0;
}

}  // namespace

void add_service_commands(CLI::App& app, Context& context, const Wrap& run) {
  struct Flags {
    std::string text, action = "action", capability = "session:start";
    double risk = 0.1, confidence = 0.9, budget = 0;
    int top_k = 10;
  };
  auto f = std::make_shared<Flags>();
  auto* policy = app.add_subcommand("policy", "Policy")->require_subcommand(1);
  auto* evaluate = policy->add_subcommand("evaluate", "Score an action");
  evaluate->add_option("--action", f->action);
  evaluate->add_option("--capability", f->capability);
  evaluate->add_option("--risk", f->risk);
  evaluate->add_option("--confidence", f->confidence);
  evaluate->add_option("--budget", f->budget);
  evaluate->callback(run([&context, f] {
    return show(context, context.call("POST", "/v1/evaluate",
                                      json::object{{"action_id", f->action},
                                                   {"capability", f->capability},
                                                   {"risk_score", f->risk},
                                                   {"confidence", f->confidence},
                                                   {"budget_required", f->budget}}));
  }));
  auto* memory = app.add_subcommand("memory", "Memory")->require_subcommand(1);
  auto* remember = memory->add_subcommand("remember", "Remember a fact");
  remember->add_option("text", f->text)->required();
  remember->callback(run([&context, f] {
    return show(context, context.call("POST", "/v1/remember", json::object{{"text", f->text}}));
  }));
  auto* recall = memory->add_subcommand("recall", "Find facts");
  recall->add_option("query", f->text)->required();
  recall->add_option("--top-k", f->top_k);
  recall->callback(run([&context, f] {
    return list(
        context,
        context.call("POST", "/v1/recall", json::object{{"query", f->text}, {"top_k", f->top_k}}),
        "results", {"memory_id", "score", "retriever", "payload"});
  }));
  auto* slm = app.add_subcommand("slm", "Models")->require_subcommand(1);
  slm->add_subcommand("models", "Models that answer now")->callback(run([&context] {
    return list(context, context.call("GET", "/v1/models"), "data", {"id", "owned_by"});
  }));
  auto* infer = slm->add_subcommand("infer", "Ask the model and wait");
  infer->add_option("prompt", f->text)->required();
  infer->callback(run([&context, f] {
    return show(context, context.call("POST", "/v1/infer_sync", json::object{{"prompt", f->text}}));
  }));
  auto* embed = slm->add_subcommand("embed", "Embed a text");
  embed->add_option("text", f->text)->required();
  embed->callback(run([&context, f] {
    return show(context, context.call("POST", "/v1/embedding", json::object{{"text", f->text}}));
  }));
  app.add_subcommand("status", "State of the node")->callback(run([&context] {
    if (!context.table()) return show(context, context.call("GET", "/v1/admin/status"));
    return list(context, context.call("GET", "/v1/admin/status"), "partitions",
                {"partition", "serving", "epoch", "applied", "active_actors", "queued",
                 "pending_effects", "parked", "problem"});
  }));
  auto* projections = app.add_subcommand("projections", "Postgres views")->require_subcommand(1);
  projections->add_subcommand("lag", "Frames not yet in the views")->callback(run([&context] {
    auto r = context.call("GET", "/v1/admin/status");
    if (!r) return context.fail(r.error());
    const auto* p = r->as_object().if_contains("projections");
    if (!p) return context.fail({Code::kUnavailable, "the node has no projections", {}});
    context.print(*p);
    return 0;
  }));
  projections->add_subcommand("rebuild", "Drop and rebuild the views")->callback(run([&context] {
    return show(context, context.call("POST", "/v1/admin/projections/rebuild", json::object{}));
  }));
  projections->add_subcommand("verify", "Digest of all rows")->callback(run([&context] {
    return show(context, context.call("GET", "/v1/admin/projections/digest"));
  }));
  auto* effects = app.add_subcommand("effects", "Outside work")->require_subcommand(1);
  effects->add_subcommand("list", "Pending effects")->callback(run([&context] {
    return list(context, context.call("GET", "/v1/admin/effects"), "items",
                {"effect_id", "kind", "attempt", "state", "since", "actor"});
  }));
}

}  // namespace soma::cli
