// What a server needs to speak TLS: names of files, so that certificates can be replaced under it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::runtime::http {

// All PEM. Read at start and again when one of them changes; while what is there then cannot be
// read, which is logged, what was read before stays in force.
struct TlsFiles {
  std::string cert_file;       // the server's chain, its own certificate first; none: no TLS
  std::string key_file;        // the key of that certificate
  std::string client_ca_file;  // given: each client shows a certificate of these authorities
  // Given: of clients' authorities, which certificates are revoked. An authority, also one between
  // the client and client_ca_file, without a list here or with one out of date vouches for nobody.
  std::string client_crl_file;
  // Given: one of these is the client's DNS name or URI (as spiffe://example.org/agent).
  std::vector<std::string> client_names;
  // For errors: whose settings these are, and how that of client_ca_file is called.
  std::string settings = "http.tls", ca_setting = ".client_ca_file";

  bool on() const { return !cert_file.empty(); }
};

// The key of that certificate, as libcurl pins one: sha256//BASE64.
Result<std::string> key_pin(const std::string& file);

// Unix seconds at which the first certificate of a PEM file ends. kNotFound: there is none in it.
Result<std::int64_t> certificate_end(const std::string& file);

}  // namespace soma::runtime::http
