// soma audit: signed heads, proofs, bundles.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "actors/actor_type.h"
#include "runtime/api/views.h"
#include "runtime/audit/bundle.h"
#include "tools/auditor/check.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;
namespace audit = runtime::audit;

namespace {

struct Flags {
  std::string tenant = "demo", event, out, file;
  std::vector<std::string> keys;
  bool sign = false;
};

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// The journal and the key of the folder, or a cluster's journal and the folder's key.
struct Source {
  std::unique_ptr<events::Log> log;
  runtime::security::Key key;
};
Result<Source> open_source(const Context& c) {
  auto log = offline::open_source(c);
  if (!log) return tl::unexpected(log.error());
  auto key = audit::folder_key(c.folder());
  if (!key) return tl::unexpected(key.error());
  return Source{std::move(*log), std::move(*key)};
}

json::array shown_heads(json::array items) {
  for (auto& item : items) {
    auto& o = item.as_object();
    o["time"] = runtime::views::iso_time(o.at("time_ms").to_number<std::int64_t>());
  }
  return items;
}

int head(const Context& c, const Flags& f) {
  if (c.node_is_there() && c.kafka.empty()) {
    auto r = f.sign ? c.call("POST", "/v1/audit/head") : c.call("GET", "/v1/audit/head");
    if (!r || f.sign) return c.show(r);
    c.print_list(shown_heads(r->at("items").as_array()), {"time", "records"}, {"head"});
    return 0;
  }
  if (!f.sign) {
    const auto kept = audit::HeadFile(c.folder()).of(f.tenant);
    json::array items;
    for (auto it = kept.rbegin(); it != kept.rend(); ++it) items.push_back(*it);
    c.print_list(shown_heads(std::move(items)), {"time", "records"}, {"head"});
    return 0;
  }
  auto source = open_source(c);
  if (!source) return c.fail(source.error());
  auto trees = audit::read_trees(*source->log, f.tenant, now_ms());
  if (!trees) return c.fail(trees.error(), "name the tenant with --tenant");
  auto jws = audit::sign_head(source->key, trees->head);
  if (!jws) return c.fail(jws.error());
  json::object out = audit::to_json(trees->head);
  out["key"] = source->key.id;
  out["head"] = *jws;
  c.print(out);
  return 0;
}

int prove(const Context& c, const Flags& f) {
  Result<json::value> proof = json::value();
  if (c.node_is_there() && c.kafka.empty()) {
    proof = c.call("GET", "/v1/audit/proof/" + url_encoded(f.event));
  } else {
    auto source = open_source(c);
    if (!source) return c.fail(source.error());
    auto made = audit::prove_event(*source->log, source->key, f.tenant, f.event, now_ms());
    if (!made) return c.fail(made.error(), "see `soma actor history` for event ids");
    proof = json::value(std::move(*made));
  }
  if (!proof) return c.fail(proof.error());
  // A document, not a table: it is made to be kept and checked.
  if (f.out.empty()) {
    std::cout << json::serialize(*proof) << std::endl;
    return 0;
  }
  std::ofstream out(f.out, std::ios::trunc);
  out << json::serialize(*proof) << "\n";
  out.close();
  return out ? 0 : c.fail({Code::kIo, "cannot write " + f.out, {}}, "name another --out");
}

int exported(const Context& c, const Flags& f, std::uint64_t records, const std::string& key) {
  c.note(std::to_string(records) + " records, signed with key " + key);
  if (!f.out.empty()) c.note("check it: soma-verify " + f.out + " --key " + key);
  return 0;
}

int export_remote(const Context& c, std::ostream& out) {
  auto done = c.download("POST", "/v1/audit/export", [&](std::string_view bytes) {
    out << bytes;
    return static_cast<bool>(out);
  });
  out.flush();
  if (!out) return c.fail({Code::kIo, "the bundle could not be written", {}});
  return done ? 0 : c.fail(done.error());
}

int export_local(const Context& c, const Flags& f, std::ostream& out) {
  auto source = open_source(c);
  if (!source) return c.fail(source.error());
  std::vector<std::string> older;
  // Of a cluster's topics too, where a node's folder is named beside them.
  if (c.kafka.empty() || !c.data_dir.empty())
    for (const auto& one : audit::HeadFile(c.folder()).of(f.tenant))
      older.emplace_back(one.at("head").as_string());
  Progress progress("export", 0);
  auto made = audit::write_bundle(
      *source->log, *actors::standard_catalog(), source->key, f.tenant, older, now_ms(),
      [&](std::string_view line) -> Status {
        out << line;
        return out ? Status{} : soma::fail(Code::kIo, "the bundle could not be written");
      },
      [&](std::uint64_t done, std::uint64_t total) { progress.at(done, total); });
  progress.end();
  if (!made) return c.fail(made.error());
  out.flush();
  if (!out) return c.fail({Code::kIo, "the bundle could not be written", {}});
  return exported(c, f, made->records, made->key_id);
}

// A file appears under its name only when it is whole.
int export_bundle(const Context& c, const Flags& f) {
  // A node that is not this folder's: it alone has the journal and the key.
  const auto node = c.elsewhere();
  if (!node) return c.fail(node.error());
  const auto write = [&](std::ostream& out) {
    return node->empty() ? export_local(c, f, out) : export_remote(c, out);
  };
  if (f.out.empty()) return write(std::cout);
  const std::string part = f.out + ".part";
  std::ofstream out(part, std::ios::trunc | std::ios::binary);
  if (!out) return c.fail({Code::kIo, "cannot write " + part, {}}, "name another --out");
  const int code = write(out);
  out.close();
  std::error_code error;
  if (code == 0) std::filesystem::rename(part, f.out, error);
  const bool unnamed = static_cast<bool>(error);
  if (code != 0 || unnamed) std::filesystem::remove(part, error);
  return unnamed ? c.fail({Code::kIo, "cannot write " + f.out, {}}, "name another --out") : code;
}

int verify(const Context& c, const Flags& f) {
  std::vector<std::string> trusted;
  for (const auto& key : f.keys) {
    const auto ids = auditor::trusted_ids(key);
    if (ids.empty())
      return c.fail(
          {Code::kInvalidArgument, key + " is no thumbprint and no file with a key", "--key"});
    trusted.insert(trusted.end(), ids.begin(), ids.end());
  }
  if (trusted.empty()) {
    auto own = audit::folder_key(c.folder());
    if (!own)
      return c.fail({Code::kInvalidArgument,
                     "no --key was named, and " + c.folder() + " has none of its own", "--key"});
    trusted.push_back(own->id);
  }
  std::ifstream in(f.file, std::ios::binary);
  if (!in) return c.fail({Code::kNotFound, "cannot read " + f.file, {}});
  const auto report = auditor::check_stream(in, trusted);
  c.print(auditor::to_json(report));
  return report.ok() ? 0 : c.fail({Code::kCorrupt, "not verified: " + report.bad->detail, {}});
}

}  // namespace

