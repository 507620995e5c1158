// Settings that take a tenant out of a production mode: they take its other second keys away, so
// they need one themselves.
#pragma once

#include "actors/tenant/tenant.h"

namespace soma::actors {

bool leaves_production(const v1::TenantSettings& old, const v1::TenantSettings& next);

// `next` waits for another person; the same again is the proposal that waits. kConflict: another
// waits already.
Result<TenantDecider::Decided> propose_settings(const ActorKey& self, const v1::TenantState& state,
                                                const v1::TenantSettings& next,
                                                std::uint64_t rolled_back_to,
                                                const v1::Context& context);
// What waits is of no account any more, as the settings were changed: told to the register.
void overtake_proposal(TenantDecider::Decided& d, const ActorKey& self,
                       const v1::TenantState& state, const v1::Context& context);
TenantDecider::Decided settings_rejected(const v1::TenantState& state,
                                         const v1::SettingsRejected& c, const v1::Context& context);

}  // namespace soma::actors
