#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace eventcore::test {

/// A key and a certificate for a host that vouches for itself, valid for an hour.
class certificate {
public:
  explicit certificate(const std::string& host)
      : key_{EVP_EC_gen("P-256"), EVP_PKEY_free}
      , x509_{X509_new(), X509_free} {
    X509_set_version(x509_.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509_.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509_.get()), -3'600);
    X509_gmtime_adj(X509_getm_notAfter(x509_.get()), 3'600);
    auto* name = X509_get_subject_name(x509_.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(host.c_str()),
                               -1, -1, 0);
    X509_set_issuer_name(x509_.get(), name);
    X509_set_pubkey(x509_.get(), key_.get());
    X509_sign(x509_.get(), key_.get(), EVP_sha256());
  }

  X509* x509() const { return x509_.get(); }
  EVP_PKEY* key() const { return key_.get(); }

  /// Writes the certificate to `file`, as PEM, and returns its name.
  std::string write_to(const std::filesystem::path& file) const {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> out{std::fopen(file.c_str(), "w"), std::fclose};
    PEM_write_X509(out.get(), x509_.get());
    return file.string();
  }

private:
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
  std::unique_ptr<X509, void (*)(X509*)> x509_;
};

} // namespace eventcore::test
