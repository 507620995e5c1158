// Events and commands of a type, filled field by field.
#pragma once

#include "actors/actor_type.h"

namespace soma::golden {

// `message`, empty, becomes one of the case with this field number. Round 0: all of its fields are
// set, and those of what it holds, to a depth of 4; of later rounds about half. Another seed gives
// other values. The same on every machine.
void shape(actors::Message& message, int number, unsigned round, unsigned seed = 0);

}  // namespace soma::golden
