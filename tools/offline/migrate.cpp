// Opens both ends, copies, shows the heads.
#include "tools/offline/migrate.h"

#include <boost/json.hpp>
#include <filesystem>

#include "events/copy.h"
#include "events/embedded/embedded_log.h"
#include "events/embedded/folder_lock.h"
#include "runtime/erasure/topic_records.h"
#include "runtime/node/journal.h"
#include "runtime/privacy/master_key.h"
#include "runtime/privacy/vault.h"
#include "runtime/security/private_file.h"
#include "schemas/base/sha256.h"
#include "tools/cli/progress.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;
namespace privacy = runtime::privacy;

namespace {

using LogResult = Result<std::unique_ptr<events::Log>>;

LogResult open_target_folder(const std::string& folder, std::uint32_t partitions) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(Code::kIo, "cannot make the folder " + folder + ": " + error.message());
  events::EmbeddedOptions options;
  options.folder = folder + "/log";
  options.partition_count = partitions;
  return events::open_embedded_log(std::move(options));
}

Result<runtime::config::Config> cluster_config(const Context& c) {
  runtime::config::FlagValues flags{{"--kafka", c.kafka}};
  if (!c.kafka_topic_prefix.empty()) flags["--kafka-topic-prefix"] = c.kafka_topic_prefix;
  auto config = runtime::config::load_config(flags);
  if (config) config->data_dir = c.folder();
  return config;
}

LogResult open_target_cluster(const Context& c, std::uint32_t partitions) {
  auto config = cluster_config(c);
  if (!config) return tl::unexpected(config.error());
  config->partition_count = partitions;
  return runtime::open_cluster_journal(*config);
}

// The cluster's keys of personal data become the folder's vault, and its erasures the folder's, so
// that what is sealed can be read there, and what was erased does not come back.
Status export_keys(const Context& c, const std::string& to) {
  auto config = cluster_config(c);
  if (!config) return tl::unexpected(config.error());
  auto keys = runtime::open_cluster_keys(*config, true);
  if (!keys) {
    // Without the topic no node has served the journal yet: its keys are where it came from.
    const bool none = keys.error().code == Code::kNotFound && keys.error().field.empty();
    return none ? Status{} : tl::unexpected(keys.error());
  }
  const std::string& given = config->privacy_master_key;
  const std::string vault_folder = to + "/keys/vault";
  if (given.empty()) {
    auto master = privacy::master_key(c.folder() + "/keys/vault", given, true);
    if (!master) return tl::unexpected(master.error());
    std::error_code error;
    fs::create_directories(vault_folder, error);
    if (!fs::exists(vault_folder + "/master.key"))
      if (auto ok = runtime::security::replace_private_file(vault_folder, "master.key",
                                                            hex(*master) + "\n");
          !ok)
        return ok;
  }
  auto vault = privacy::Vault::open(to, given, false);
  if (!vault) return tl::unexpected(vault.error());
  for (const auto& slot : (*keys)->slots())
    if (auto ok = (*vault)->adopt(slot); !ok) return ok;
  const runtime::erasure::TopicRecords there(**keys);
  runtime::erasure::FolderRecords here(to);
  auto pending = there.pending();
  auto certificates = there.certificates();
  if (!pending) return tl::unexpected(pending.error());
  if (!certificates) return tl::unexpected(certificates.error());
  for (const auto& p : *pending)
    if (auto ok = here.begin(p); !ok) return ok;
  for (const auto& certificate : *certificates) {
    runtime::erasure::Pending of;
    of.id = certificate.at("erasure_id").as_string();
    if (auto ok = here.finish(of, certificate); !ok) return ok;
  }
  c.note("the keys of personal data are in " + vault_folder);
  return {};
}

int copy(const Context& c, const events::Log& from, events::Log& to, const std::string& target) {
  Progress progress("records", 0);
  auto copied = events::copy_journal(
      from, to, [&](std::uint64_t done, std::uint64_t total) { progress.at(done, total); });
  progress.end();
  if (!copied) return c.fail(copied.error());
  json::array rows;
  std::uint64_t records = 0;
  for (const auto& p : *copied) {
    records += p.records;
    rows.push_back(json::object{{"partition", p.partition.value},
                                {"records", p.records},
                                {"copied", p.copied},
                                {"frames", p.frames},
                                {"epoch", p.epoch.value},
                                {"head", hex(p.head)}});
  }
  c.print_list(rows, {"partition", "records", "copied", "frames", "head"}, {"epoch"});
  c.note(std::to_string(records) + " records in " + target + "; every chain head is equal");
  return 0;
}

int same_folder(const Context& c, const std::string& folder) {
  return c.fail({Code::kInvalidArgument, "source and target are the same folder: " + folder, {}},
                "name another one");
}

bool same(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::weakly_canonical(a, error) == fs::weakly_canonical(b, error);
}

}  // namespace

int export_journal(const Context& c, const std::string& to) {
  if (c.kafka.empty() && same(to, c.folder())) return same_folder(c, to);
  auto from = offline::open_source(c);
  if (!from) return c.fail(from.error());
  auto target = open_target_folder(to, (*from)->partition_count());
  if (!target) return c.fail(target.error());
  if (const int failed = copy(c, **from, **target, to); failed || c.kafka.empty()) return failed;
  auto keys = export_keys(c, to);  // after the records: the keys of all that was copied are there
  return keys ? 0 : c.fail(keys.error(), "name a node's data folder with --data-dir");
}

int import_journal(const Context& c, const std::string& from) {
  if (c.kafka.empty() && same(from, c.folder())) return same_folder(c, from);
  if (!fs::is_directory(from + "/log"))
    return c.fail({Code::kNotFound, "there is no journal in " + from, "--from"},
                  "name a data folder, whose journal is in its folder log");
  events::FolderLock lock;  // what is written while it is copied would be left behind
  if (auto taken = lock.take(from + "/log"); !taken)
    return c.fail(taken.error(), "stop the node that serves it first");
  auto source = offline::open_log(from);
  if (!source) return c.fail(source.error());
  auto target = c.kafka.empty() ? open_target_folder(c.folder(), (*source)->partition_count())
                                : open_target_cluster(c, (*source)->partition_count());
  if (!target) return c.fail(target.error());
  return copy(c, **source, **target, c.kafka.empty() ? c.folder() : c.kafka);
}

}  // namespace soma::cli
