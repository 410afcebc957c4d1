// A CA, two stations and a device with software keys, and an authority that keeps count.
#pragma once

#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <functional>
#include <string>
#include <vector>

#include "lib/cmp/client.h"
#include "lib/cmp/message.h"
#include "lib/cmp/responder.h"
#include "tests/software_pki.h"

namespace fleetroot::cmp {

struct Party {
  EvpPkeyPtr key;
  Certificate certificate;
};

inline void add_extension(X509* certificate, X509V3_CTX& context, int nid, const char* text) {
  X509ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, text));
  ASSERT_TRUE(extension) << take_openssl_errors();
  X509_add_ext(certificate, extension.get(), -1);
}

// `issuer` null: self-signed.
inline Certificate make_certificate(const std::string& name, EVP_PKEY* key, const Party* issuer,
                                    EVP_PKEY* issuer_key, const char* usage = "critical,digitalSignature") {
  X509Ptr x509(X509_new());
  X509_set_version(x509.get(), X509_VERSION_3);
  X509_set_serialNumber(x509.get(), SerialNumber::random().asn1().get());
  X509_gmtime_adj(X509_getm_notBefore(x509.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* issuer_x509 = issuer == nullptr ? x509.get() : issuer->certificate.x509();
  X509_set_issuer_name(x509.get(), X509_get_subject_name(issuer_x509));
  X509_set_pubkey(x509.get(), key);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer_x509, x509.get(), nullptr, nullptr, 0);
  if (issuer == nullptr) add_extension(x509.get(), context, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(x509.get(), context, NID_key_usage, usage);
  add_extension(x509.get(), context, NID_subject_key_identifier, "hash");
  const EVP_MD* digest = digest_for(PublicKey::from_evp(issuer_key).algorithm());
  EXPECT_GT(X509_sign(x509.get(), issuer_key, digest), 0) << take_openssl_errors();
  return Certificate(std::move(x509));
}

inline Party make_ca(const std::string& name, KeyAlgorithm algorithm = KeyAlgorithm::p256) {
  EvpPkeyPtr key = software_key(algorithm);
  Certificate certificate =
      make_certificate(name, key.get(), nullptr, key.get(), "critical,digitalSignature,keyCertSign,cRLSign");
  return {std::move(key), std::move(certificate)};
}

inline Party make_station(const std::string& name, const Party& ca,
                          KeyAlgorithm algorithm = KeyAlgorithm::p256) {
  EvpPkeyPtr key = software_key(algorithm);
  Certificate certificate = make_certificate(name, key.get(), &ca, ca.key.get());
  return {std::move(key), std::move(certificate)};
}

// Same name and key identifier, other key.
inline Party make_namesake(const Party& original) {
  EvpPkeyPtr key = software_key();
  X509Ptr copy(X509_dup(original.certificate.x509()));
  X509_set_pubkey(copy.get(), key.get());
  EXPECT_GT(X509_sign(copy.get(), key.get(), EVP_sha256()), 0);
  return {std::move(key), Certificate(std::move(copy))};
}

inline CertificateRequest make_request(const std::string& device_id, EVP_PKEY* key) {
  return CertificateRequest::create(device_id, PublicKey::from_evp(key), key);
}

class FakeAuthority : public Authority {
 public:
  struct Outcome {
    std::string station;
    Certificate certificate;
    bool accepted;
  };

  explicit FakeAuthority(const Party& ca) : ca_(ca) {}

  void enroll(const Party& station) {
    enrolled.push_back({*station.certificate.common_name(), station.certificate});
  }

  Sender authenticate(BytesView sender_key_id) override {
    for (const Sender& sender : enrolled) {
      if (sender.certificate.subject_key_identifier() == to_hex(sender_key_id)) return sender;
    }
    throw Error(ErrorCode::not_authorised, "no station is enrolled with this key", "enroll the station");
  }

  Sender recognise(const Certificate& certificate) override {
    return authenticate(*from_hex(certificate.subject_key_identifier()));
  }

  Task<Issued> issue(const Sender& sender, const CertificateRequest& request, std::optional<Time> made,
                     std::string_view label) override {
    times.push_back(made);
    issuing(sender, request);
    labels.emplace_back(label);
    if (remembers && !issued.empty()) co_return Issued{issued.front().der(), {ca_.certificate}};
    const PublicKey& requested = request.public_key();
    EVP_PKEY* key = certified_key != nullptr ? certified_key : requested.evp();
    issued.push_back(make_certificate(request.common_name(), key, &ca_, ca_.key.get()));
    co_return Issued{issued.back().der(), {ca_.certificate}};
  }

  Issued renew(const Sender& sender, const PublicKey& key,
               const std::optional<CertificateName>& replaces) override {
    renewed.emplace_back(sender.name, replaces);
    issued.push_back(make_certificate(sender.name, key.evp(), &ca_, ca_.key.get()));
    return {issued.back().der(), {ca_.certificate}};
  }

  Task<Confirmed> confirm(const Sender& sender, const Certificate& certificate, bool accepted) override {
    confirming();
    outcomes.push_back({sender.name, certificate, accepted});
    co_return Confirmed{};
  }

  void revoke(const Sender& sender, const RevocationRequest& request) override {
    revoked.push_back({sender.name, request});
  }

  void failed(const Error& error) override { failures.push_back(error); }

  std::vector<Error> failures;
  std::vector<std::pair<std::string, RevocationRequest>> revoked;
  std::vector<std::pair<std::string, std::optional<CertificateName>>> renewed;
  std::vector<Sender> enrolled;
  std::vector<Certificate> issued;
  bool remembers = false;  // and gives the same again, as Authority wants it
  std::vector<std::optional<Time>> times;
  std::vector<std::string> labels;
  std::vector<Outcome> outcomes;
  // Called first; what they throw is what the authority throws.
  std::function<void(const Sender&, const CertificateRequest&)> issuing = [](auto&, auto&) {};
  std::function<void()> confirming = [] {};
  EVP_PKEY* certified_key = nullptr;

 private:
  const Party& ca_;
};

class CmpTest : public testing::Test {
 protected:
  CmpTest() { authority.enroll(station); }

  Client make_client(const Party& as, Transfer transfer) {
    return Client({.certificate = as.certificate, .chain = {ca.certificate}, .key = as.key.get()},
                  ca.certificate, std::move(transfer));
  }
  Transfer directly() {
    return [this](BytesView message) {
      sent.emplace_back(message.begin(), message.end());
      answers.push_back(responder.respond(message, "PO-1"));
      return answers.back();
    };
  }
  Enrolled enroll(
      const Party& as, const Accept& accept = [](const Enrolled&) {}) {
    return make_client(as, directly()).enroll(request, accept);
  }
  // What enroll() throws; fails the test if it throws nothing.
  static Error refusal_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing was refused";
    return {ErrorCode::internal, "nothing was refused", ""};
  }

  Party ca = make_ca("Factory CA");
  Party station = make_station("st-01", ca);
  Party other_station = make_station("st-02", ca);
  EvpPkeyPtr device_key = software_key();
  CertificateRequest request = make_request("1FLEET0000000001", device_key.get());
  FakeAuthority authority{ca};
  std::chrono::steady_clock::time_point now{};
  Responder responder{
      {.certificate = ca.certificate, .key = ca.key.get()}, authority, [this] { return now; }};
  std::vector<Bytes> sent;
  std::vector<Bytes> answers;
};

}  // namespace fleetroot::cmp
