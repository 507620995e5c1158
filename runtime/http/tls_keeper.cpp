// Files to a context of OpenSSL.
#include "runtime/http/tls_keeper.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <strings.h>
#include <sys/stat.h>

#include <boost/asio/ssl/verify_context.hpp>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "runtime/telemetry/log.h"
#include "schemas/base/base64.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::http {

namespace ssl = boost::asio::ssl;

namespace {

constexpr char kSuites12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";  // of TLS 1.2; all of 1.3 are like them
constexpr unsigned char kProtocol[] = "\x08http/1.1";        // as ALPN writes it

std::string why() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "it cannot be read";
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "it is not valid PEM";
}

tl::unexpected<Error> cannot_take(const std::string& setting, const std::string& file) {
  return fail(Code::kInvalidArgument, setting + ": cannot take " + file + ": " + why(), setting);
}

// A server has nobody to ask for a password.
int no_password(char*, int, int, void*) { return 0; }

int choose_protocol(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in,
                    unsigned int in_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, kProtocol, sizeof kProtocol - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

bool has_name(X509* certificate, const std::vector<std::string>& names) {
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> all(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS && name->type != GEN_URI) continue;
    const ASN1_IA5STRING* value = name->d.ia5;
    // Whole, as a name may hold a zero.
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                static_cast<std::size_t>(ASN1_STRING_length(value)));
    for (const auto& wanted : names)
      if (text == wanted || (name->type == GEN_DNS && text.size() == wanted.size() &&
                             ::strncasecmp(text.data(), wanted.data(), text.size()) == 0))
        return true;
  }
  return false;
}

bool load_revoked(SSL_CTX* context, const std::string& file) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  return lookup != nullptr && X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) > 0 &&
         X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

// Whom the server lets in.
Status ask_clients(ssl::context& context, const TlsFiles& files) {
  SSL_CTX* native = context.native_handle();
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.client_ca_file.c_str());
  if (names == nullptr || SSL_CTX_load_verify_file(native, files.client_ca_file.c_str()) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return cannot_take(files.settings + files.ca_setting, files.client_ca_file);
  }
  SSL_CTX_set_client_CA_list(native, names);
  if (!files.client_crl_file.empty() && !load_revoked(native, files.client_crl_file))
    return cannot_take(files.settings + ".client_crl_file", files.client_crl_file);
  SSL_CTX_set_options(native, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  context.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  context.set_verify_callback([names = files.client_names](bool ok, ssl::verify_context& verified) {
    X509_STORE_CTX* chain = verified.native_handle();
    if (!ok || names.empty() || X509_STORE_CTX_get_error_depth(chain) > 0) return ok;
    if (has_name(X509_STORE_CTX_get_current_cert(chain), names)) return true;
    X509_STORE_CTX_set_error(chain, X509_V_ERR_HOSTNAME_MISMATCH);
    return false;
  });
  return {};
}

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
Result<Certificate> first_of(const std::string& file) {
  ERR_clear_error();
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_file(file.c_str(), "r"), BIO_free);
  Certificate found(in ? PEM_read_bio_X509(in.get(), nullptr, no_password, nullptr) : nullptr,
                    X509_free);
  if (!found) return fail(Code::kNotFound, "no certificate in " + file + ": " + why());
  return found;
}

std::int64_t end_of(const X509* certificate) {
  std::tm tm{};
  return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? ::timegm(&tm) : 0;
}

Result<TlsKeeper::Context> make_context(const TlsFiles& files) {
  ERR_clear_error();
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(native, kSuites12);
  SSL_CTX_set_options(
      native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(native, choose_protocol, nullptr);
  SSL_CTX_set_default_passwd_cb(native, no_password);
  if (SSL_CTX_use_certificate_chain_file(native, files.cert_file.c_str()) != 1)
    return cannot_take(files.settings + ".cert_file", files.cert_file);
  if (SSL_CTX_use_PrivateKey_file(native, files.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(native) != 1)
    return cannot_take(files.settings + ".key_file", files.key_file);
  if (!files.client_ca_file.empty())
    if (auto ok = ask_clients(*context, files); !ok) return tl::unexpected(ok.error());
  return context;
}

}  // namespace

Result<std::int64_t> certificate_end(const std::string& file) {
  auto certificate = first_of(file);
  if (!certificate) return tl::unexpected(certificate.error());
  return end_of(certificate->get());
}

Result<std::string> key_pin(const std::string& file) {
  auto certificate = first_of(file);
  if (!certificate) return tl::unexpected(certificate.error());
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate->get()), &der);
  if (size <= 0) return fail(Code::kInternal, "the key in " + file + " cannot be written");
  const std::string key(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return "sha256//" + base64(sha256(key));
}

Result<std::unique_ptr<TlsKeeper>> TlsKeeper::open(TlsFiles files, const std::string& service,
                                                   Metrics* metrics) {
  std::unique_ptr<TlsKeeper> out(new TlsKeeper(std::move(files)));
  out->service_ = service;
  if (metrics != nullptr) {
    const Labels labels{{"service", service}};
    out->not_after_ = metrics->gauge("soma_tls_certificate_not_after_seconds",
                                     "Unix time at which the server's certificate ends", labels);
    out->reads_ = metrics->counter("soma_tls_reads_total",
                                   "Times that certificates were read, at start and anew", labels);
    out->failures_ = metrics->counter("soma_tls_read_failures_total",
                                      "Times that changed certificates could not be read", labels);
  }
  out->seen_ = out->stamps();
  if (auto ok = out->read(); !ok) return tl::unexpected(ok.error());
  return out;
}

const TlsKeeper::Context& TlsKeeper::current(Time now) {
  if (now - looked_ < kLookAgain) return context_;
  looked_ = now;
  // Before they are read: what changes meanwhile is seen at the next look.
  auto stamps = this->stamps();
  if (stamps == seen_) return context_;
  seen_ = std::move(stamps);
  auto ok = read();
  if (!ok) {
    // Again at the next look: what was in the way may be gone without a trace on the files.
    seen_.clear();
    failures_.add();
    if (ok.error().message != told_)
      log_warn("tls_not_read_again", {{"service", service_}, {"reason", ok.error().message}});
  } else {
    log_info("tls_read_again", {{"service", service_}});
  }
  told_ = ok ? "" : ok.error().message;
  return context_;
}

std::vector<TlsKeeper::Stamp> TlsKeeper::stamps() const {
  std::vector<Stamp> out;
  for (const std::string* file :
       {&files_.cert_file, &files_.key_file, &files_.client_ca_file, &files_.client_crl_file}) {
    struct stat s {};
    Stamp stamp;
    if (!file->empty() && ::stat(file->c_str(), &s) == 0)
      stamp = {static_cast<std::int64_t>(s.st_dev), static_cast<std::int64_t>(s.st_ino),
               static_cast<std::int64_t>(s.st_size),
               s.st_mtim.tv_sec * 1'000'000'000 + s.st_mtim.tv_nsec,
               s.st_ctim.tv_sec * 1'000'000'000 + s.st_ctim.tv_nsec};
    out.push_back(stamp);
  }
  return out;
}

Status TlsKeeper::read() {
  auto made = make_context(files_);
  if (!made) return tl::unexpected(made.error());
  context_ = std::move(*made);
  reads_.add();
  not_after_.set(static_cast<double>(end_of(SSL_CTX_get0_certificate(context_->native_handle()))));
  return {};
}

}  // namespace soma::runtime::http
