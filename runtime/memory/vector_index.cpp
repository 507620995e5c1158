// The scan, and the graph of hnswlib.
#include "runtime/memory/vector_index.h"

#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <shared_mutex>

namespace soma::runtime {

namespace {

// Four sums of four lanes: wide registers on every processor, and the same result on each.
float product(const float* a, const float* b, std::size_t n) {
  using Lanes = float __attribute__((vector_size(16)));
  Lanes sums[4] = {};
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (std::size_t k = 0; k < 4; ++k) {
      Lanes x, y;
      std::memcpy(&x, a + i + 4 * k, sizeof x);
      std::memcpy(&y, b + i + 4 * k, sizeof y);
      sums[k] += x * y;
    }
  const Lanes all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float out = (all[0] + all[1]) + (all[2] + all[3]);
  for (; i < n; ++i) out += a[i] * b[i];
  return out;
}

// hnswlib's own scalar distance is several times slower.
class Space final : public hnswlib::SpaceInterface<float> {
 public:
  explicit Space(std::size_t dimension) : dimension_(dimension) {}
  std::size_t get_data_size() override { return dimension_ * sizeof(float); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return distance; }
  void* get_dist_func_param() override { return &dimension_; }

 private:
  static float distance(const void* a, const void* b, const void* dimension) {
    return 1.0F - product(static_cast<const float*>(a), static_cast<const float*>(b),
                          *static_cast<const std::size_t*>(dimension));
  }
  std::size_t dimension_;
};

}  // namespace

struct VectorIndex::Graph {
  // hnswlib's default effort of a search, 10, finds two thirds of what a scan finds.
  static constexpr std::size_t kLinks = 16, kBuildEffort = 200, kSearchEffort = 256;
  Graph(std::size_t dimension, std::size_t room)
      : space(dimension), nodes(&space, room, kLinks, kBuildEffort) {
    nodes.setEf(kSearchEffort);
  }
  Space space;
  hnswlib::HierarchicalNSW<float> nodes;
  mutable std::shared_mutex mutex;  // hnswlib does not allow a search beside an insertion
};

VectorIndex::VectorIndex(std::size_t dimension, std::size_t scan_limit)
    : dimension_(dimension), scan_limit_(scan_limit) {}
VectorIndex::~VectorIndex() = default;

void VectorIndex::add(std::uint64_t label, std::span<const float> vector) {
  places_[label] = labels_.size();
  labels_.push_back(label);
  rows_.insert(rows_.end(), vector.begin(), vector.end());
  if (graph_)
    waiting_.push_back(label);
  else
    begin_graph();
}

void VectorIndex::begin_graph() {
  graph_.reset();
  waiting_.clear();
  if (size() <= scan_limit_) return;
  graph_ = std::make_unique<Graph>(dimension_, 2 * size());
  waiting_ = labels_;
}

void VectorIndex::remove(std::uint64_t label) {
  const auto found = places_.find(label);
  if (found == places_.end()) return;
  const std::size_t at = found->second, last = labels_.size() - 1;
  places_.erase(found);
  if (at != last) {
    std::copy_n(row(last), dimension_, rows_.data() + at * dimension_);
    labels_[at] = labels_[last];
    places_[labels_[at]] = at;
  }
  labels_.pop_back();
  rows_.resize(labels_.size() * dimension_);
  if (!graph_) return;
  if (const auto waits = std::find(waiting_.begin(), waiting_.end(), label);
      waits != waiting_.end())
    waiting_.erase(waits);
  else
    graph_->nodes.markDelete(label);
  // The nodes of removed vectors stay in it, and every search passes them.
  if (graph_->nodes.cur_element_count > 2 * size()) begin_graph();
}

std::vector<std::pair<std::uint64_t, float>> VectorIndex::nearest(std::span<const float> query,
                                                                  std::size_t want) const {
  std::vector<std::pair<std::uint64_t, float>> best;  // a heap, the worst of them on top
  const auto worse = [](const auto& a, const auto& b) { return a.second > b.second; };
  const auto offer = [&](std::uint64_t label, float score) {
    if (best.size() < want) {
      best.emplace_back(label, score);
      std::push_heap(best.begin(), best.end(), worse);
    } else if (want > 0 && score > best.front().second) {
      std::pop_heap(best.begin(), best.end(), worse);
      best.back() = {label, score};
      std::push_heap(best.begin(), best.end(), worse);
    }
  };
  if (!graph_) {
    for (std::size_t i = 0; i < labels_.size(); ++i)
      offer(labels_[i], product(query.data(), row(i), dimension_));
    return best;
  }
  std::shared_lock lock(graph_->mutex);
  for (const std::uint64_t label : waiting_)
    offer(label, product(query.data(), row(places_.at(label)), dimension_));
  const std::size_t held = graph_->nodes.cur_element_count;
  if (held == 0) return best;
  for (auto found = graph_->nodes.searchKnn(query.data(), std::min(want, held)); !found.empty();
       found.pop())
    offer(found.top().second, 1.0F - found.top().first);
  return best;
}

bool VectorIndex::wants_indexing() const { return graph_ && !waiting_.empty(); }

// The insertion holds the graph's lock for one vector at a time, so that searches pass between.
bool VectorIndex::index_some(std::size_t count) {
  for (std::size_t n = 0; n < count && wants_indexing(); ++n) {
    std::unique_lock lock(graph_->mutex);
    auto& nodes = graph_->nodes;
    if (nodes.cur_element_count >= nodes.max_elements_) nodes.resizeIndex(nodes.max_elements_ * 2);
    const std::uint64_t label = waiting_.back();
    nodes.addPoint(row(places_.at(label)), label);
    waiting_.pop_back();
  }
  return wants_indexing();
}

}  // namespace soma::runtime
