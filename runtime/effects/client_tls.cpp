// Options of libcurl.
#include "runtime/effects/client_tls.h"

#include <curl/curl.h>

namespace soma::runtime {

void use_tls(void* curl, const ClientTls& tls) {
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!tls.ca_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, tls.ca_file.c_str());
    curl_easy_setopt(curl, CURLOPT_CAPATH, nullptr);
    curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);  // the file may be replaced
  }
  if (!tls.pin.empty()) {
    curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, tls.pin.c_str());
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (tls.cert_file.empty()) return;
  curl_easy_setopt(curl, CURLOPT_SSLCERT, tls.cert_file.c_str());
  if (!tls.key_file.empty()) curl_easy_setopt(curl, CURLOPT_SSLKEY, tls.key_file.c_str());
  curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
}

}  // namespace soma::runtime
