// Precedence, clear errors, secrets, and the table that drives it all.
#include "runtime/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace soma::runtime::config {
namespace {

using testing::HasSubstr;
using testing::Not;

struct ConfigTest : testing::Test {
  std::filesystem::path dir;
  std::map<std::string, std::string> variables;

  ConfigTest() {
    std::string name = (std::filesystem::temp_directory_path() / "soma-config-XXXXXX").string();
    dir = ::mkdtemp(name.data());
  }
  ~ConfigTest() override { std::filesystem::remove_all(dir); }

  std::string file(const std::string& text, const std::string& name = "soma.yaml") {
    const auto path = dir / name;
    std::ofstream(path) << text;
    return path.string();
  }
  Result<Config> load(const FlagValues& flags = {}) { return load_config(flags, environment()); }
  Environment environment() {
    return [this](const std::string& name) {
      const auto it = variables.find(name);
      return it == variables.end() ? std::nullopt : std::optional(it->second);
    };
  }
  std::string error_of(const FlagValues& flags) {
    const auto config = load(flags);
    return config ? "" : config.error().message;
  }
};

TEST_F(ConfigTest, DefaultsAreThoseOfTheStruct) {
  const auto config = load();
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const Config plain;
  for (const Setting& s : settings_table()) EXPECT_EQ(s.show(*config), s.show(plain)) << s.key;
}

TEST_F(ConfigTest, PropertiesOfTheKafkaClientPassThrough) {
  variables = {
      {"SOMA_KAFKA_CLIENT", "security.protocol=SASL_SSL\n# a comment\nsasl.password=a=b;c"}};
  auto config = load();
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kafka_client,
            (std::map<std::string, std::string>{{"security.protocol", "SASL_SSL"},
                                                {"sasl.password", "a=b;c"}}));
  variables = {{"SOMA_CONFIG", file("kafka:\n  client:\n    ssl.ca.location: /ca.pem\n")}};
  config = load();
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kafka_client.at("ssl.ca.location"), "/ca.pem");
  variables = {{"SOMA_KAFKA_CLIENT", "security.protocol"}};
  EXPECT_NE(error_of({}).find("name=value"), std::string::npos);
}

TEST_F(ConfigTest, FlagsThenEnvironmentThenFileThenDefault) {
  const std::string path =
      file("listen: 127.0.0.1:1\nmemory:\n  listen: 127.0.0.1:2\ndata_dir: from-file\n");
  variables = {
      {"SOMA_CONFIG", path}, {"SOMA_LISTEN", "127.0.0.1:3"}, {"SOMA_MEMORY_LISTEN", "off"}};
  const auto config = load({{"--listen", "127.0.0.1:4"}});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->listen, "127.0.0.1:4");
  EXPECT_EQ(config->memory_listen, "");
  EXPECT_EQ(config->data_dir, "from-file");
  EXPECT_EQ(config->mode, "developer-light");
  const auto origins = explain_config({{"--listen", "127.0.0.1:4"}}, environment());
  ASSERT_TRUE(origins.has_value());
  std::map<std::string, std::string> source;
  for (const auto& o : *origins) source[o.key] = o.source;
  EXPECT_EQ(source["listen"], "flag --listen");
  EXPECT_EQ(source["memory.listen"], "env SOMA_MEMORY_LISTEN");
  EXPECT_EQ(source["data_dir"], "file " + path);
  EXPECT_EQ(source["mode"], "default");
}

TEST_F(ConfigTest, YamlNestedDottedAndLists) {
  const auto config =
      load({{"config", file("slm:\n  openai: {base_url: 'http://h/v1', model: m}\n"
                            "constitution.trusted_keys: [a.pem, b.pem]\n"
                            "partition_count: 16\nkill_switch: true\nnode_id:\n")}});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->slm_openai_base_url, "http://h/v1");
  EXPECT_EQ(config->slm_openai_model, "m");
  EXPECT_EQ(config->constitution_trusted_keys, (std::vector<std::string>{"a.pem", "b.pem"}));
  EXPECT_EQ(config->partition_count, 16u);
  EXPECT_TRUE(config->kill_switch);
  EXPECT_EQ(config->node_id, "");
}

