// The switch asked, the fork commanded.
#include "runtime/api/new_session.h"

#include "runtime/api/kill_switch.h"
#include "runtime/api/views.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

bool killed(const Node& node, const Responder& responder) {
  if (!node.kill_switch->active()) return false;
  responder.send(http::problem_retry({Code::kUnavailable, "Gateway kill-switch active", {}}, 30));
  return true;
}

void submit_fork(const Node& node, const RequestPtr& r, const Responder& responder,
                 const v1::ForkSession& fork, json::object more) {
  v1::SessionCommand command;
  *command.mutable_fork_session() = fork;
  const std::string id = command_id_of(*r);
  submit(node, r, responder,
         make_submission(*r, {r->tenant(), "session", created_id("ses", *r, id), {}}, command, id),
         [more = std::move(more), origin = fork.origin_session_id(),
          at = fork.at_sequence()](const Accepted& a) {
           v1::SessionReply reply;
           reply.ParseFromString(a.reply);
           json::object out{{"session_id", reply.session_id()},
                            {"status", views::session_status(reply.status())},
                            {"turns", reply.turn()},
                            {"forked_from", {{"session_id", origin}, {"at_sequence", at}}}};
           for (const auto& member : more) out[member.key()] = member.value();
           return http::json_response(201, out);
         });
}

}  // namespace soma::runtime::api
