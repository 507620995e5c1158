// The token corpus (gate S2): every class of forged, stale and odd token, with the verdict it must
// get.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "runtime/security/authenticator.h"
#include "test_keys.h"

namespace soma::runtime::security {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;
constexpr const char* kGood = "good";
constexpr const char* kInvalid = "Invalid token";
constexpr const char* kExpired = "Token expired";
constexpr const char* kIncomplete = "Incomplete token claims";
constexpr const char* kMissing = "Missing bearer token";

struct Case {
  std::string name;
  std::string token;
  const char* verdict;
};

// Claims with some replaced: {"exp", "1"} sets, {"exp", ""} leaves out.
std::string claims(const std::map<std::string, std::string>& changes = {}) {
  std::map<std::string, std::string> all = {{"sub", "\"sam\""},
                                            {"tenant_id", "\"acme\""},
                                            {"capabilities", "[\"session:*\"]"},
                                            {"iat", std::to_string(kNow - 10)},
                                            {"exp", std::to_string(kNow + 600)},
                                            {"jti", "\"j1\""}};
  for (const auto& [name, value] : changes) all[name] = value;
  std::string out = "{";
  for (const auto& [name, value] : all)
    if (!value.empty()) (((out += out.size() > 1 ? ",\"" : "\"") += name) += "\":") += value;
  return out + "}";
}

struct Corpus : testing::Test {
  static TestKeys& keys() {
    static TestKeys instance;
    return instance;
  }
  std::vector<Case> cases;

  static std::string body(const std::string& header, const std::string& payload) {
    return base64url_encode(header) + '.' + base64url_encode(payload);
  }
  static std::string with(const std::string& signed_part, const std::string& signature) {
    return signed_part + '.' + base64url_encode(signature);
  }
  static std::string hs(const std::string& header, const std::string& payload,
                        const std::string& secret = kSecret) {
    const std::string text = body(header, payload);
    return with(text, TestKeys::hs256(text, secret));
  }
  static std::string hs_claims(const std::map<std::string, std::string>& changes) {
    return hs(R"({"alg":"HS256","typ":"JWT"})", claims(changes));
  }
  static std::string hs_header(const std::string& members) {
    return hs(R"({"alg":"HS256")" + members + "}", claims());
  }
  void add(std::string name, std::string token, const char* verdict) {
    cases.push_back({std::move(name), std::move(token), verdict});
  }

