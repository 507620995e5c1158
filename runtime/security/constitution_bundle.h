// A constitution as it comes from outside: parsed, hashed, and its signature checked.
#pragma once

#include <string>
#include <vector>

#include "runtime/security/keys.h"
#include "schemas/base/errors.h"
#include "soma/v1/constitution.pb.h"

namespace soma::runtime::security {

// Public keys (or certificates' keys) of PEM files that may sign constitutions. Immutable;
// thread-safe.
class TrustedKeys {
 public:
  // `files`: paths of PEM files. kInvalidArgument names a file that cannot be read or that holds no
  // RSA (2048 bits or more) or Ed25519 public key.
  static Result<TrustedKeys> read(const std::vector<std::string>& files);
  void add(Key key) { keys_.push_back(std::move(key)); }
  bool empty() const { return keys_.empty(); }
  bool trusts(std::string_view key_id) const;
  // The id of the key that made the signature; empty: none of them did.
  std::string signer(std::string_view algorithm, std::string_view bytes,
                     std::string_view signature) const;

 private:
  std::vector<Key> keys_;
};

struct CheckedBundle {
  v1::Constitution constitution;    // complete only when there are no issues
  std::vector<std::string> issues;  // sentences, each naming its field; empty: valid
};

// `text` is the request's body: {version, issued_at, document, hash, signature{algorithm, value}}.
// Hash and signature are over the canonical JSON of `document`.
CheckedBundle check_bundle(const std::string& text, const TrustedKeys& trusted);

// The rules of a document (its JSON text) by itself, unsigned: for trying them out.
// kInvalidArgument: the first issue.
Result<v1::ConstitutionRules> rules_of(const std::string& document);

// The canonical JSON of the member `document` of a JSON object. kMalformed, kInvalidArgument.
Result<std::string> canonical_document(const std::string& text);

// The bundle again, as JSON text with the document's canonical bytes.
std::string bundle_text(const v1::Constitution& constitution);

// A bundle signed with an Ed25519 key: what a first start in a developer mode loads.
Result<v1::Constitution> sign_constitution(const Key& key, const std::string& document,
                                           const std::string& version, std::int64_t now_ms);

}  // namespace soma::runtime::security
