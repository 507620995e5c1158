// Fuzzes files that people write: YAML is refused with a line or becomes JSON that is itself YAML
// of the same value; and every setting takes any text or says what it wants.
#include <boost/json.hpp>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/config/config.h"
#include "runtime/config/yaml_json.h"

using namespace soma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto value = runtime::json_of_yaml(text)) {
    const auto again = runtime::json_of_yaml(boost::json::serialize(*value));
    if (!again || boost::json::serialize(*again) != boost::json::serialize(*value)) std::abort();
  } else if (value.error().message.empty()) {
    std::abort();
  }
  const auto& table = runtime::config::settings_table();
  const auto& setting = table[size == 0 ? 0 : data[0] % table.size()];
  runtime::config::Config config;
  const std::string given = size == 0 ? text : text.substr(1);
  if (const auto ok = setting.apply(config, given); !ok && ok.error().message.empty()) std::abort();
  if (setting.secret && setting.show(config) != "" && setting.show(config) != "***") std::abort();
  return 0;
}
