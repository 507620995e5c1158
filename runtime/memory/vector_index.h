// A tenant's vectors: searched one by one while they are few, by a graph once they are many.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace soma::runtime {

// Adding costs a copy, whatever the size: the graph is built apart, by `index_some`, and what it
// does not hold yet is searched one by one. So a restart waits for no graph, and no commit does. It
// is built anew once more than half of it is of vectors that were removed.
// `add`, `remove`: one at a time, and no `nearest` meanwhile. `index_some`: one thread, beside
// `nearest`, not beside `add` and `remove`.
class VectorIndex {
 public:
  // Below so many vectors a scan is exact and takes about 2 ms (384 dimensions).
  static constexpr std::size_t kScanLimit = 16384;

  explicit VectorIndex(std::size_t dimension, std::size_t scan_limit = kScanLimit);
  ~VectorIndex();

  std::size_t dimension() const { return dimension_; }
  std::size_t size() const { return labels_.size(); }
  void add(std::uint64_t label, std::span<const float> vector);  // a label is added once
  void remove(std::uint64_t label);

  // Up to `want` of the nearest by inner product, in no order: (label, product).
  std::vector<std::pair<std::uint64_t, float>> nearest(std::span<const float> query,
                                                       std::size_t want) const;

  // Moves up to `count` vectors into the graph; true when more wait for it.
  bool index_some(std::size_t count);
  bool wants_indexing() const;

 private:
  struct Graph;
  void begin_graph();  // anew, where there are enough for one
  const float* row(std::size_t i) const { return rows_.data() + i * dimension_; }

  const std::size_t dimension_, scan_limit_;
  std::vector<float> rows_;
  std::vector<std::uint64_t> labels_;                      // of each row
  std::unordered_map<std::uint64_t, std::size_t> places_;  // of each label
  std::vector<std::uint64_t> waiting_;                     // labels not yet in the graph
  std::unique_ptr<Graph> graph_;                           // none below the limit
};

}  // namespace soma::runtime
