// Sealing by the schemas' options and subjects' keys.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "events/sealer.h"
#include "runtime/privacy/plan.h"
#include "runtime/privacy/subject_keys.h"

namespace soma::runtime::privacy {

class SubjectSealer final : public events::Sealer {
 public:
  SubjectSealer(const actors::Catalog& catalog, std::shared_ptr<SubjectKeys> keys);

  bool personal(std::string_view actor_type) const override;
  void attribute(const v1::ActorRef& actor, const google::protobuf::Message& state,
                 const std::string& command, v1::Context& context) const override;
  Status seal(const v1::Entry& entry, std::string& bytes) const override;
  Status open(v1::Entry& entry) const override;

  // Whose personal data a command would bring to an actor; `subject` owns what names no other.
  std::set<std::string> subjects_in(const v1::ActorRef& actor, const std::string& command,
                                    const std::string& subject) const;

  SubjectKeys& keys() const { return *keys_; }

  // Of an entry as stored: how many of its values belong to whom of its tenant, and are in clear.
  std::map<std::string, std::uint64_t> in_clear(const v1::Entry& stored) const;

 private:
  const Plans plans_;
  const std::shared_ptr<SubjectKeys> keys_;
};

// Reads with the keys of a data folder, where it has some; else sealed data stays sealed.
// `master` as in Vault::open.
Result<std::shared_ptr<SubjectSealer>> open_sealer(const actors::Catalog& catalog,
                                                   const std::string& data_dir,
                                                   const std::string& master, bool read_only);

}  // namespace soma::runtime::privacy
