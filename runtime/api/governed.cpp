// Settings and constitution, both as they stand now.
#include "runtime/api/governed.h"

#include "actors/constitution/constitution.h"
#include "actors/tenant/tenant.h"
#include "runtime/api/constitutions.h"

namespace soma::runtime::api {

void read_governance(const Node& node, const RequestPtr& request,
                     std::function<void(Result<Governance>)> next) {
  node.constitutions->in_force(
      *node.host, request->tenant(), [&node, request, next = std::move(next)](auto found) {
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
        node.host->read(actors::tenant_key(request->tenant()),
                        [&node, g = std::move(g), next](Result<StateView> view) mutable {
                          if (!view) return next(tl::unexpected(view.error()));
                          g.settings = settings_for(node, *view);
                          next(std::move(g));
                        });
      });
}

void with_governance(const Node& node, const RequestPtr& request, const http::Responder& responder,
                     std::function<void(Governance)> next) {
  read_governance(node, request, [responder, next = std::move(next)](Result<Governance> g) {
    if (g) return next(std::move(*g));
    responder.send(problem_of(g.error()));
  });
}

}  // namespace soma::runtime::api
