// Reads librdkafka's statistics, a JSON text of some KB each second.
#include "events/kafka/statistics.h"

#include <algorithm>
#include <boost/json.hpp>

namespace soma::events::kafka {

namespace json = boost::json;

namespace {

std::uint64_t number(const json::object& o, std::string_view key) {
  const auto* v = o.if_contains(key);
  if (!v) return 0;
  if (const auto* i = v->if_int64()) return *i < 0 ? 0 : static_cast<std::uint64_t>(*i);
  const auto* u = v->if_uint64();
  return u ? *u : 0;
}

}  // namespace

Statistics read_statistics(std::string_view text) {
  Statistics out;
  boost::system::error_code error;
  const json::value root = json::parse({text.data(), text.size()}, error);
  if (error || !root.is_object()) return out;
  const auto& o = root.get_object();
  out.at_us = static_cast<std::int64_t>(number(o, "ts"));
  out.queued_records = number(o, "msg_cnt");
  out.sent_bytes = number(o, "tx_bytes");
  const auto* brokers = o.if_contains("brokers");
  if (!brokers || !brokers->is_object()) return out;
  for (const auto& [name, value] : brokers->get_object()) {
    const auto* broker = value.if_object();
    if (!broker) continue;
    const auto* state = broker->if_contains("state");
    if (state && state->is_string() && state->get_string() == "UP") ++out.brokers_up;
    if (const auto* rtt = broker->if_contains("rtt"); rtt && rtt->is_object())
      out.rtt_avg_us = std::max(out.rtt_avg_us, number(rtt->get_object(), "avg"));
  }
  return out;
}

}  // namespace soma::events::kafka
