// Personal data leaves an entry before it is stored, and comes back when it is read. The log itself
// knows no keys: hashes and audit are over what is stored.
#pragma once

#include <string>
#include <string_view>

#include "schemas/base/errors.h"
#include "soma/v1/frame.pb.h"

namespace soma::events {

// Thread-safe.
class Sealer {
 public:
  virtual ~Sealer() = default;
  // Whether entries of this actor type may hold personal data; asked before anything dearer.
  virtual bool personal(std::string_view actor_type) const = 0;
  // Names the context's data subject, where it can be known and was not handed on, from the actor's
  // state and its serialized command.
  virtual void attribute(const v1::ActorRef& actor, const google::protobuf::Message& state,
                         const std::string& command, v1::Context& context) const = 0;
  // `bytes` is the serialized entry; then the one to store. A failure means that it must not be
  // stored at all: a key could not be made durable.
  virtual Status seal(const v1::Entry& entry, std::string& bytes) const = 0;
  // Puts back what can be; `sealed` keeps the rest. kCorrupt: a key is missing that no erasure
  // destroyed, or a ciphertext does not check.
  virtual Status open(v1::Entry& entry) const = 0;
};

}  // namespace soma::events
