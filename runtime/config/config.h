// Every setting of the node: one table drives parsing, help and documentation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::runtime::config {

struct Config {
  std::string data_dir = ".soma";
  std::string listen = "127.0.0.1:8080";
  std::string memory_listen = "127.0.0.1:9696";  // empty: off
  std::string metrics_listen;                    // empty: off (at /metrics of the gateway)
  std::string kafka_brokers;                     // empty: embedded log
  std::string kafka_topic_prefix;
  bool kafka_trusted_producers = false;
  bool kafka_manage_topics = true;
  bool kafka_integrators = true;
  std::string kafka_compression = "lz4";
  std::uint32_t kafka_producers = 4;
  std::uint64_t kafka_append_timeout_ms = 10000;
  std::uint64_t kafka_session_timeout_ms = 6000;
  std::map<std::string, std::string> kafka_client;  // further properties of librdkafka
  std::string node_id;                              // empty: made at first start
  std::string cluster_listen = "127.0.0.1:0";       // for the other nodes
  std::string cluster_advertise;                    // empty: as bound
  std::string cluster_secret;
  std::string cluster_tls_cert_file, cluster_tls_key_file, cluster_tls_ca_file;  // empty: no TLS
  std::uint32_t cluster_standbys = 1;
  std::uint64_t cluster_acceptable_lag = 10'000;  // records
  std::string privacy_master_key;
  std::vector<std::string> privacy_removed_nodes;
  std::string postgres_url;         // empty: private cluster
  std::string slm_openai_base_url;  // empty: local model
  std::string slm_openai_api_key;
  std::string slm_openai_model;
  std::string slm_local = "auto";      // auto, off, or a GGUF file
  std::string slm_embedding = "auto";  // auto, off, or a GGUF file
  std::uint64_t slm_wait_ms = 120000;
  std::string slm_ca_file;                             // empty: the system's authorities
  std::string memory_backend_url;                      // empty: built-in
  std::vector<std::string> constitution_trusted_keys;  // PEM files
  std::string identity_jwks;
  std::string identity_hs256_secret;
  std::string identity_issuer;
  std::string identity_audience;
  std::string mode = "developer-light";
  bool mode_two_keys = false;
  bool erasure_two_keys = false;
  std::string config_file;
  bool kill_switch = false;

  std::uint32_t partition_count = 8;
  std::uint32_t http_threads = 1;
  std::uint64_t http_body_limit_bytes = 1024 * 1024;
  std::uint64_t http_max_connections = 4096;
  std::vector<std::string> http_cors_origins;
  std::string http_access_log = "errors";             // off, errors, all
  std::string http_tls_cert_file, http_tls_key_file;  // empty: no TLS
  std::string http_tls_client_ca_file;                // empty: clients need no certificate
  std::string http_tls_client_crl_file;
  std::vector<std::string> http_tls_client_names;
  std::uint64_t drain_timeout_ms = 10000;
  std::uint64_t mailbox_limit = 1024;         // commands waiting per actor
  std::uint64_t active_actors_limit = 20000;  // in memory; idle ones are passivated beyond it
  std::uint64_t idle_actor_s = 60;
  std::uint64_t checkpoint_every_events = 20000;
  std::uint64_t segment_bytes = 64 * 1024 * 1024;
  std::uint64_t read_at_open_bytes = 128 * 1024 * 1024;
  std::uint64_t audit_head_interval_s = 3600;  // signed heads; 0: only when asked
  std::uint64_t position_wait_ms = 2000;       // reads that carry Soma-Position
  std::string log_level = "info";
  std::string log_format = "auto";  // auto, json, text
};

// One row of the table. `flag` is empty where the command line must not carry the value (secrets).
struct Setting {
  std::string key;       // YAML, dotted: "slm.openai.base_url"
  std::string env;       // SOMA_SLM_OPENAI_BASE_URL
  std::string flag;      // "--slm-openai-base-url"
  std::string fallback;  // the default as text; empty: none
  std::string help;      // one sentence
  bool secret = false;   // never shown or logged
  bool in_file = false;  // ENV_FILE may name a file that holds it: secrets, and what may have one
  std::string takes;     // "HOST:PORT|off", "INT 1..1024", for --help
  std::function<Status(Config&, const std::string&)> apply;  // checks and stores
  std::function<std::string(const Config&)> show;            // "***" for secrets
};
const std::vector<Setting>& settings_table();

// By precedence: flags (by flag name or key) > environment (and *_FILE of secrets) > YAML file >
// default. An error names the key, where the value came from, and the fix. Unknown YAML keys and
// flags are errors; unknown SOMA_ variables are not, other programs own some.
using FlagValues = std::map<std::string, std::string>;
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Result<Config> load_config(const FlagValues& flags);
Result<Config> load_config(const FlagValues& flags, const Environment& environment);

// Settings with the place each value came from: "flag", "env NAME", "file PATH", "default".
struct Origin {
  std::string key;
  std::string value;
  std::string source;
};
Result<std::vector<Origin>> explain_config(const FlagValues& flags, const Environment& environment);

std::string settings_help();      // text for --help
std::string settings_markdown();  // table for docs
bool is_known_mode(std::string_view mode);
const std::vector<std::string>& known_modes();

}  // namespace soma::runtime::config
