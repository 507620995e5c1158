// Cutting personal data out of a serialized entry, and putting it back, byte for byte.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "runtime/privacy/plan.h"
#include "schemas/base/errors.h"
#include "soma/v1/frame.pb.h"

namespace soma::runtime::privacy {

inline constexpr char kErased[] = "[erased]";
std::string alias_of(const std::string& key_id);  // "erased-0123456789ab"

using Subjects = std::set<std::string>;
struct Skeleton {
  std::string bytes;                         // with something else where personal data was
  std::map<Subjects, v1::SealedPieces> cut;  // by whose it is
};

// Whose data is not known, as of an outcome that nobody waits for any more: it goes with the next
// erasure in its tenant, whosever that is.
inline constexpr char kUnknown[] = "$unknown";

// What is cut: all that the plan names. `alias` gives the name to leave for a subject. `subject`
// owns what names no other; where it is no person, kUnknown does.
Skeleton cut(const Plans& plans, const Plan& entry, std::string_view bytes,
             const std::string& subject,
             const std::function<std::string(const std::string& subject)>& alias);

// The node itself acts as "soma"; an alias is what an erasure left of somebody.
inline bool is_person(const std::string& subject) {
  return !subject.empty() && subject != "soma" && !subject.starts_with('$') &&
         !subject.starts_with("erased-");
}

// kCorrupt: the bytes have no such places.
Result<std::string> put_back(std::string_view bytes, const v1::SealedPieces& pieces);

}  // namespace soma::runtime::privacy