  void good();
  void algorithms();
  void key_ids();
  void headers();
  void times();
  void required();
  void audiences();
  void signatures();
  void encodings();
  void oddities();
};

void Corpus::good() {
  add("hs256", hs_claims({}), kGood);
  add("no typ", hs_header(""), kGood);
  add("at+jwt", hs_header(R"(,"typ":"at+JWT")"), kGood);
  for (const auto& [alg, kid] : {std::pair("RS256", "rsa"), {"ES256", "ec"}, {"EdDSA", "ed"}}) {
    for (const bool with_kid : {true, false}) {
      const std::string text =
          body(std::string(R"({"alg":")") + alg + '"' +
                   (with_kid ? std::string(R"(,"kid":")") + kid + '"' : "") + "}",
               claims());
      const std::string signature = *alg == 'R'     ? keys().rs256(text)
                                    : kid[1] == 'c' ? keys().es256(text)
                                                    : keys().eddsa(text);
      add(std::string(alg) + (with_kid ? " with kid" : " alone"), with(text, signature), kGood);
    }
  }
  add("unknown claims are ignored", hs_claims({{"role", "{\"deep\":[1]}"}}), kGood);
  add("no capabilities", hs_claims({{"capabilities", "[]"}}), kGood);
}

void Corpus::algorithms() {
  for (const char* alg : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string text = body(std::string(R"({"alg":")") + alg + "\"}", claims());
    add(std::string("alg ") + alg + " unsigned", text + '.', kInvalid);
    add(std::string("alg ") + alg + " signed", with(text, TestKeys::hs256(text)), kInvalid);
  }
  add("alg missing", hs(R"({"typ":"JWT"})", claims()), kInvalid);
  add("alg null", hs(R"({"alg":null})", claims()), kInvalid);
  add("alg number", hs(R"({"alg":256})", claims()), kInvalid);
  add("alg lower case", hs(R"({"alg":"hs256"})", claims()), kInvalid);
  add("alg list", hs(R"({"alg":["HS256"]})", claims()), kInvalid);
  for (const char* alg : {"HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "ES512", "ES256K"})
    add(std::string("alg ") + alg, hs(std::string(R"({"alg":")") + alg + "\"}", claims()),
        kInvalid);
  // The RSA public key as an HMAC secret.
  add("confusion pem", hs(R"({"alg":"HS256","kid":"rsa"})", claims(), keys().rsa_public_pem()),
      kInvalid);
  add("confusion pem no kid", hs(R"({"alg":"HS256"})", claims(), keys().rsa_public_pem()),
      kInvalid);
  add("confusion modulus",
      hs(R"({"alg":"HS256","kid":"rsa"})", claims(), *base64url_decode(keys().rsa_modulus())),
      kInvalid);
  const std::string as_rs = body(R"({"alg":"RS256","kid":"rsa"})", claims());
  add("hmac called RS256", with(as_rs, TestKeys::hs256(as_rs)), kInvalid);
  const std::string as_ed = body(R"({"alg":"EdDSA","kid":"rsa"})", claims());
  add("rsa kid with EdDSA", with(as_ed, keys().eddsa(as_ed)), kInvalid);
  const std::string as_es = body(R"({"alg":"ES256","kid":"ed"})", claims());
  add("ed kid with ES256", with(as_es, keys().es256(as_es)), kInvalid);
  const std::string rs512 = body(R"({"alg":"RS512","kid":"rsa"})", claims());
  add("really RS512", with(rs512, keys().rs512(rs512)), kInvalid);
}

void Corpus::key_ids() {
  // With asymmetric algorithms an unknown kid finds no key; nothing of it is ever opened or run.
  for (const std::string kid : {"../../etc/passwd", "/dev/null", "' OR 1=1 --", "http://evil/jwks",
                                "rsa\\u0000x", "RSA", " rsa", "unknown", "*"}) {
    const std::string text = body(R"({"alg":"RS256","kid":")" + kid + "\"}", claims());
    add("kid " + kid, with(text, keys().rs256(text)), kInvalid);
  }
  add("kid empty", hs_header(R"(,"kid":"")"), kInvalid);
  add("kid number", hs_header(R"(,"kid":1)"), kInvalid);
  add("kid list", hs_header(R"(,"kid":["rsa"])"), kInvalid);
  add("kid null", hs_header(R"(,"kid":null)"), kInvalid);
  add("kid long", hs_header(R"(,"kid":")" + std::string(5000, 'k') + "\""), kInvalid);
  add("kid 64 kB", hs_header(R"(,"kid":")" + std::string(65536, 'k') + "\""), kInvalid);
  const std::string twice = body(R"({"alg":"RS256","kid":"rsa","kid":"rsa"})", claims());
  add("kid twice", with(twice, keys().rs256(twice)), kInvalid);
}

void Corpus::headers() {
  for (const char* name : {"jku", "x5u", "x5t", "x5t#S256"})
    add(name, hs_header(std::string(",\"") + name + "\":\"https://evil/\""), kInvalid);
  add("jwk", hs_header(",\"jwk\":" + keys().rsa_jwk()), kInvalid);
  add("x5c", hs_header(R"(,"x5c":["MIIB"])"), kInvalid);
  add("crit unknown", hs_header(R"(,"crit":["x"],"x":1)"), kInvalid);
  add("crit empty", hs_header(R"(,"crit":[])"), kInvalid);
  add("crit known", hs_header(R"(,"crit":["exp"],"exp":1)"), kInvalid);
  add("crit string", hs_header(R"(,"crit":"exp")"), kInvalid);
  add("b64 false", hs_header(R"(,"b64":false)"), kInvalid);
  add("zip", hs_header(R"(,"zip":"DEF")"), kInvalid);
  add("enc", hs_header(R"(,"enc":"A128GCM")"), kInvalid);
  add("typ id token", hs_header(R"(,"typ":"id+jwt")"), kInvalid);
  add("typ refresh", hs_header(R"(,"typ":"rt+jwt")"), kInvalid);
  add("typ logout", hs_header(R"(,"typ":"logout+jwt")"), kInvalid);
  add("typ number", hs_header(R"(,"typ":5)"), kInvalid);
  add("cty nested", hs_header(R"(,"cty":"JWT")"), kInvalid);
  add("header array", hs(R"(["HS256"])", claims()), kInvalid);
  add("header text", hs("\"HS256\"", claims()), kInvalid);
  add("header empty", hs("", claims()), kInvalid);
  add("token_use id", hs_claims({{"token_use", "\"id\""}}), kInvalid);
  add("token_use access", hs_claims({{"token_use", "\"access\""}}), kGood);
}

void Corpus::times() {
  const auto at = [](std::int64_t delta) { return std::to_string(kNow + delta); };
  add("expired", hs_claims({{"exp", at(-3600)}, {"iat", at(-7200)}}), kExpired);
  add("expired beyond leeway", hs_claims({{"exp", at(-60)}, {"iat", at(-100)}}), kExpired);
  add("expired within leeway", hs_claims({{"exp", at(-59)}, {"iat", at(-100)}}), kGood);
  add("exp fractional", hs_claims({{"exp", at(5) + ".5"}}), kGood);
  add("exp 0", hs_claims({{"exp", "0"}, {"iat", "0"}}), kExpired);
  add("exp negative", hs_claims({{"exp", "-1"}}), kInvalid);
  add("exp text", hs_claims({{"exp", "\"" + at(60) + "\""}}), kInvalid);
  add("exp null", hs_claims({{"exp", "null"}}), kIncomplete);
  add("exp true", hs_claims({{"exp", "true"}}), kInvalid);
  add("exp overflow", hs_claims({{"exp", "9223372036854775807"}}), kInvalid);
  add("exp uint64", hs_claims({{"exp", "18446744073709551615"}}), kInvalid);
  add("exp huge", hs_claims({{"exp", "1e300"}}), kInvalid);
  add("exp infinite", hs_claims({{"exp", "1e999"}}), kInvalid);
  add("exp in milliseconds", hs_claims({{"exp", at(0) + "000"}}), kInvalid);
  add("exp before iat", hs_claims({{"exp", at(-20)}}), kInvalid);
  add("nbf past", hs_claims({{"nbf", at(-5)}}), kGood);
  add("nbf within leeway", hs_claims({{"nbf", at(60)}}), kGood);
  add("nbf future", hs_claims({{"nbf", at(61)}}), kInvalid);
  add("nbf text", hs_claims({{"nbf", "\"1\""}}), kInvalid);
  add("nbf null", hs_claims({{"nbf", "null"}}), kInvalid);
  add("iat within leeway", hs_claims({{"iat", at(60)}}), kGood);
  add("iat future", hs_claims({{"iat", at(61)}}), kInvalid);
  add("iat text", hs_claims({{"iat", "\"now\""}}), kInvalid);
  add("iat negative", hs_claims({{"iat", "-1"}}), kInvalid);
}

void Corpus::required() {
  for (const char* name : {"sub", "tenant_id", "capabilities", "exp", "iat", "jti"}) {
    add(std::string(name) + " missing", hs_claims({{name, ""}}), kIncomplete);
    add(std::string(name) + " null", hs_claims({{name, "null"}}), kIncomplete);
  }
  for (const char* name : {"sub", "tenant_id", "jti"}) {
    add(std::string(name) + " empty", hs_claims({{name, "\"\""}}), kIncomplete);
    add(std::string(name) + " number", hs_claims({{name, "5"}}), kInvalid);
    add(std::string(name) + " list", hs_claims({{name, "[\"x\"]"}}), kInvalid);
    add(std::string(name) + " control", hs_claims({{name, "\"a\\u0000b\""}}), kInvalid);
    add(std::string(name) + " long", hs_claims({{name, '"' + std::string(300, 'x') + '"'}}),
        kInvalid);
  }
  constexpr const char* kReserved =
      "Invalid token: tenants whose names begin with _ or $ are reserved";
  add("tenant of all", hs_claims({{"tenant_id", "\"_global\""}}), kReserved);
  add("tenant of the system", hs_claims({{"tenant_id", "\"$system\""}}), kReserved);
  add("tenant with slash", hs_claims({{"tenant_id", "\"a/b\""}}), kInvalid);
  add("capabilities text", hs_claims({{"capabilities", "\"*\""}}), kInvalid);
  add("capabilities object", hs_claims({{"capabilities", "{\"*\":1}"}}), kInvalid);
  add("capabilities mixed", hs_claims({{"capabilities", "[\"a:b\",1]"}}), kInvalid);
  add("capability odd", hs_claims({{"capabilities", "[\"*:*\"]"}}), kInvalid);
  add("expired and incomplete", hs_claims({{"exp", "1"}, {"sub", ""}}), kIncomplete);
}

void Corpus::audiences() {
  add("aud soma", hs_claims({{"aud", "\"soma\""}}), kGood);
  add("aud list", hs_claims({{"aud", "[\"x\",\"soma\"]"}}), kGood);
  add("aud other", hs_claims({{"aud", "\"other\""}}), kInvalid);
  add("aud list without us", hs_claims({{"aud", "[\"x\"]"}}), kInvalid);
  add("aud empty list", hs_claims({{"aud", "[]"}}), kInvalid);
  add("aud star", hs_claims({{"aud", "\"*\""}}), kInvalid);
  add("aud null", hs_claims({{"aud", "null"}}), kInvalid);
  add("aud mixed list", hs_claims({{"aud", "[\"soma\",5]"}}), kInvalid);
  add("aud case", hs_claims({{"aud", "\"SOMA\""}}), kInvalid);
  add("iss number", hs_claims({{"iss", "5"}}), kInvalid);
  add("iss any", hs_claims({{"iss", "\"https://idp\""}}), kGood);
}

void Corpus::signatures() {
  const std::string good = hs_claims({});
  const auto dot = good.rfind('.');
  add("stripped", good.substr(0, dot + 1), kInvalid);
  add("stripped with dot", good.substr(0, dot), kInvalid);
  add("truncated", good.substr(0, good.size() - 4), kInvalid);
  add("extended", good + "AAAA", kInvalid);
  add("other secret", hs(R"({"alg":"HS256"})", claims(), std::string(32, 'x')), kInvalid);
  add("empty secret", hs(R"({"alg":"HS256"})", claims(), ""), kInvalid);
  std::string flipped = good;
  flipped[dot + 3] = flipped[dot + 3] == 'A' ? 'B' : 'A';
  add("flipped bit", flipped, kInvalid);
  const std::string other = hs_claims({{"sub", "\"root\""}});
  add("payload exchanged",
      good.substr(0, good.find('.')) +
          other.substr(other.find('.'), other.rfind('.') - other.find('.')) + good.substr(dot),
      kInvalid);
  const std::string rs = body(R"({"alg":"RS256","kid":"rsa"})", claims());
  add("another rsa key", with(rs, keys().rs256_other(rs)), kInvalid);
  add("rsa zeros", with(rs, std::string(256, '\0')), kInvalid);
  add("rsa leading zero", with(rs, '\0' + keys().rs256(rs)), kInvalid);
  const std::string es = body(R"({"alg":"ES256","kid":"ec"})", claims());
  add("ecdsa zeros", with(es, std::string(64, '\0')), kInvalid);
  add("ecdsa der", with(es, keys().es256_der(es)), kInvalid);
  add("ecdsa longer", with(es, keys().es256(es) + '\0'), kInvalid);
  const std::string ed = body(R"({"alg":"EdDSA","kid":"ed"})", claims());
  add("ed zeros", with(ed, std::string(64, '\0')), kInvalid);
  add("ed short", with(ed, keys().eddsa(ed).substr(0, 63)), kInvalid);
}

void Corpus::encodings() {
  const std::string good = hs_claims({});
  const auto first = good.find('.');
  add("padding", good + "=", kInvalid);
  add("newline", good + "\n", kInvalid);
  add("space inside", good.substr(0, 5) + ' ' + good.substr(5), kInvalid);
  add("leading dot", '.' + good, kInvalid);
  add("five parts", good + ".a.b", kInvalid);
  add("one part", good.substr(0, first), kInvalid);
  add("dots", "..", kInvalid);
  add("text", "token", kInvalid);
  // Same bytes by another text: the last digit's spare bits. 32 bytes leave two of them.
  std::string loose = good;
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  loose.back() = alphabet[alphabet.find(loose.back()) ^ 1];
  add("non-canonical", loose, kInvalid);
  std::string header = base64url_encode(R"({"alg":"HS256","x":"??>>"})");
  for (char& c : header) c = c == '-' ? '+' : c == '_' ? '/' : c;
  const std::string standard = header + '.' + base64url_encode(claims());
  add("standard alphabet", with(standard, TestKeys::hs256(standard)), kInvalid);
  add("nul", good + '\0', kInvalid);
  add("oversize 16 kB", hs_claims({{"x", '"' + std::string(20000, 'x') + '"'}}), kInvalid);
  add("oversize 1 MB", std::string(1 << 20, 'A') + ".e30.AA", kInvalid);
}

void Corpus::oddities() {
  const std::string header = R"({"alg":"HS256"})";
  const std::string plain = claims();
  const std::string inner = plain.substr(1, plain.size() - 2);
  add("sub twice", hs(header, "{" + inner + R"(,"sub":"root"})"), kInvalid);
  add("exp twice", hs(header, "{" + inner + R"(,"exp":99999999999})"), kInvalid);
  add("sub twice escaped", hs(header, "{" + inner + ",\"s\\u0075b\":\"root\"}"), kInvalid);
  add("alg twice", hs(R"({"alg":"none","alg":"HS256"})", plain), kInvalid);
  add("nested twice", hs(header, "{" + inner + R"(,"x":{"a":1,"a":2}})"), kInvalid);
  add("deep 1000",
      hs(header, "{" + inner + ",\"x\":" + std::string(1000, '[') + std::string(1000, ']') + "}"),
      kInvalid);
  add("array payload", hs(header, "[" + plain + "]"), kInvalid);
  add("trailing text", hs(header, plain + "x"), kInvalid);
  add("comment", hs(header, "/**/" + plain), kInvalid);
  add("empty payload", hs(header, ""), kInvalid);
  add("empty object", hs(header, "{}"), kIncomplete);
  add("latin1", hs(header, "{" + inner + ",\"x\":\"\xE9\"}"), kInvalid);
}

TEST_F(Corpus, EveryCaseGetsItsVerdict) {
  good();
  algorithms();
  key_ids();
  headers();
  times();
  required();
  audiences();
  signatures();
  encodings();
  oddities();
  AuthOptions options;
  options.jwks = keys().jwks();
  options.hs256_secret = kSecret;
  options.now_s = [] { return kNow; };
  const auto auth = Authenticator::create(options);
  ASSERT_TRUE(auth.has_value()) << auth.error().message;
  for (const Case& c : cases) {
    // Twice: a remembered verdict must be the same one.
    for (int round = 0; round < 2; ++round) {
      const auto identity = (*auth)->authenticate("Bearer " + c.token);
      const std::string verdict = identity ? kGood : identity.error().message;
      EXPECT_EQ(verdict, c.verdict) << c.name;
      if (!identity) {
        EXPECT_EQ(identity.error().code, Code::kUnauthenticated) << c.name;
      }
    }
  }
  EXPECT_GE(cases.size(), 120u);
  std::printf("GATE S2 %zu cases\n", cases.size());
}

TEST_F(Corpus, SchemesAndMissingTokens) {
  AuthOptions options;
  options.hs256_secret = kSecret;
  options.now_s = [] { return kNow; };
  for (const char* mode : {"production", "production-debug", "test", "test-debug", "developer", "",
                           "DEVELOPER-LIGHT"}) {
    options.mode = mode;
    const auto auth = Authenticator::create(options);
    for (const std::optional<std::string_view> header :
         {std::optional<std::string_view>(), std::optional<std::string_view>(""),
          std::optional<std::string_view>("Basic eDp5"), std::optional<std::string_view>("Bearer"),
          std::optional<std::string_view>("Bearer "), std::optional<std::string_view>("token")}) {
      const auto identity = (*auth)->authenticate(header);
      ASSERT_FALSE(identity.has_value()) << mode;
      EXPECT_EQ(identity.error().message, kMissing);
    }
    EXPECT_TRUE((*auth)->authenticate("bEaReR " + hs_claims({})).has_value());
  }
}

TEST_F(Corpus, VerifyIsFast) {
  AuthOptions options;
  options.jwks = keys().jwks();
  options.cache_entries = 0;
  options.now_s = [] { return kNow; };
  const auto auth = Authenticator::create(options);
  const std::string text = body(R"({"alg":"RS256","kid":"rsa"})", claims());
  const std::string token = with(text, keys().rs256(text));
  std::vector<double> micros;
  for (int i = 0; i < 300; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE((*auth)->verify_token(token).has_value());
    micros.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
            .count());
  }
  std::nth_element(micros.begin(), micros.begin() + 150, micros.end());
  std::printf("GATE S2 median RS256 verify, uncached: %.1f us (bar 100)\n", micros[150]);
}

}  // namespace
}  // namespace soma::runtime::security
