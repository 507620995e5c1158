// Keys and signed documents, strictly.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace soma::auditor {

struct PublicKey {
  std::string raw;  // 32 bytes
  std::string id;   // RFC 7638 thumbprint
};

// An Ed25519 JWK whose kid is its own thumbprint.
std::optional<PublicKey> key_of(const boost::json::value& jwk);
// Thumbprints that a text stands for: a thumbprint, or the name of a file that holds a JWK, a JWKS
// or a PEM public key. Empty: it stands for none.
std::vector<std::string> trusted_ids(const std::string& text);

// The payload of a compact JWS of this type by this key; nothing when anything is off.
std::optional<boost::json::object> open_document(std::string_view jws, std::string_view type,
                                                 const PublicKey& key);

// "" when absent or no text.
std::string text(const boost::json::object& o, std::string_view name);
std::optional<std::uint64_t> number(const boost::json::object& o, std::string_view name);
std::optional<std::string> unhex(std::string_view text);  // of 64 lower-case digits

}  // namespace soma::auditor
