// Fuzzes constitutions: none is valid that no trusted key has signed; what is signed over a
// document's canonical form is valid however the document is written; that form is its own.
#include <cstdint>

#include "runtime/security/constitution_bundle.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::runtime::security;
using soma::fuzz::check;

namespace {

// Made anew in each process, so that no input can hold a valid signature.
const Key& key() {
  static const Key made = generate_ed25519().value();
  return made;
}

const TrustedKeys& trusted() {
  static const TrustedKeys keys = [] {
    TrustedKeys out;
    out.add(key());
    return out;
  }();
  return keys;
}

void valid(const std::string& document) {
  const auto canonical = canonical_document("{\"document\":" + document + "}");
  if (!canonical) return check(!canonical.error().message.empty());
  const auto twice = canonical_document("{\"document\":" + *canonical + "}");
  check(twice && *twice == *canonical);
  const auto rules = rules_of(document);
  const auto made = sign_constitution(key(), document, "1.0", 1'700'000'000'000);
  if (!made) return check(!made.error().message.empty());
  const auto again = check_bundle(bundle_text(*made), trusted());
  check(again.issues.empty() == rules.has_value());
  check(again.constitution.document() == *canonical && !again.constitution.key_id().empty());
  if (rules) check(again.constitution.rules().SerializeAsString() == rules->SerializeAsString());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(!check_bundle(text, trusted()).issues.empty());
  valid(text);
  return 0;
}
