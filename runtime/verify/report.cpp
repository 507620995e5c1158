// The report's members in the order of the contract.
#include "runtime/verify/report.h"

#include <boost/json/array.hpp>

namespace soma::runtime {

namespace json = boost::json;

json::object to_json(const checks::Finding& f) {
  return {{"file", nullptr},
          {"offset", nullptr},
          {"partition", f.at.partition.value},
          {"frame", f.at.offset.value},
          {"reason", f.what},
          {"invariant", f.invariant}};
}

json::object to_json(const VerifyReport& r) {
  json::array heads;
  for (const auto& h : r.heads)
    heads.push_back({{"partition", h.partition.value},
                     {"epoch", h.epoch.value},
                     {"end", h.end.value},
                     {"head", h.hash}});
  return {{"ok", r.findings.empty() && !r.stopped},
          {"frames", r.frames},
          {"events", r.events},
          {"partitions", r.partitions},
          {"actors", r.actors},
          {"first_bad",
           r.findings.empty() ? json::value(nullptr) : json::value(to_json(r.findings.front()))},
          {"commands", r.commands},
          {"voided", r.voided},
          {"erased", r.erased},
          {"parked", r.parked},
          {"decided", r.decided},
          {"snapshots", r.snapshots},
          {"snapshots_of_other_schemas", r.snapshots_other},
          {"heads", std::move(heads)}};
}

}  // namespace soma::runtime
