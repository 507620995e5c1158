// The table of settings: the one place that knows keys, variables, flags, defaults and help.
#include <cctype>

#include "runtime/config/config.h"
#include "runtime/config/setting_rules.h"

namespace soma::runtime::config {
namespace {

// slm.openai.base_url -> SOMA_SLM_OPENAI_BASE_URL, --slm-openai-base-url
std::string derive(const std::string& key, bool env) {
  std::string out = env ? "SOMA_" : "--";
  for (const char c : key) {
    if (c == '.' || c == '_')
      out += env ? '_' : '-';
    else
      out += env ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
  }
  return out;
}

Setting row(std::string key, std::string fallback, std::string help, std::string takes = {}) {
  Setting s;
  s.env = derive(key, true);
  s.flag = derive(key, false);
  s.key = std::move(key);
  s.fallback = std::move(fallback);
  s.help = std::move(help);
  s.takes = std::move(takes);
  return s;
}
Setting renamed(Setting s, std::string flag, std::string env = {}) {
  s.flag = std::move(flag);
  if (!env.empty()) s.env = std::move(env);
  return s;
}
// A secret has no flag: command lines are visible to every user of the machine.
Setting secret(Setting s) {
  s.secret = s.in_file = true;
  s.flag.clear();
  return s;
}
// A URL may carry a password; whoever has one there keeps it in a file.
Setting in_file(Setting s) {
  s.in_file = true;
  return s;
}

std::vector<Setting> places() {
  using namespace rules;
  return {
      text(row("config", "", "YAML file with settings", "FILE"), &Config::config_file),
      text(row("data_dir", ".soma", "Folder that holds the log, keys and caches", "DIR"),
           &Config::data_dir),
      listen(row("listen", "127.0.0.1:8080", "Address of the gateway; port 0 picks a free one"),
             &Config::listen, false),
      listen(row("memory.listen", "127.0.0.1:9696", "Address of the SomaBrain-compatible routes"),
             &Config::memory_listen, true),
      listen(row("metrics.listen", "off", "Own address for /metrics; off: at the gateway"),
             &Config::metrics_listen, true),
      text(renamed(row("kafka.brokers", "", "Kafka brokers; none: the embedded log", "HOST:PORT,…"),
                   "--kafka"),
           &Config::kafka_brokers),
      text(row("kafka.topic_prefix", "", "Put before every topic's name", "TEXT"),
           &Config::kafka_topic_prefix),
      flag(row("kafka.trusted_producers", "false",
               "Accept records without a token; developer modes only"),
           &Config::kafka_trusted_producers),
      flag(row("kafka.manage_topics", "true",
               "Make and check topics; false where brokers do not let this user"),
           &Config::kafka_manage_topics),
      flag(row("kafka.integrators", "true",
               "Publish events on public topics and take commands from topics"),
           &Config::kafka_integrators),
      choice(row("kafka.compression", "lz4", "Compression of the journal's records"),
             &Config::kafka_compression, {"none", "lz4", "zstd"}),
      number(row("kafka.producers", "4",
                 "Connections that append to the journal; each has one request at a time"),
             &Config::kafka_producers, 1, 16),
      number(row("kafka.append_timeout_ms", "10000",
                 "Wait for an append's acknowledgement; then its outcome is unknown. On a cluster "
                 "a node answers what its log has not confirmed within this and a second"),
             &Config::kafka_append_timeout_ms, 100, 300000),
      number(row("kafka.session_timeout_ms", "6000",
                 "Silence after which a node's turn passes to another"),
             &Config::kafka_session_timeout_ms, 1000, 300000),
      properties(secret(row("kafka.client", "",
                            "Further properties of librdkafka (TLS, SASL), one name=value a line; "
                            "in YAML also as a mapping")),
                 &Config::kafka_client),
  };
}

std::vector<Setting> nodes() {
  using namespace rules;
  return {
      text(row("node_id", "", "Name of this node; none: made at first start and kept", "NAME"),
           &Config::node_id),
      listen(row("cluster.listen", "127.0.0.1:0",
                 "Address at which the cluster's other nodes reach this one; port 0 picks a free "
                 "one"),
             &Config::cluster_listen, false),
      text(row("cluster.advertise", "", "Where they find it; none: the address as bound",
               "HOST:PORT"),
           &Config::cluster_advertise),
      text(secret(row("cluster.secret", "",
                      "Shared secret of the cluster's nodes, at least 32 bytes")),
           &Config::cluster_secret),
      text(row("cluster.tls.cert_file", "",
               "Certificate chain (PEM) that this node shows to the others; its names are those of "
               "cluster.advertise. With it nodes speak TLS to each other, both sides with "
               "certificates; none: signed messages in the clear",
               "FILE"),
           &Config::cluster_tls_cert_file),
      text(row("cluster.tls.key_file", "", "Key (PEM) of that certificate", "FILE"),
           &Config::cluster_tls_key_file),
      text(row("cluster.tls.ca_file", "", "Authorities (PEM) that vouch for the cluster's nodes",
               "FILE"),
           &Config::cluster_tls_ca_file),
      number(row("cluster.standbys", "1",
                 "Other nodes that keep themselves warm for each partition; 0: none"),
             &Config::cluster_standbys, 0, 16),
      number(row("cluster.acceptable_lag", "10000",
                 "Records that a joining node may lack before it takes partitions from others"),
             &Config::cluster_acceptable_lag, 0, 1'000'000'000),
      text(secret(row("privacy.master_key", "",
                      "Key under which the keys of persons' data are kept, 64 hexadecimal digits; "
                      "none: made at first start, in the data folder's vault")),
           &Config::privacy_master_key),
      list(row("privacy.removed_nodes", "",
               "Nodes of the cluster that never come back and whose data folders are deleted: "
               "certificates of erasures do not wait for them",
               "NODE_ID,…"),
           &Config::privacy_removed_nodes),
  };
}

std::vector<Setting> deployment() {
  using namespace rules;
  return {
      url(in_file(renamed(row("postgres.url", "",
                              "PostgreSQL to use; none: a private one in the data folder", "URL"),
                          "--postgres")),
          &Config::postgres_url, {"postgres://", "postgresql://"}),
      choice(renamed(row("mode", "developer-light", "Deployment mode"), "--mode",
                     "SOMAGENT_DEPLOYMENT_MODE"),
             &Config::mode, known_modes()),
      flag(row("mode_two_keys", "false",
               "Leaving a production mode over the API waits for a second person"),
           &Config::mode_two_keys),
      flag(row("erasure_two_keys", "false",
               "In production modes the erasure of a person's data waits for a second person"),
           &Config::erasure_two_keys),
      flag(renamed(row("kill_switch", "false", "Start with new sessions refused"), "--kill-switch",
                   "SOMAGENT_GATEWAY_KILL_SWITCH_ENABLED"),
           &Config::kill_switch),
  };
}

std::vector<Setting> services() {
  using namespace rules;
  return {
      url(row("slm.openai.base_url", "", "OpenAI-compatible upstream; none: the local model",
              "URL"),
          &Config::slm_openai_base_url, {"http://", "https://"}),
      text(secret(row("slm.openai.api_key", "", "Key of the upstream")),
           &Config::slm_openai_api_key),
      text(row("slm.openai.model", "", "Model to ask the upstream for", "NAME"),
           &Config::slm_openai_model),
      text(row("slm.local", "auto", "Local chat model", "auto|off|FILE.gguf"), &Config::slm_local),
      text(row("slm.embedding", "auto",
               "Local embedding model. off: the server of slm.openai.base_url makes the vectors, "
               "so that texts go there; without one nobody does",
               "auto|off|FILE.gguf"),
           &Config::slm_embedding),
      text(row("slm.ca_file", "",
               "Authorities (PEM) that vouch for https:// model servers; none: the system's",
               "FILE"),
           &Config::slm_ca_file),
      number(row("slm.wait_ms", "120000", "Longest wait of a caller for a model; then 504"),
             &Config::slm_wait_ms, 1000, 600000),
      url(row("memory.backend_url", "",
              "External SomaBrain (not supported yet); none: the built-in memory", "URL"),
          &Config::memory_backend_url, {"http://", "https://"}),
      list(row("constitution.trusted_keys", "", "PEM files of keys that may sign a constitution",
               "FILE,…"),
           &Config::constitution_trusted_keys),
      text(row("identity.jwks", "", "Keys that verify tokens", "FILE|JSON"),
           &Config::identity_jwks),
      text(secret(row("identity.hs256_secret", "",
                      "Shared secret that verifies HS256 tokens, at "
                      "least 32 bytes")),
           &Config::identity_hs256_secret),
      text(row("identity.issuer", "", "Required `iss` of tokens; none: any", "TEXT"),
           &Config::identity_issuer),
      text(row("identity.audience", "", "Required `aud` of tokens; none: absent, or soma", "TEXT"),
           &Config::identity_audience),
  };
}

std::vector<Setting> limits() {
  using namespace rules;
  return {
      number(row("partition_count", "8", "Partitions of the log; fixed at first start"),
             &Config::partition_count, 1, 1024),
      number(row("http.threads", "1", "Threads that serve HTTP"), &Config::http_threads, 1, 16),
      number(row("http.body_limit_bytes", "1048576", "Largest request body of most routes"),
             &Config::http_body_limit_bytes, 1024, 64ull << 20),
      number(row("http.max_connections", "4096", "Open connections"), &Config::http_max_connections,
             1, 100000),
      list(row("http.cors_origins", "", "Origins that browsers may call from", "URL,…"),
           &Config::http_cors_origins),
      choice(row("http.access_log", "errors", "Requests logged: none, 401, 403 and 5xx, all"),
             &Config::http_access_log, {"off", "errors", "all"}),
      text(row("http.tls.cert_file", "",
               "Certificate chain (PEM) of this node for clients; with it all its ports speak "
               "HTTPS. Read again when it changes",
               "FILE"),
           &Config::http_tls_cert_file),
      text(row("http.tls.key_file", "", "Key (PEM) of that certificate", "FILE"),
           &Config::http_tls_key_file),
      text(
          row("http.tls.client_ca_file", "",
              "Authorities (PEM) of clients' certificates; with it every client shows one", "FILE"),
          &Config::http_tls_client_ca_file),
      text(row("http.tls.client_crl_file", "", "Revoked certificates (PEM) of those authorities",
               "FILE"),
           &Config::http_tls_client_crl_file),
      list(row("http.tls.client_names", "",
               "Clients let in, by DNS name or URI of their certificates; none: all that those "
               "authorities vouch for",
               "NAME,…"),
           &Config::http_tls_client_names),
      number(row("drain_timeout_ms", "10000", "Longest wait for running work at SIGTERM"),
             &Config::drain_timeout_ms, 0, 600000),
      number(row("mailbox_limit", "1024", "Commands that may wait for one actor"),
             &Config::mailbox_limit, 1, 1000000),
      number(row("active_actors_limit", "20000", "Actors held in memory, each partition"),
             &Config::active_actors_limit, 16, 10000000),
      number(row("idle_actor_s", "60", "Seconds until an idle actor leaves memory"),
             &Config::idle_actor_s, 1, 86400),
      number(row("checkpoint_every_events", "20000",
                 "Events of a partition after which its changed actors' snapshots are written; "
                 "in any case every 5 s"),
             &Config::checkpoint_every_events, 1, 10000000),
      number(row("segment_bytes", "67108864", "Size of a log segment file"), &Config::segment_bytes,
             1ull << 20, 1ull << 30),
      number(row("read_at_open_bytes", "134217728",
                 "Bytes of the newest segments read before a start; older ones are read behind it"),
             &Config::read_at_open_bytes, 0, 1ull << 40),
      number(row("audit.head_interval_s", "3600", "Seconds between signed heads; 0: when asked"),
             &Config::audit_head_interval_s, 0, 86400 * 31),
      number(row("position_wait_ms", "2000", "Longest wait of a read for its Soma-Position"),
             &Config::position_wait_ms, 0, 60000),
      choice(row("log.level", "info", "Least severe log line written"), &Config::log_level,
             {"debug", "info", "warn", "error", "off"}),
      choice(row("log.format", "auto", "Form of log lines; auto: text on a terminal, else JSON"),
             &Config::log_format, {"auto", "json", "text"}),
  };
}

}  // namespace

const std::vector<std::string>& known_modes() {
  static const std::vector<std::string> modes = {
      "developer-light", "developer-full", "test", "test-debug", "production", "production-debug"};
  return modes;
}

bool is_known_mode(std::string_view mode) {
  for (const auto& known : known_modes())
    if (known == mode) return true;
  return false;
}

const std::vector<Setting>& settings_table() {
  static const std::vector<Setting> table = [] {
    std::vector<Setting> rows;
    for (auto part : {places(), nodes(), deployment(), services(), limits()})
      rows.insert(rows.end(), part.begin(), part.end());
    return rows;
  }();
  return table;
}

std::string settings_help() {
  std::string out;
  for (const Setting& s : settings_table()) {
    std::string head = "  " + (s.flag.empty() ? s.env + "[_FILE]" : s.flag);
    if (!s.flag.empty() && !s.takes.empty()) head += ' ' + s.takes;
    out += head + "\n      " + s.help + " (" + s.key + ", " + s.env;
    if (!s.fallback.empty()) out += "; default " + s.fallback;
    out += ")\n";
  }
  return out;
}

std::string settings_markdown() {
  const auto code = [](const std::string& t) {
    std::string out;
    for (const char c : t) out += c == '|' ? std::string("\\|") : std::string(1, c);
    return t.empty() ? std::string() : '`' + out + '`';
  };
  std::string out =
      "| setting | variable | flag | default | takes | what |\n|---|---|---|---|---|---|\n";
  for (const Setting& s : settings_table())
    out += "| " + code(s.key) + " | " + code(s.env) + (s.in_file ? ", `…_FILE`" : "") + " | " +
           code(s.flag) + " | " + code(s.fallback) + " | " + code(s.takes) + " | " + s.help +
           " |\n";
  return out;
}

}  // namespace soma::runtime::config
