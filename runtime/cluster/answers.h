// What a node answers to another one's calls: for the partitions that are here, from its own host.
#pragma once

#include <functional>

#include "runtime/host/host.h"
#include "soma/v1/cluster.pb.h"

namespace soma::runtime {

using OnAnswer = std::function<void(v1::ClusterAnswer)>;

v1::ClusterAnswer answer_of(const Error& error);

// Commands, reads and redrives; `done` is called once, on a host thread or before this returns.
// False where the call is another kind.
bool answer_at_once(PartitionHost& host, v1::ClusterCall& call, const OnAnswer& done);

// The others; blocking. kInvalidArgument: the partition is none of `partitions`.
v1::ClusterAnswer history_answer(const PartitionHost& host, const v1::ClusterHistory& call);
v1::ClusterAnswer actors_answer(const PartitionHost& host, const v1::ClusterActors& call,
                                std::uint32_t partitions);
v1::ClusterAnswer census_answer(const PartitionHost& host, const v1::ClusterCensus& call,
                                std::uint32_t partitions);

// A send of another node's partition, or its acknowledgement; ignored where a partition is none.
void take_relay(PartitionHost& host, v1::ClusterRelay& item, std::uint32_t partitions);

}  // namespace soma::runtime