TEST_F(ConfigTest, UnknownKeysAreNamedWithTheNearest) {
  const std::string path = file("memory:\n  listne: x\n");
  EXPECT_THAT(error_of({{"config", path}}), HasSubstr("unknown setting memory.listne in " + path +
                                                      "; did you mean memory.listen?"));
  EXPECT_THAT(error_of({{"--lisen", "x"}}),
              HasSubstr("unknown setting --lisen in the command line"));
  EXPECT_THAT(error_of({{"config", file("wholly_other_thing: 1\n")}}), HasSubstr("--help"));
}

TEST_F(ConfigTest, BadValuesNameKeyPlaceAndFix) {
  const std::pair<FlagValues, const char*> cases[] = {
      {{{"listen", "8080"}}, "listen must be HOST:PORT"},
      {{{"listen", "127.0.0.1:70000"}}, "listen must be"},
      {{{"listen", ":8080"}}, "listen must be"},
      {{{"listen", "off"}}, "listen must be"},
      {{{"memory.listen", "1.2.3.4"}}, ", or off (from flag --memory-listen)"},
      {{{"mode", "prod"}}, "mode must be one of developer-light, developer-full, test"},
      {{{"partition_count", "0"}}, "partition_count must be a whole number from 1 to 1024"},
      {{{"partition_count", "8.5"}}, "partition_count must be"},
      {{{"partition_count", " 8"}}, "partition_count must be"},
      {{{"partition_count", "99999999999999999999"}}, "partition_count must be"},
      {{{"kill_switch", "maybe"}}, "kill_switch must be true or false"},
      {{{"postgres.url", "mysql://x"}}, "postgres.url must be a URL that begins with postgres://"},
      {{{"slm.openai.base_url", "http://"}}, "slm.openai.base_url must be"},
      {{{"slm.openai.base_url", "http://a b"}}, "slm.openai.base_url must be"},
      {{{"data_dir", ""}}, "data_dir must name a folder"},
      {{{"log.level", "loud"}}, "log.level must be one of debug"},
      {{{"kafka.trusted_producers", "true"}, {"mode", "production"}}, "only for developer modes"},
      {{{"memory.backend_url", "http://brain:8000"}}, "is not supported by this build"},
      {{{"config", "/does/not/exist.yaml"}}, "cannot read /does/not/exist.yaml"},
  };
  for (const auto& [flags, expected] : cases) EXPECT_THAT(error_of(flags), HasSubstr(expected));
  variables["SOMA_LISTEN"] = "x";
  EXPECT_THAT(error_of({}), HasSubstr("(from env SOMA_LISTEN)"));
}

TEST_F(ConfigTest, TlsByHalvesIsRefused) {
  const std::vector<std::pair<FlagValues, std::string>> cases = {
      {{{"http.tls.cert_file", "c"}}, "http.tls.cert_file needs http.tls.key_file too"},
      {{{"http.tls.key_file", "k"}}, "http.tls.key_file needs http.tls.cert_file too"},
      {{{"http.tls.client_ca_file", "a"}}, "http.tls.client_ca_file needs http.tls.cert_file too"},
      {{{"http.tls.cert_file", "c"}, {"http.tls.key_file", "k"}, {"http.tls.client_names", "n"}},
       "http.tls.client_names needs http.tls.client_ca_file too"},
      {{{"http.tls.cert_file", "c"}, {"http.tls.key_file", "k"}, {"http.tls.client_crl_file", "l"}},
       "http.tls.client_crl_file needs http.tls.client_ca_file too"},
      {{{"cluster.tls.cert_file", "c"}, {"cluster.tls.key_file", "k"}}, "cluster.tls.ca_file too"},
      {{{"cluster.tls.ca_file", "a"}}, "cluster.tls.cert_file too"},
  };
  for (const auto& [flags, expected] : cases) EXPECT_THAT(error_of(flags), HasSubstr(expected));
  EXPECT_TRUE(load({{"http.tls.cert_file", "c"},
                    {"http.tls.key_file", "k"},
                    {"http.tls.client_ca_file", "a"},
                    {"http.tls.client_names", "n"},
                    {"cluster.tls.cert_file", "c"},
                    {"cluster.tls.key_file", "k"},
                    {"cluster.tls.ca_file", "a"}}));
}

