// RFC 6962's tree.
#include "events/audit/merkle.h"

#include <bit>
#include <iterator>

#include "schemas/base/sha256.h"

namespace soma::audit {

Hash leaf_hash(std::string_view record) {
  std::string bytes;
  bytes.reserve(record.size() + 1);
  bytes.push_back('\0');
  bytes.append(record);
  return sha256(bytes);
}

Hash node_hash(std::string_view left, std::string_view right) {
  char bytes[65] = {1};
  left.copy(bytes + 1, 32);
  right.copy(bytes + 33, 32);
  return sha256({bytes, sizeof bytes});
}

std::uint64_t split_of(std::uint64_t leaves) { return std::bit_floor(leaves - 1); }

void Tree::add(Hash leaf) {
  for (std::size_t level = 0;; ++level) {
    if (level == levels_.size()) levels_.emplace_back();
    std::string& nodes = levels_[level];
    nodes += leaf;
    if (nodes.size() % 64 != 0) return;
    const auto pair = std::string_view(nodes).substr(nodes.size() - 64);
    leaf = node_hash(pair.substr(0, 32), pair.substr(32));
  }
}

Hash Tree::subtree(std::uint64_t from, std::uint64_t to) const {
  const std::uint64_t leaves = to - from;
  if (std::has_single_bit(leaves)) {
    const int level = std::countr_zero(leaves);
    return levels_[static_cast<std::size_t>(level)].substr((from >> level) * 32, 32);
  }
  const std::uint64_t middle = from + split_of(leaves);
  return node_hash(subtree(from, middle), subtree(middle, to));
}

Hash Tree::root() const { return size() == 0 ? sha256("") : subtree(0, size()); }

void Tree::collect(std::uint64_t index, std::uint64_t from, std::uint64_t to,
                   std::vector<Hash>& out) const {
  if (to - from == 1) return;
  const std::uint64_t middle = from + split_of(to - from);
  if (index < middle) {
    collect(index, from, middle, out);
    out.push_back(subtree(middle, to));
  } else {
    collect(index, middle, to, out);
    out.push_back(subtree(from, middle));
  }
}

std::vector<Hash> Tree::path(std::uint64_t index) const {
  std::vector<Hash> out;
  collect(index, 0, size(), out);
  return out;
}

std::vector<Hash> Tree::spine(std::uint64_t index) const {
  // Down to the subtree that begins with this leaf and is the right one of its parent.
  std::uint64_t from = 0, to = size();
  while (from != index) {
    const std::uint64_t middle = from + split_of(to - from);
    if (index < middle)
      to = middle;
    else
      from = middle;
  }
  std::vector<Hash> out;
  while (to - from > 1) {
    const std::uint64_t middle = from + split_of(to - from);
    out.push_back(subtree(middle, to));
    to = middle;
  }
  return out;
}

namespace {

// Consumes the path from its end, which is the sibling nearest to the root.
Hash climb(const Hash& leaf, std::uint64_t index, std::uint64_t size, const std::vector<Hash>& path,
           std::size_t& left) {
  if (size == 1) return left == 0 ? leaf : Hash();
  if (left == 0) return {};
  const Hash& sibling = path[--left];
  const std::uint64_t middle = split_of(size);
  if (index < middle) {
    const Hash below = climb(leaf, index, middle, path, left);
    return below.empty() ? Hash() : node_hash(below, sibling);
  }
  const Hash below = climb(leaf, index - middle, size - middle, path, left);
  return below.empty() ? Hash() : node_hash(sibling, below);
}

}  // namespace

Hash root_of_path(const Hash& leaf, std::uint64_t index, std::uint64_t size,
                  const std::vector<Hash>& path) {
  std::size_t left = path.size();
  return index < size ? climb(leaf, index, size, path, left) : Hash();
}

void Frontier::add(Hash leaf) {
  for (std::uint64_t n = size_++; n & 1; n >>= 1) {
    leaf = node_hash(full_.back(), leaf);
    full_.pop_back();
  }
  full_.push_back(std::move(leaf));
}

Hash Frontier::root() const {
  if (full_.empty()) return sha256("");
  Hash out = full_.back();
  for (std::size_t i = full_.size() - 1; i-- > 0;) out = node_hash(full_[i], out);
  return out;
}

void SparseTree::add(Hash leaf) {
  chunk_.add(std::move(leaf));
  if (++size_ % kChunk == 0) end();
}

void SparseTree::end() {
  if (chunk_.size() > 0) tops_.add(chunk_.root());
  chunk_ = {};
}

std::vector<Hash> SparseTree::spine(std::uint64_t index, const Tree& chunk) const {
  if (index % kChunk != 0) return chunk.spine(index % kChunk);
  // Chunks split where the leaves do, so the chunk's own spine goes on where that of chunks ends.
  auto out = tops_.spine(index / kChunk);
  auto below = chunk.spine(0);
  out.insert(out.end(), std::make_move_iterator(below.begin()),
             std::make_move_iterator(below.end()));
  return out;
}

SpineReader::SpineReader(Hash root, std::uint64_t size) : size_(size) {
  right_.push_back({size, std::move(root)});
}

bool SpineReader::next(const Hash& leaf, const std::vector<Hash>& spine) {
  if (done() || right_.empty()) return false;
  const Node top = std::move(right_.back());
  right_.pop_back();
  std::uint64_t to = top.to;
  std::vector<std::uint64_t> ends;
  while (to - index_ > 1) {
    ends.push_back(to);
    to = index_ + split_of(to - index_);
  }
  if (ends.size() != spine.size()) return false;
  Hash hash = leaf;
  for (std::size_t i = spine.size(); i-- > 0;) hash = node_hash(hash, spine[i]);
  if (hash != top.hash) return false;
  for (std::size_t i = 0; i < spine.size(); ++i) right_.push_back({ends[i], spine[i]});
  ++index_;
  return true;
}

}  // namespace soma::audit
