// soma auth token, rotate, revoke, whoami.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "runtime/config/config.h"
#include "runtime/security/authenticator.h"
#include "runtime/security/keys.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct TokenFlags {
  std::string tenant = "demo", subject = "developer", capabilities = "*", ttl = "1h";
  bool force = false;
};

int issue(const Context& context, const TokenFlags& f) {
  auto loaded = runtime::config::load_config({{"--data-dir", context.folder()}});
  if (!loaded) return context.fail(loaded.error());
  if (f.capabilities == "*" && runtime::security::is_production_mode(loaded->mode) && !f.force)
    return context.fail(
        {Code::kForbidden, "a token for everything in production needs --force", "--cap"},
        "name the capabilities it needs with --cap, or say --force");
  auto ttl = seconds_of(f.ttl);
  if (!ttl) return context.fail(ttl.error());
  runtime::security::AuthOptions o;
  o.mode = loaded->mode;
  o.key_dir = context.folder() + "/keys";
  // As the node that verifies it has them.
  o.jwks = loaded->identity_jwks;
  o.hs256_secret = loaded->identity_hs256_secret;
  o.issuer = loaded->identity_issuer;
  o.audience = loaded->identity_audience;
  auto authenticator = runtime::security::Authenticator::create(std::move(o));
  if (!authenticator) return context.fail(authenticator.error());
  runtime::security::TokenRequest request{
      f.subject, f.tenant, CLI::detail::split(f.capabilities, ','), *ttl, "cli", {}};
  auto token = (*authenticator)->issue_token(request);
  if (!token) return context.fail(token.error());
  if (context.output.empty() || context.output == "table" || context.output == "name")
    std::cout << token->token << std::endl;  // for $(soma auth token)
  else
    context.print(json::object{{"token", token->token},
                               {"jti", token->token_id},
                               {"expires_s", token->expires_s},
                               {"tenant_id", f.tenant},
                               {"sub", f.subject}});
  return 0;
}

// On the node that runs, so that it signs with the new key at once; else in the stopped folder.
int rotate(const Context& context, bool at_once) {
  if (auto named = context.named_node(); !named) return context.fail(named.error());
  if (context.node_is_there())
    return context.show(
        context.call("POST", "/v1/tokens/rotate", json::object{{"at_once", at_once}}));
  if (context.dry_run) {
    context.print(json::object{{"dry_run", true}, {"replace", context.folder() + "/keys"}});
    return 0;
  }
  runtime::security::AuthOptions o;
  o.key_dir = context.folder() + "/keys";
  auto authenticator = runtime::security::Authenticator::create(std::move(o));
  if (!authenticator) return context.fail(authenticator.error());
  auto next = (*authenticator)->new_key();
  if (!next) return context.fail(next.error());
  const std::string before = (*authenticator)->signing_key_id();
  if (auto done = (*authenticator)->rotate(*next, at_once); !done)
    return context.fail(done.error());
  context.print(json::object{
      {"key_id", next->id}, {"retired_key_id", before}, {"retired_verifies", !at_once}});
  return 0;
}

struct RevokeFlags {
  std::string token, id;
};

int revoke(const Context& context, const RevokeFlags& f) {
  if (f.token.empty() == f.id.empty())
    return context.fail({Code::kInvalidArgument, "name one token, by --token or --jti", "--jti"});
  return context.show(
      context.call("POST", "/v1/tokens/revoke",
                   f.id.empty() ? json::object{{"token", f.token}} : json::object{{"jti", f.id}}));
}

void add_ends(CLI::App& auth, Context& context, const Wrap& run) {
  auto at_once = std::make_shared<bool>(false);
  add_verb(auth, context, run, "rotate", "Sign with a new key from now on", Effect::kDestructive,
           "soma auth rotate --yes", [&context, at_once] { return rotate(context, *at_once); })
      ->add_flag("--at-once", *at_once, "Tokens of the old keys end now, not by themselves");
  auto f = std::make_shared<RevokeFlags>();
  auto* command = add_verb(auth, context, run, "revoke", "End a token, at once and for good",
                           Effect::kDestructive, "soma auth revoke --jti TOKEN_ID --yes",
                           [&context, f] { return revoke(context, *f); });
  command->add_option("--jti", f->id, "Its id")->type_name("TOKEN_ID");
  command->add_option("--token", f->token, "The token itself")->type_name("TOKEN");
}

}  // namespace

Result<std::int64_t> seconds_of(const std::string& text) {
  std::size_t used = 0;
  std::int64_t n = 0;
  try {
    n = std::stoll(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = used ? text.substr(used) : "?";
  const std::int64_t scale = unit.empty() || unit == "s" ? 1
                             : unit == "m"               ? 60
                             : unit == "h"               ? 3600
                             : unit == "d"               ? 86400
                                                         : 0;
  if (scale == 0 || n <= 0 || n > runtime::security::kMaxTtlSeconds)
    return soma::fail(Code::kInvalidArgument,
                      "--ttl must be a time as 90s, 10m, 1h or 2d, at most 31d", "--ttl");
  return n * scale;
}

void add_auth_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto* auth = add_group(app, "auth", "Tokens and who one is");
  auto f = std::make_shared<TokenFlags>();
  auto* token = add_verb(
      *auth, context, run, "token", "Sign a token with the data folder's key", Effect::kRead,
      "soma auth token --tenant demo --sub ana --cap session:start,session:read --ttl 1h",
      [&context, f] { return issue(context, *f); });
  token->add_option("--tenant", f->tenant, "Whose data it opens (default demo)")
      ->type_name("TENANT");
  token->add_option("--sub", f->subject, "Who it stands for (default developer)")
      ->type_name("SUBJECT");
  token
      ->add_option(
          "--cap", f->capabilities,
          "Comma-separated area:verb, area:* or * (default *, all of them; not in production)")
      ->type_name("CAPABILITIES");
  token->add_option("--ttl", f->ttl, "How long it holds, as 90s, 10m, 1h or 2d (default 1h)")
      ->type_name("TIME");
  token->add_flag("--force", f->force, "Also * in production");
  add_ends(*auth, context, run);
  add_verb(*auth, context, run, "whoami", "The caller as the node sees it", Effect::kRead,
           "soma auth whoami",
           [&context] { return context.show(context.call("GET", "/v1/whoami")); });
}

}  // namespace soma::cli