TEST_F(ConfigTest, BrokenYamlNamesItsPlace) {
  EXPECT_THAT(error_of({{"config", file("listen: [1\nx: {")}}),
              HasSubstr("not valid YAML at line"));
  EXPECT_THAT(error_of({{"config", file("- a\n- b\n")}}), HasSubstr("must be a mapping"));
  EXPECT_THAT(error_of({{"config", file("memory: {listen: off}\nmemory.listen: off\n")}}),
              HasSubstr("twice"));
  EXPECT_THAT(error_of({{"config", file("config: other.yaml\n")}}),
              HasSubstr("config cannot be set"));
  EXPECT_THAT(error_of({{"config", file("a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}\n")}}),
              HasSubstr("deeper"));
  EXPECT_TRUE(load({{"config", file("")}}).has_value());
}

TEST_F(ConfigTest, SecretsComeFromFilesAndAreNeverShown) {
  const std::string secret = "0123456789abcdef0123456789abcdef";
  variables["SOMA_IDENTITY_HS256_SECRET_FILE"] = file(secret + "\n", "secret");
  auto config = load();
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->identity_hs256_secret, secret);
  const auto origins = explain_config({}, environment());
  for (const auto& o : *origins) EXPECT_THAT(o.value, Not(HasSubstr(secret)));
  variables["SOMA_IDENTITY_HS256_SECRET"] = secret;
  EXPECT_THAT(error_of({}), HasSubstr("both SOMA_IDENTITY_HS256_SECRET and"));
  variables.erase("SOMA_IDENTITY_HS256_SECRET_FILE");
  variables["SOMA_IDENTITY_HS256_SECRET"] = "short-one";
  EXPECT_THAT(error_of({}), HasSubstr("at least 32 bytes"));
  EXPECT_THAT(error_of({}), Not(HasSubstr("short-one")));
  variables["SOMA_POSTGRES_URL_FILE"] = file("postgres://u:pw@h/db\n", "url");
  variables["SOMA_IDENTITY_HS256_SECRET"] = "";
  const auto shown = explain_config({}, environment());
  ASSERT_TRUE(shown.has_value());
  for (const auto& o : *shown) EXPECT_THAT(o.value, Not(HasSubstr("pw")));
  EXPECT_EQ(load()->postgres_url, "postgres://u:pw@h/db");
}

TEST_F(ConfigTest, TheTableIsWhole) {
  std::set<std::string> keys;
  std::set<std::string> names;
  for (const Setting& s : settings_table()) {
    EXPECT_TRUE(keys.insert(s.key).second) << s.key;
    EXPECT_TRUE(names.insert(s.env).second) << s.env;
    EXPECT_EQ(s.flag.empty(), s.secret) << s.key;
    EXPECT_FALSE(s.help.empty()) << s.key;
    EXPECT_THAT(settings_help(), HasSubstr(s.key));
    EXPECT_THAT(settings_markdown(), HasSubstr('`' + s.env + '`'));
  }
  for (const char* env :
       {"SOMA_DATA_DIR", "SOMA_LISTEN", "SOMA_MEMORY_LISTEN", "SOMA_METRICS_LISTEN",
        "SOMA_KAFKA_BROKERS", "SOMA_NODE_ID", "SOMA_KAFKA_TOPIC_PREFIX", "SOMA_POSTGRES_URL",
        "SOMA_SLM_OPENAI_BASE_URL", "SOMA_SLM_OPENAI_API_KEY", "SOMA_SLM_OPENAI_MODEL",
        "SOMA_SLM_LOCAL", "SOMA_MEMORY_BACKEND_URL", "SOMA_CONSTITUTION_TRUSTED_KEYS",
        "SOMA_IDENTITY_JWKS", "SOMA_IDENTITY_HS256_SECRET", "SOMAGENT_DEPLOYMENT_MODE",
        "SOMAGENT_GATEWAY_KILL_SWITCH_ENABLED", "SOMA_CONFIG"})
    EXPECT_TRUE(names.contains(env)) << env;
}

}  // namespace
}  // namespace soma::runtime::config
