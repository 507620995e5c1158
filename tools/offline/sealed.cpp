// The folder's vault, read-only.
#include "tools/offline/sealed.h"

#include <algorithm>
#include <iostream>
#include <mutex>

#include "runtime/config/config.h"
#include "runtime/privacy/seal.h"

namespace soma::cli::offline {

namespace privacy = runtime::privacy;

namespace {

// Null: the folder has no vault.
Result<std::shared_ptr<privacy::VaultSealer>> vault_of(const std::string& folder) {
  auto config = runtime::config::load_config({{"--data-dir", folder}});
  const std::string master = config ? config->privacy_master_key : std::string();
  auto sealer = privacy::open_sealer(*actors::standard_catalog(), folder, master, true);
  if (!sealer && sealer.error().code == Code::kNotFound)
    return std::shared_ptr<privacy::VaultSealer>();
  return sealer;
}

class MovedJournal final : public events::Sealer {
 public:
  MovedJournal(std::shared_ptr<privacy::VaultSealer> vault, std::string folder)
      : vault_(std::move(vault)), folder_(std::move(folder)) {}
  bool personal(std::string_view) const override { return false; }
  void attribute(const v1::ActorRef&, const google::protobuf::Message&, const std::string&,
                 v1::Context&) const override {}
  Status seal(const v1::Entry&, std::string&) const override { return {}; }
  Status open(v1::Entry& entry) const override {
    if (knows_keys_of(entry)) return vault_->open(entry);
    std::call_once(told_, [&] {
      std::cerr << "the journal holds sealed personal data, and " << folder_
                << " has no keys for it: it is shown as erased and not decided again; name the "
                   "data folder that the journal came from with --data-dir\n";
    });
    return {};
  }

 private:
  bool knows_keys_of(const v1::Entry& entry) const {
    const auto known = [&](const std::string& id) { return vault_->vault().find(id).has_value(); };
    return vault_ && std::all_of(entry.sealed().begin(), entry.sealed().end(), [&](const auto& s) {
             return std::all_of(s.key_ids().begin(), s.key_ids().end(), known);
           });
  }

  const std::shared_ptr<privacy::VaultSealer> vault_;
  const std::string folder_;
  mutable std::once_flag told_;
};

}  // namespace

Status unseal(events::Log& log, const std::string& folder) {
  auto vault = vault_of(folder);
  if (!vault) return tl::unexpected(vault.error());
  if (*vault) log.seal_with(std::move(*vault));
  return {};
}

Status unseal_moved(events::Log& log, const std::string& folder) {
  auto vault = vault_of(folder);
  if (!vault) return tl::unexpected(vault.error());
  log.seal_with(std::make_shared<MovedJournal>(std::move(*vault), folder));
  return {};
}

}  // namespace soma::cli::offline
