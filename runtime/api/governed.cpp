// Settings, constitution, rules and models, as they stand now.
#include "runtime/api/governed.h"

#include "actors/constitution/constitution.h"
#include "actors/preferences/preferences.h"
#include "actors/tenant/tenant.h"
#include "runtime/api/constitutions.h"
#include "soma/v1/preferences.pb.h"

namespace soma::runtime::api {

namespace {

// The models of the tenant's default profile for `role`; nothing where it has none.
v1::ModelPlan plan_of(const v1::PreferencesState& preferences, const v1::TenantSettings& settings,
                      const std::string& role) {
  v1::ModelPlan plan;
  const auto profile = preferences.profiles().find(settings.default_model_profile());
  if (profile == preferences.profiles().end()) return plan;
  auto choice = profile->second.roles().find(role);
  if (choice == profile->second.roles().end() && (role == "planning" || role == "code"))
    choice = profile->second.roles().find("chat");
  if (choice == profile->second.roles().end()) return plan;
  plan.set_primary(choice->second.primary());
  *plan.mutable_fallbacks() = choice->second.fallbacks();
  plan.set_profile(profile->first);
  return plan;
}

void read_models(const Node& node, const RequestPtr& request, const std::string& role,
                 Governance governance, const std::function<void(Result<Governance>)>& next) {
  if (role.empty()) return next(std::move(governance));
  node.host->read(actors::preferences_key(request->tenant()),
                  [role, g = std::move(governance), next](Result<StateView> view) mutable {
                    if (!view) return next(tl::unexpected(view.error()));
                    g.models = plan_of(static_cast<const v1::PreferencesState&>(*view->state),
                                       g.settings, role);
                    next(std::move(g));
                  });
}

}  // namespace

Result<std::string> chat_role(const http::Request& request) {
  const std::string role = text_member(request.json, "role");
  const bool model = !text_member(request.json, "model").empty();
  if (role.empty()) return std::string(model ? "" : "chat");
  if (model)
    return fail(Code::kInvalidArgument, "role chooses the model; leave out role or model",
                "body.role");
  if (role != "chat" && role != "planning" && role != "code")
    return fail(Code::kInvalidArgument, "role must be chat, planning or code", "body.role");
  return role;
}

http::Field role_field() {
  return {.name = "role",
          .description = "Whose models of the tenant's profile are asked, where none is named",
          .one_of = {"chat", "planning", "code"}};
}

void read_governance(const Node& node, const RequestPtr& request, const std::string& role,
                     std::function<void(Result<Governance>)> next) {
  node.constitutions->in_force(
      *node.host, request->tenant(), [&node, request, role, next = std::move(next)](auto found) {
        if (!found) return next(tl::unexpected(found.error()));
        if (!*found)
          return next(fail(Code::kConstitutionMissing,
                           "no constitution signed with a trusted key is in force for this tenant; "
                           "load one with POST /v1/constitution/load"));
        Governance g;
        g.constitution = actors::in_force(*(*found)->constitution);
        const std::string& token = request->identity.constitution_hash;
        if (!token.empty() && token != g.constitution.hash())
          return next(fail(Code::kUnauthenticated, "Constitution hash mismatch"));
        node.host->read(
            actors::tenant_key(request->tenant()),
            [&node, request, role, g = std::move(g), next](Result<StateView> view) mutable {
              if (!view) return next(tl::unexpected(view.error()));
              g.settings = settings_for(node, *view);
              node.rulebook->in_force(*node.host, request->tenant(),
                                      [&node, request, role, g = std::move(g),
                                       next](Result<Rulebook::InForce> rules) mutable {
                                        if (!rules) return next(tl::unexpected(rules.error()));
                                        g.rules = std::move(*rules);
                                        read_models(node, request, role, std::move(g), next);
                                      });
            });
      });
}

void with_governance(const Node& node, const RequestPtr& request, const std::string& role,
                     const http::Responder& responder, std::function<void(Governance)> next) {
  read_governance(node, request, role, [responder, next = std::move(next)](Result<Governance> g) {
    if (g) return next(std::move(*g));
    responder.send(problem_of(g.error()));
  });
}

}  // namespace soma::runtime::api