void add_audit_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* group = add_group(app, "audit", "What was recorded, provable to others");
  add_kafka_options(*group, context);
  const auto of_tenant = [&](CLI::App* command) {
    command
        ->add_option("--tenant", f->tenant, "Of a folder or a cluster; a node knows the caller's")
        ->type_name("TENANT");
    return command;
  };
  auto* heads = of_tenant(
      add_verb(*group, context, run, "head", "Signed heads of a tenant's records", Effect::kRead,
               "soma audit head --sign", [&context, f] { return head(context, *f); }));
  heads->add_flag("--sign", f->sign, "Sign one of the records as they are now");
  auto* proof = of_tenant(add_verb(*group, context, run, "prove",
                                   "Proof that an event was recorded, as one document",
                                   Effect::kRead, "soma audit prove EVENT_ID --out proof.json",
                                   [&context, f] { return prove(context, *f); }));
  proof->add_option("event", f->event, "Event id")->required();
  proof->add_option("--out", f->out, "Write here instead of stdout")->type_name("FILE");
  of_tenant(add_verb(*group, context, run, "export",
                     "Everything recorded of a tenant, with proofs, for soma-verify", Effect::kRead,
                     "soma audit export --out demo.audit",
                     [&context, f] { return export_bundle(context, *f); }))
      ->add_option("--out", f->out, "Write here instead of stdout")
      ->type_name("FILE");
  auto* check = add_verb(*group, context, run, "verify", "Check a bundle or a proof", Effect::kRead,
                         "soma audit verify demo.audit --key THUMBPRINT",
                         [&context, f] { return verify(context, *f); });
  check->add_option("file", f->file, "The bundle or proof")->required();
  check->add_option("--key", f->keys, "Thumbprint of the signer's key, or a file with it")
      ->type_name("KEY");
}

}  // namespace soma::cli
