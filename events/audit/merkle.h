// A Merkle tree over records: roots, proofs of one record, proofs of records in a row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace soma::audit {

using Hash = std::string;  // 32 raw bytes

Hash leaf_hash(std::string_view record);
Hash node_hash(std::string_view left, std::string_view right);
// Where a tree of `leaves` > 1 splits: the largest power of two below it.
std::uint64_t split_of(std::uint64_t leaves);

// All nodes, about 64 bytes a leaf. Not thread-safe.
class Tree {
 public:
  void add(Hash leaf);
  std::uint64_t size() const { return levels_.empty() ? 0 : levels_[0].size() / 32; }
  Hash root() const;  // of no leaf: SHA-256 of nothing
  // Siblings from the leaf up. `index` < size().
  std::vector<Hash> path(std::uint64_t index) const;
  // What a reader of the leaves in a row, from 0 on, needs at this one; see SpineReader.
  std::vector<Hash> spine(std::uint64_t index) const;

 private:
  Hash subtree(std::uint64_t from, std::uint64_t to) const;
  void collect(std::uint64_t index, std::uint64_t from, std::uint64_t to,
               std::vector<Hash>& out) const;
  std::vector<std::string> levels_;  // hashes one after the other
};

// The root that a path leads to; empty when the path is not of this length.
Hash root_of_path(const Hash& leaf, std::uint64_t index, std::uint64_t size,
                  const std::vector<Hash>& path);

// The root of the leaves so far, in the memory of its logarithm. A value.
class Frontier {
 public:
  void add(Hash leaf);
  std::uint64_t size() const { return size_; }
  Hash root() const;

 private:
  std::uint64_t size_ = 0;
  std::vector<Hash> full_;  // roots of full subtrees, the largest first
};

// A tree for spines of leaves that come twice: it keeps the roots of chunks alone, so that its
// memory is a thousandth of a Tree's. Not thread-safe.
class SparseTree {
 public:
  static constexpr std::uint64_t kChunk = 1024;
  void add(Hash leaf);
  void end();  // after the last leaf, and before what follows
  std::uint64_t size() const { return size_; }
  Hash root() const { return tops_.root(); }
  // As Tree::spine; `chunk`: the leaves from `index - index % kChunk` on, up to kChunk of them.
  std::vector<Hash> spine(std::uint64_t index, const Tree& chunk) const;

 private:
  Tree tops_;
  Frontier chunk_;  // the last one, while it is not full
  std::uint64_t size_ = 0;
};

// Checks leaves in a row against a root known to be authentic. After a false it is of no more use.
class SpineReader {
 public:
  SpineReader(Hash root, std::uint64_t size);
  // False: the leaf, or its spine, is not what the root stands for.
  bool next(const Hash& leaf, const std::vector<Hash>& spine);
  std::uint64_t index() const { return index_; }
  bool done() const { return index_ == size_; }

 private:
  struct Node {
    std::uint64_t to;
    Hash hash;
  };
  std::uint64_t index_ = 0, size_;
  std::vector<Node> right_;  // authentic subtrees to come, the next on top
};

}  // namespace soma::audit
