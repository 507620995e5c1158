// Where personal data stands in the entries of each actor type, by the schemas' `pii` options.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/actor_type.h"

namespace soma::runtime::privacy {

struct Plan;

// What to do with one field.
struct FieldPlan {
  enum class Do : std::uint8_t {
    kWalk,      // a message, or bytes that hold one: look inside by `nested`
    kCut,       // personal
    kCutValue,  // a map whose values are personal
    kSend,      // the command of a Send: look inside by its target's type
  };
  enum class Leave : std::uint8_t {  // in the place of what was cut
    kErased,                         // "[erased]"
    kJson,                           // "{}"
    kNothing,
    kAlias,   // a name by which the subject's key is known
    kSuffix,  // the same for the part behind the last "/", where that is the subject
  };
  Do act = Do::kWalk;
  Leave leave = Leave::kErased;
  std::string owner;  // name of the field that holds the subject
  const Plan* nested = nullptr;
};

struct Plan {
  std::map<std::uint32_t, FieldPlan> fields;   // those that are not just copied
  std::map<std::string, std::uint32_t> names;  // of text fields, by which owners are found
  bool active = false;                         // some field is personal, here or inside
  const FieldPlan* find(std::uint32_t number) const {
    const auto it = fields.find(number);
    return it == fields.end() ? nullptr : &it->second;
  }
};

// Made once, then immutable and thread-safe.
class Plans {
 public:
  explicit Plans(const actors::Catalog& catalog);
  // Null for a type that holds nothing personal, or is not known.
  const Plan* entry_of(std::string_view actor_type) const;
  const Plan* command_of(std::string_view actor_type) const;

 private:
  struct OfType {
    const Plan* entry = nullptr;
    const Plan* command = nullptr;
  };
  class Builder;
  std::vector<std::unique_ptr<Plan>> all_;
  std::map<std::string, OfType, std::less<>> types_;
};

}  // namespace soma::runtime::privacy
