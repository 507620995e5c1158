// A model call that was not sent, as other terms are in force than it was allowed under.
#pragma once

#include "actors/session/session.h"

namespace soma::actors {

// Judges the turn again under what is in force now, in the name of who asked. Allowed: it is paid
// for and asked again. A person is asked for now: it waits for one. Refused: an approved turn waits
// again, with the reason, another fails.
Result<SessionDecider::Decided> judge_held_call(const ActorKey& self, const v1::SessionState& s,
                                                const v1::CallHeld& c, const v1::Context& context);
void fold_judged_again(v1::SessionState& s, v1::Turn& turn, const v1::TurnJudgedAgain& e);

}  // namespace soma::actors
