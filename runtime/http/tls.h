// What a server needs to speak TLS: names of files, so that certificates can be replaced under it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::runtime::http {

// All PEM. Read at start and again whenever one of them changes; what cannot be read then is
// logged, and what was read before stays in force.
struct TlsFiles {
  std::string cert_file;       // the server's chain, its own certificate first; none: no TLS
  std::string key_file;        // the key of that certificate
  std::string client_ca_file;  // given: each client shows a certificate of these authorities
  // Given: of clients' authorities, which certificates are revoked. An authority without a list
  // here, or with one out of date, vouches for nobody.
  std::string client_crl_file;
  // Given: one of these is the client's DNS name or URI (as spiffe://example.org/agent).
  std::vector<std::string> client_names;
  std::string settings = "http.tls";  // whose settings these are, for errors

  bool on() const { return !cert_file.empty(); }
};

// Unix seconds at which the first certificate of a PEM file ends. kNotFound: there is none in it.
Result<std::int64_t> certificate_end(const std::string& file);

}  // namespace soma::runtime::http
