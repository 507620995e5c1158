// The data keys of subjects, where they can be destroyed; where they are kept is another's matter.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::runtime::privacy {

struct DataKey {
  std::string id;      // 32 hex digits
  std::string secret;  // kKeyBytes
  ~DataKey();
};
using DataKeyPtr = std::shared_ptr<const DataKey>;

// Thread-safe; calls may block for a disk or a broker.
class SubjectKeys {
 public:
  virtual ~SubjectKeys() = default;

  // The subject's key; made and durable when this returns. While the subject is being erased it is
  // one that nothing ever held but memory.
  virtual Result<DataKeyPtr> of(const std::string& tenant, const std::string& subject) = 0;
  // Null: destroyed. kCorrupt: there never was such a key.
  virtual Result<DataKeyPtr> find(const std::string& id) = 0;
  // The id of the subject's key, if it has one.
  virtual std::optional<std::string> id_of(const std::string& tenant,
                                           const std::string& subject) const = 0;

  // From now on nothing of the subject is kept under its old key, nor under one that lasts.
  // `erasure` names what is ended by the same name; once ended it does not begin again where keys
  // are shared.
  virtual Status begin_erasure(const std::string& tenant, const std::string& subject,
                               const std::string& erasure) = 0;
  // What the subject's data was under when the erasure began; overwritten and durable when it
  // returns, and whatever else here holds a key has let go of it. The ids.
  virtual Result<std::vector<std::string>> destroy(const std::string& tenant,
                                                   const std::string& subject,
                                                   const std::string& erasure) = 0;
  virtual Status end_erasure(const std::string& tenant, const std::string& subject,
                             const std::string& erasure) = 0;

  virtual std::size_t keys() const = 0;  // that exist
};

}  // namespace soma::runtime::privacy
