// The consumer protocol's assignment, read with every length checked.
#include "events/kafka/assignment.h"

#include <cstdint>
#include <optional>

namespace soma::events::kafka {

namespace {

constexpr std::string_view kClient = "soma-";

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  // Two or four bytes.
  std::optional<std::uint32_t> number(std::size_t width) {
    const auto bytes = take(width);
    if (!bytes) return {};
    std::uint32_t out = 0;
    for (const char c : *bytes) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  std::optional<std::string_view> take(std::size_t count) {
    if (rest_.size() < count) return {};
    const auto out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::set<PartitionId> assigned(std::string_view bytes, std::string_view topic) {
  Reader in(bytes);
  std::set<PartitionId> out;
  if (!in.number(2)) return {};  // version: later ones only add behind
  const auto topics = in.number(4);
  for (std::uint32_t t = 0; topics && t < *topics; ++t) {
    const auto length = in.number(2);
    const auto name = length ? in.take(*length) : std::nullopt;
    const auto partitions = name ? in.number(4) : std::nullopt;
    if (!partitions) return {};
    for (std::uint32_t i = 0; i < *partitions; ++i) {
      const auto partition = in.number(4);
      if (!partition) return {};
      if (*name == topic) out.insert(PartitionId{*partition});
    }
  }
  return out;
}

std::string client_of_node(const std::string& node_id) { return std::string(kClient) + node_id; }

std::string node_of_client(const std::string& client_id) {
  return client_id.starts_with(kClient) ? client_id.substr(kClient.size()) : std::string();
}

}  // namespace soma::events::kafka
