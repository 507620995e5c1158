// Why a handshake failed.
#include "runtime/http/channel.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/ssl/error.hpp>

namespace soma::runtime::http {

std::string Channel::why_refused(const boost::system::error_code& error) const {
  const long verified =
      tls() != nullptr ? SSL_get_verify_result(tls()->native_handle()) : X509_V_OK;
  if (verified == X509_V_ERR_HOSTNAME_MISMATCH) return "the client has none of the names allowed";
  if (verified != X509_V_OK) return X509_verify_cert_error_string(verified);
  return error.message();
}

bool Channel::was_in_the_clear(const boost::system::error_code& error) {
  return error.category() == boost::asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
}

}  // namespace soma::runtime::http
