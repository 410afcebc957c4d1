// OpenSSL's own CMP, the judge of ours.
#pragma once

#include "tests/unit/cmp_fixture.h"
#include "tests/unit/openssl_cmp.h"

namespace fleetroot::cmp {

inline CmpMessagePtr parse_stock_message(BytesView der) {
  return parse_openssl_message(der);
}

// A CA that is OpenSSL's, for one transaction: certifies what comes, and remembers what it heard.
class StockServer {
 public:
  StockServer(const Party& ca, const Party& station, const EVP_MD* digest) : ca_(ca), station_(station) {
    OSSL_CMP_CTX* context = OSSL_CMP_SRV_CTX_get0_cmp_ctx(server_.get());
    OSSL_CMP_CTX_set_log_verbosity(context, OSSL_CMP_LOG_EMERG);
    OSSL_CMP_CTX_set1_cert(context, ca.certificate.x509());
    OSSL_CMP_CTX_set1_pkey(context, ca.key.get());
    OSSL_CMP_CTX_set1_srvCert(context, station.certificate.x509());
    OSSL_CMP_CTX_set_option(context, OSSL_CMP_OPT_DIGEST_ALGNID, EVP_MD_get_type(digest));
    OSSL_CMP_SRV_CTX_init(server_.get(), this, certify, nullptr, nullptr, nullptr, take_confirmation,
                          nullptr);
  }
  StockServer(const StockServer&) = delete;
  StockServer& operator=(const StockServer&) = delete;

  Bytes respond(BytesView message) {
    CmpMessagePtr answer(OSSL_CMP_SRV_process_request(server_.get(), parse_stock_message(message).get()));
    EXPECT_TRUE(answer) << take_openssl_errors();
    return answer ? to_der(i2d_OSSL_CMP_MSG, static_cast<const OSSL_CMP_MSG*>(answer.get())) : Bytes();
  }

  std::string refusal;                // empty: it certifies
  EVP_PKEY* certified_key = nullptr;  // instead of the one that was asked for
  std::optional<SerialNumber> replaced;
  std::optional<Certificate> issued;
  Bytes confirmed_hash;
  std::string confirmed_status;

 private:
  static StockServer& self(OSSL_CMP_SRV_CTX* server) {
    return *static_cast<StockServer*>(OSSL_CMP_SRV_CTX_get0_custom_ctx(server));
  }
  static OSSL_CMP_PKISI* certify(OSSL_CMP_SRV_CTX* server, const OSSL_CMP_MSG*, int,
                                 const OSSL_CRMF_MSG* update, const X509_REQ* request, X509** certificate,
                                 STACK_OF(X509) * *chain, STACK_OF(X509) * *publications) {
    StockServer& own = self(server);
    if (!own.refusal.empty()) {
      return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << OSSL_CMP_PKIFAILUREINFO_badPOP,
                                     own.refusal.c_str());
    }
    std::string name = "st-01";
    EvpPkeyPtr key;
    if (request != nullptr) {
      name = CertificateRequest::from_der(to_der(i2d_X509_REQ, request)).common_name();
      key.reset(X509_REQ_get_pubkey(const_cast<X509_REQ*>(request)));
    } else {
      // OpenSSL 3.0 has verified it, and does not show it.
      key.reset(X509_get_pubkey(own.station_.certificate.x509()));
      own.replaced =
          SerialNumber::of(OSSL_CRMF_CERTID_get0_serialNumber(OSSL_CRMF_MSG_get0_regCtrl_oldCertID(update)));
    }
    if (own.certified_key != nullptr) EVP_PKEY_up_ref(own.certified_key);
    if (own.certified_key != nullptr) key.reset(own.certified_key);
    own.issued = make_certificate(name, key.get(), &own.ca_, own.ca_.key.get());
    X509_up_ref(own.issued->x509());
    *certificate = own.issued->x509();
    *chain = to_stack({own.ca_.certificate}).release();
    *publications = to_stack({own.ca_.certificate}).release();
    return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, nullptr);
  }
  static int take_confirmation(OSSL_CMP_SRV_CTX* server, const OSSL_CMP_MSG*, int,
                               const ASN1_OCTET_STRING* hash, const OSSL_CMP_PKISI* status) {
    const unsigned char* octets = ASN1_STRING_get0_data(hash);
    self(server).confirmed_hash.assign(octets, octets + ASN1_STRING_length(hash));
    char text[OSSL_CMP_PKISI_BUFLEN] = "";
    OSSL_CMP_snprint_PKIStatusInfo(status, text, sizeof text);
    self(server).confirmed_status = text;
    return 1;
  }

  const Party& ca_;
  const Party& station_;
  CmpSrvCtxPtr server_{OSSL_CMP_SRV_CTX_new(nullptr, nullptr)};
};

}  // namespace fleetroot::cmp
