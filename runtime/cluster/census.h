// What an owner tells of its partitions' parked actors and pending effects, as messages.
#pragma once

#include <vector>

#include "runtime/host/host.h"
#include "soma/v1/cluster.pb.h"

namespace soma::runtime {

// kTooLarge: more than fits an answer between nodes.
Result<v1::ClusterAnswer> census_answer(const std::vector<Host::PendingEffect>& effects);
Result<v1::ClusterAnswer> census_answer(const std::vector<Host::ParkedActor>& parked);

std::vector<Host::PendingEffect> effects_of(const v1::ClusterAnswer& answer);
std::vector<Host::ParkedActor> parked_of(const v1::ClusterAnswer& answer);

}  // namespace soma::runtime
