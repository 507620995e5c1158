// constitution, approval, settings: what an operator governs with.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>

#include "runtime/security/constitution_bundle.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;
namespace security = runtime::security;

namespace {

struct Flags {
  std::string file, key, version, id, reason, status, scope = "tenant", mode, to, prompt;
  std::vector<std::string> values;
  std::uint64_t number = 0;
};
using FlagsPtr = std::shared_ptr<Flags>;

Result<json::value> json_file(const std::string& path) {
  auto text = text_file(path);
  if (!text) return tl::unexpected(text.error());
  auto v = read_json(*text);
  if (!v) return soma::fail(Code::kMalformed, path + " is " + v.error().message, path);
  return v;
}

int validate(const Context& c, const Flags& f) {
  auto bundle = json_file(f.file);
  if (!bundle) return c.fail(bundle.error());
  auto verdict = c.call("POST", "/v1/constitution/validate", *bundle);
  if (const int code = c.show(verdict); code != 0) return code;
  if (verdict->at("valid").as_bool()) return 0;
  return c.fail({Code::kCorrupt, "the bundle is not valid", {}}, "mend what the issues name");
}

int load(const Context& c, const Flags& f) {
  auto bundle = json_file(f.file);
  if (!bundle) return c.fail(bundle.error());
  return c.show(c.call("POST", "/v1/constitution/load?scope=" + url_encoded(f.scope), *bundle));
}

Result<std::string> canonical(const std::string& path) {
  auto text = text_file(path);
  if (!text) return text;
  // A bundle, or the document by itself.
  if (auto inner = security::canonical_document(*text)) return inner;
  return security::canonical_document("{\"document\":" + *text + "}");
}

int checksum(const Context& c, const Flags& f) {
  auto document = canonical(f.file);
  if (!document) return c.fail(document.error());
  c.print(json::object{{"checksum", sha256_hex(*document)}, {"algorithm", "sha256"}});
  return 0;
}

// On this machine alone: the private key goes nowhere.
int sign(const Context& c, const Flags& f) {
  auto document = canonical(f.file);
  if (!document) return c.fail(document.error());
  auto pem = text_file(f.key);
  if (!pem) return c.fail(pem.error());
  auto key = security::ed25519_from_pem(*pem);
  if (!key) return c.fail(key.error(), "make one with `openssl genpkey -algorithm ed25519`");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  auto signed_one = security::sign_constitution(
      *key, *document, f.version,
      std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  if (!signed_one) return c.fail(signed_one.error());
  std::cout << security::bundle_text(*signed_one) << std::endl;
  return 0;
}

void add_constitution(CLI::App& app, Context& context, const Wrap& run, const FlagsPtr& f) {
  auto* group = add_group(app, "constitution", "The signed rules that agents run under");
  add_verb(*group, context, run, "show", "The constitution in force", Effect::kRead,
           "soma constitution show -o json",
           [&context] { return context.show(context.call("GET", "/v1/constitution")); });
  auto* past = add_verb(*group, context, run, "history", "Versions that were in force",
                        Effect::kRead, "soma constitution history", [&context] {
                          return context.list("/v1/constitution/history", "items",
                                              {"number", "version", "loaded_at", "loaded_by"},
                                              {"hash", "scope"});
                        });
  add_list_options(*past, context);
  const auto on_file = [&](CLI::App* command, const char* what) {
    command->add_option("file", f->file, what)->required()->type_name("FILE");
    return command;
  };
  on_file(add_verb(*group, context, run, "validate", "What is wrong with a bundle", Effect::kRead,
                   "soma constitution validate bundle.json",
                   [&context, f] { return validate(context, *f); }),
          "The bundle, as JSON");
  on_file(
      add_verb(*group, context, run, "load", "Put a signed bundle in force", Effect::kWrite,
               "soma constitution load bundle.json", [&context, f] { return load(context, *f); }),
      "The bundle, as JSON")
      ->add_option("--scope", f->scope, "tenant (default) or global")
      ->check(CLI::IsMember({"tenant", "global"}))
      ->type_name("SCOPE");
  on_file(add_verb(*group, context, run, "checksum", "SHA-256 of a document's canonical JSON",
                   Effect::kRead, "soma constitution checksum document.json",
                   [&context, f] { return checksum(context, *f); }),
          "The document or a bundle, as JSON");
  auto* signs =
      on_file(add_verb(*group, context, run, "sign", "Sign a document; the bundle goes to stdout",
                       Effect::kRead,
                       "soma constitution sign document.json --key signer.pem --version 2026-1 > "
                       "bundle.json",
                       [&context, f] { return sign(context, *f); }),
              "The document, as JSON");
  signs->add_option("--key", f->key, "Ed25519 private key, PEM")->required()->type_name("FILE");
  signs->add_option("--version", f->version, "Its name: a new one for each")
      ->required()
      ->type_name("VERSION");
}

int list_approvals(const Context& c, const Flags& f) {
  return c.list("/v1/approvals" + (f.status.empty() ? "" : "?status=" + f.status), "items",
                {"approval_id", "status", "action", "requested_by", "requested_at", "summary"},
                {"session_id", "action_hash", "expires_at", "decided_by"});
}

void add_approval(CLI::App& app, Context& context, const Wrap& run, const FlagsPtr& f) {
  auto* group = add_group(app, "approval", "What waits for a second person");
  auto* list = add_verb(*group, context, run, "list", "Oldest first", Effect::kRead,
                        "soma approval list --status pending --watch",
                        [&context, f] { return list_approvals(context, *f); });
  list->add_option("--status", f->status, "pending, approved, rejected or expired")
      ->check(CLI::IsMember({"pending", "approved", "rejected", "expired"}))
      ->type_name("STATUS");
  add_list_options(*list, context);
  add_verb(*group, context, run, "watch", "What is pending, again and again", Effect::kRead,
           "soma approval watch", [&context, f] {
             f->status = "pending";
             return watched(context, [&context, f] { return list_approvals(context, *f); });
           });
  add_verb(*group, context, run, "show", "One approval", Effect::kRead,
           "soma approval show APPROVAL_ID",
           [&context, f] {
             return context.show(context.call("GET", "/v1/approvals/" + url_encoded(f->id)));
           })
      ->add_option("approval", f->id, "Approval id")
      ->required();
  for (const char* verb : {"approve", "reject"}) {
    const std::string path = verb;
    auto* command =
        add_verb(*group, context, run, verb,
                 path == "approve" ? "Let exactly this action happen" : "Keep it from happening",
                 Effect::kWrite,
                 path == "approve" ? "soma approval approve APPROVAL_ID"
                                   : "soma approval reject APPROVAL_ID",
                 [&context, f, path] {
                   json::object body;
                   if (!f->reason.empty()) body["reason"] = f->reason;
                   return context.show(context.call(
                       "POST", "/v1/approvals/" + url_encoded(f->id) + "/" + path, body));
                 });
    command->add_option("approval", f->id, "Approval id")->required();
    command->add_option("--reason", f->reason, "Recorded with the decision")->type_name("TEXT");
  }
  const auto post = [&context, f](const char* what, json::object body) {
    return context.show(
        context.call("POST", "/v1/approvals/" + url_encoded(f->id) + "/" + what, std::move(body)));
  };
  auto* delegates =
      add_verb(*group, context, run, "delegate", "Name the person who alone may decide",
               Effect::kWrite, "soma approval delegate APPROVAL_ID --to carol", [f, post] {
                 return post("delegate", {{"to", f->to}, {"reason", f->reason}});
               });
  delegates->add_option("approval", f->id, "Approval id")->required();
  delegates->add_option("--to", f->to, "Who decides")->required()->type_name("PERSON");
  delegates->add_option("--reason", f->reason, "Recorded with it")->type_name("TEXT");
  auto* edits = add_verb(
      *group, context, run, "edit",
      "Another prompt for the turn that waits: a new action, approved by another", Effect::kWrite,
      "soma approval edit APPROVAL_ID --prompt 'Pay 10, not 100'", [f, post] {
        return post("edit", {{"content", f->prompt}});
      });
  edits->add_option("approval", f->id, "Approval id")->required();
  edits->add_option("--prompt", f->prompt, "What the model is asked instead")
      ->required()
      ->type_name("TEXT");
}

Result<std::string> own_path(const Context& c) {
  auto me = c.call("GET", "/v1/whoami");
  if (!me) return tl::unexpected(me.error());
  return "/v1/tenants/" + url_encoded(text_of(*me, "tenant_id"));
}

// "policy.threshold=0.75": a number, true, false, null and JSON as such, all else as text.
Status assign(json::object& body, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    return soma::fail(Code::kInvalidArgument, "`" + text + "` is not NAME=VALUE", "VALUES");
  const std::string given = text.substr(equals + 1);
  json::value value = read_json(given).value_or(json::value(given));
  json::object* at = &body;
  std::string name = text.substr(0, equals);
  for (auto dot = name.find('.'); dot != name.npos; dot = name.find('.')) {
    json::value& next = (*at)[name.substr(0, dot)];
    if (!next.is_object()) next.emplace_object();
    at = &next.get_object();
    name = name.substr(dot + 1);
  }
  (*at)[name] = std::move(value);
  return {};
}

int set(const Context& c, const Flags& f) {
  auto path = own_path(c);
  if (!path) return c.fail(path.error());
  auto now = c.call("GET", *path);
  if (!now) return c.fail(now.error());
  json::object body = now->as_object();
  for (const auto& value : f.values)
    if (auto ok = assign(body, value); !ok) return c.fail(ok.error());
  return c.show(c.call("PUT", *path, body));
}

void add_settings(CLI::App& app, Context& context, const Wrap& run, const FlagsPtr& f) {
  auto* group = add_group(app, "settings", "The tenant's settings and the server's mode");
  add_verb(*group, context, run, "get", "Settings in force, with version and hash", Effect::kRead,
           "soma settings get -o json", [&context] {
             auto path = own_path(context);
             return path ? context.show(context.call("GET", *path)) : context.fail(path.error());
           });
  add_verb(*group, context, run, "set", "Change some settings; the others stay", Effect::kWrite,
           "soma settings set budgets_tokens=20000 policy.threshold=0.75",
           [&context, f] { return set(context, *f); })
      ->add_option("values", f->values, "NAME=VALUE, names dotted; values as JSON or text")
      ->required();
  auto* past =
      add_verb(*group, context, run, "history", "Earlier versions, newest first", Effect::kRead,
               "soma settings history", [&context] {
                 auto path = own_path(context);
                 if (!path) return context.fail(path.error());
                 return context.list(*path + "/history", "items",
                                     {"version", "changed_at", "changed_by", "hash"}, {"settings"});
               });
  add_list_options(*past, context);
  add_verb(*group, context, run, "rollback", "Put an earlier version's content again",
           Effect::kWrite, "soma settings rollback 3",
           [&context, f] {
             auto path = own_path(context);
             if (!path) return context.fail(path.error());
             return context.show(
                 context.call("POST", *path + "/rollback", json::object{{"version", f->number}}));
           })
      ->add_option("version", f->number, "One of the history")
      ->required();
  add_verb(*group, context, run, "mode", "Show the server's deployment mode, or switch it",
           Effect::kWrite, "soma settings mode production",
           [&context, f] {
             if (f->mode.empty()) return context.show(context.call("GET", "/v1/settings/mode"));
             return context.show(
                 context.call("POST", "/v1/settings/mode", json::object{{"mode", f->mode}}));
           })
      ->add_option("mode", f->mode, "The mode to switch to; absent: show it");
  add_notification_verbs(*group, context, run);
}

}  // namespace

void add_governance_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  add_constitution(app, context, run, f);
  add_approval(app, context, run, f);
  add_settings(app, context, run, f);
}

}  // namespace soma::cli
