// States and events as the JSON of the contract.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>

#include "actors/actor_type.h"
#include "runtime/host/host.h"
#include "schemas/base/times.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/policy.pb.h"
#include "soma/v1/session.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::views {

boost::json::array strings(const google::protobuf::RepeatedPtrField<std::string>& list);

using soma::iso_time;
std::string session_status(v1::SessionStatus status);     // "waiting_approval"
boost::json::object failure(const v1::Failure& failure);  // {code, message}
boost::json::object session(const v1::SessionState& state);
boost::json::object decision(const v1::PolicyDecision& decision);
boost::json::object budget_rule(const v1::BudgetRule& rule);
boost::json::object settings(const std::string& tenant, const v1::TenantSettings& settings);
boost::json::object recall(const std::string& tenant, const std::string& trace_id,
                           const v1::RecallResult& result);

// An event as `GET /v1/sessions/{id}/events` and the stream show it; data by reflection of the
// type.
boost::json::object event(const actors::Catalog& catalog, const Host::HistoryEvent& event);

}  // namespace soma::runtime::views
