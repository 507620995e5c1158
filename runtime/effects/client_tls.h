// What a client of HTTPS trusts and shows.
#pragma once

#include <string>

namespace soma::runtime {

// PEM files, read at each new connection. None: the system's authorities, nothing shown.
struct ClientTls {
  std::string ca_file;              // authorities whose servers are trusted, and no others
  std::string cert_file, key_file;  // for servers that ask who we are; no key_file: both in one
  std::string
      pin;  // given: the server has this key (http::key_pin), whatever its name and authority
};

// `curl`: an easy handle of libcurl. TLS 1.2 at least; no session is resumed where a certificate is
// shown.
void use_tls(void* curl, const ClientTls& tls);

}  // namespace soma::runtime
