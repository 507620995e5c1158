// Whose personal data a command brings to an actor.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "soma/v1/common.pb.h"

namespace soma::runtime::privacy {

// The user of a session, a memory, a model call: as the actor's state or the command says; of an
// effect's outcome, whose effect it was. Else who asked. The node itself is nobody: then empty.
std::string data_subject(const v1::ActorRef& actor, const google::protobuf::Message& state,
                         const std::string& command, const v1::Context& context);

}  // namespace soma::runtime::privacy
