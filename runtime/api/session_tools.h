// Tools that a session's turn may use, as its requests name them.
#pragma once

#include "runtime/api/governed.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::api {

// `tools` of a start or a message: OpenAI's form, with our own category, risk_score and
// requires_human beside `function`.
http::Field tools_field();
// The request's tools, under the rules in force; nothing where it names none. Their rules are all
// of the text: which tool is called is only known later.
v1::TurnTools tools_of(const http::Request& request, const Governance& governance);

}  // namespace soma::runtime::api
