// Asks for an erasure, follows it to its certificate.
#include "tools/cli/privacy_commands.h"

#include <poll.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr int kBetweenLooksMs = 200;

struct Flags {
  std::string tenant, subject, reason;
};

std::string base_of(const Flags& f) { return "/v1/tenants/" + url_encoded(f.tenant); }

// A node that reads its log again answers 503 for a moment.
bool try_later(const Error& e) { return code_disposition(e.code) == Disposition::kRetry; }

// Nodes of a cluster, and `views`, by name.
std::string waits_for(const json::object& certificate) {
  std::string out;
  const auto* all = certificate.if_contains("waits_for");
  if (!all || !all->is_array()) return out;
  for (const auto& one : all->get_array())
    (out += out.empty() ? "" : ", ") += std::string_view(one.as_string());
  return out;
}

int erase(const Context& c, const Flags& f) {
  json::object body{{"subject", f.subject}};
  if (!f.reason.empty()) body["reason"] = f.reason;
  auto begun = c.call("POST", base_of(f) + "/erase-subject", body);
  if (!begun || c.dry_run) return c.show(begun);
  const std::string id = text_of(*begun, "erasure_id");
  if (const std::string approval = text_of(*begun, "approval_id"); !approval.empty()) {
    c.note("another person must approve it: soma approval approve " + approval);
    return c.show(begun);
  }
  std::string told;
  for (;;) {
    auto now = c.call("GET", base_of(f) + "/erasures/" + url_encoded(id));
    if (!now && !try_later(now.error())) return c.fail(now.error());
    if (now && text_of(*now, "status") == "done") {
      if (now->at("clear_values").to_number<std::int64_t>() > 0)
        c.note(
            "NOT complete: values of this person were recorded before sealing and stay in the "
            "log; see clear_values");
      if (const std::string waited = waits_for(now->as_object()); !waited.empty())
        c.note("NOT complete yet: " + waited +
               " must still drop what was made from the log; the certificate is then signed anew");
      return c.show(now);
    }
    if (now && text_of(*now, "problem") != told) {
      told = text_of(*now, "problem");
      if (!told.empty()) c.note("goes on: " + told);
    }
    ::poll(nullptr, 0, kBetweenLooksMs);
  }
}

}  // namespace

void add_privacy_verbs(CLI::App& tenant, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* erases = add_verb(tenant, context, run, "erase-subject",
                          "Destroy the key of a person's data, for ever; prints the certificate",
                          Effect::kDestructive, "soma tenant erase-subject demo ana --yes",
                          [&context, f] { return erase(context, *f); });
  erases->add_option("tenant", f->tenant, "The caller's tenant")->required();
  erases->add_option("subject", f->subject, "Whose data: a token's `sub`, a session's user")
      ->required();
  erases->add_option("--reason", f->reason, "Kept in the log: name nobody in it")
      ->type_name("TEXT");
  auto* lists = add_verb(
      tenant, context, run, "erasures", "Certificates of erasures, and those under way",
      Effect::kRead, "soma tenant erasures demo", [&context, f] {
        return context.list(base_of(*f) + "/erasures", "items",
                            {"erasure_id", "status", "erased_at", "complete", "sealed_entries"},
                            {"approval_id", "subject", "requested_by", "approved_by"});
      });
  lists->add_option("tenant", f->tenant, "The caller's tenant")->required();
  add_list_options(*lists, context);
}

}  // namespace soma::cli
