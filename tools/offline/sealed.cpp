// The folder's vault or the cluster's keys, read-only.
#include "tools/offline/sealed.h"

#include <algorithm>
#include <iostream>
#include <mutex>
#include <set>

#include "runtime/config/config.h"
#include "runtime/node/journal.h"
#include "runtime/privacy/seal.h"

namespace soma::cli::offline {

namespace privacy = runtime::privacy;

namespace {

// Null: the folder has no vault.
Result<std::shared_ptr<privacy::SubjectSealer>> vault_of(const std::string& folder) {
  auto config = runtime::config::load_config({{"--data-dir", folder}});
  const std::string master = config ? config->privacy_master_key : std::string();
  auto sealer = privacy::open_sealer(*actors::standard_catalog(), folder, master, true);
  if (!sealer && sealer.error().code == Code::kNotFound)
    return std::shared_ptr<privacy::SubjectSealer>();
  return sealer;
}

// Each entry by the first who knows all its keys.
class ClusterJournal final : public events::Sealer {
 public:
  using Sources = std::vector<std::shared_ptr<privacy::SubjectSealer>>;
  ClusterJournal(Sources sources, std::string folder)
      : sources_(std::move(sources)), folder_(std::move(folder)) {}
  bool personal(std::string_view) const override { return false; }
  void attribute(const v1::ActorRef&, const google::protobuf::Message&, const std::string&,
                 v1::Context&) const override {}
  Status seal(const v1::Entry&, std::string&) const override { return {}; }
  Status open(v1::Entry& entry) const override {
    for (const auto& source : sources_)
      if (knows_keys_of(*source, entry)) return source->open(entry);
    std::call_once(told_, [&] {
      std::cerr << "the journal holds sealed personal data, and " << folder_
                << " has no keys for it: it is shown as erased and not decided again; name a "
                   "node's data folder with --data-dir, or give SOMA_PRIVACY_MASTER_KEY\n";
    });
    return {};
  }

 private:
  // A key is there before it seals: one that was not known never will be, and is not asked again.
  bool known_to(const privacy::SubjectSealer& source, const std::string& id) const {
    {
      std::lock_guard lock(mutex_);
      if (unknown_.contains({&source, id})) return false;
    }
    if (source.keys().find(id)) return true;
    std::lock_guard lock(mutex_);
    unknown_.insert({&source, id});
    return false;
  }

  bool knows_keys_of(const privacy::SubjectSealer& source, const v1::Entry& entry) const {
    const auto known = [&](const std::string& id) { return known_to(source, id); };
    return std::all_of(entry.sealed().begin(), entry.sealed().end(), [&](const auto& s) {
      return std::all_of(s.key_ids().begin(), s.key_ids().end(), known);
    });
  }

  const Sources sources_;
  const std::string folder_;
  mutable std::once_flag told_;
  mutable std::mutex mutex_;
  mutable std::set<std::pair<const privacy::SubjectSealer*, std::string>> unknown_;
};

}  // namespace

Status unseal(events::Log& log, const std::string& folder) {
  auto vault = vault_of(folder);
  if (!vault) return tl::unexpected(vault.error());
  if (*vault) log.seal_with(std::move(*vault));
  return {};
}

Status unseal_cluster(events::Log& log, const runtime::config::Config& config) {
  ClusterJournal::Sources sources;
  auto keys = runtime::open_cluster_keys(config, true);
  if (!keys && keys.error().code != Code::kNotFound) return tl::unexpected(keys.error());
  if (keys)
    sources.push_back(
        std::make_shared<privacy::SubjectSealer>(*actors::standard_catalog(), std::move(*keys)));
  auto vault = vault_of(config.data_dir);  // of a journal that no node has served since it came
  if (!vault) return tl::unexpected(vault.error());
  if (*vault) sources.push_back(std::move(*vault));
  log.seal_with(std::make_shared<ClusterJournal>(std::move(sources), config.data_dir));
  return {};
}

}  // namespace soma::cli::offline
