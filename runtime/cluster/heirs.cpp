// The assignor's rule, played forward.
#include "runtime/cluster/heirs.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace soma::runtime {

namespace {

using Member = events::GroupView::Member;

// Which node has what when `gone` are gone.
std::map<PartitionId, std::string> shared_out(const events::GroupView& group,
                                              const std::set<std::string>& gone) {
  struct Rest {
    const Member* member;
    std::size_t has;
  };
  std::vector<Rest> rest;
  std::set<PartitionId, std::greater<>> left;
  for (const auto& m : group.members) {
    if (gone.contains(m.node_id))
      left.insert(m.given.begin(), m.given.end());
    else
      rest.push_back({&m, m.given.size()});
  }
  std::map<PartitionId, std::string> out;
  for (const PartitionId p : left) {
    const auto least = std::min_element(rest.begin(), rest.end(), [](const Rest& a, const Rest& b) {
      return std::tie(a.has, a.member->member_id) < std::tie(b.has, b.member->member_id);
    });
    if (least == rest.end()) break;
    ++least->has;
    out[p] = least->member->node_id;
  }
  return out;
}

}  // namespace

std::map<PartitionId, std::vector<std::string>> heirs(const events::GroupView& group,
                                                      std::size_t count) {
  std::map<PartitionId, std::vector<std::string>> out;
  std::map<std::set<std::string>, std::map<PartitionId, std::string>> known;
  for (const auto& owner : group.members)
    for (const PartitionId p : owner.given) {
      std::set<std::string> gone{owner.node_id};
      auto& found = out[p];
      while (found.size() < count) {
        auto it = known.find(gone);
        if (it == known.end()) it = known.emplace(gone, shared_out(group, gone)).first;
        const auto heir = it->second.find(p);
        if (heir == it->second.end()) break;
        found.push_back(heir->second);
        gone.insert(heir->second);
      }
    }
  return out;
}

}  // namespace soma::runtime
