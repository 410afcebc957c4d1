#include "factory-ca/certificate_plan.h"

#include "lib/x509/der.h"
#include "lib/x509/host_name.h"
#include "lib/x509/signature.h"

namespace fleetroot::ca {
namespace {

constexpr const char* kBasicConstraints = "2.5.29.19";
constexpr const char* kKeyUsage = "2.5.29.15";
constexpr const char* kExtendedKeyUsage = "2.5.29.37";
constexpr const char* kSubjectKeyIdentifier = "2.5.29.14";
constexpr const char* kAuthorityKeyIdentifier = "2.5.29.35";
constexpr const char* kSubjectAltName = "2.5.29.17";
constexpr const char* kHardwareModuleName = "1.3.6.1.5.5.7.8.4";

Bytes basic_constraints(const CertificatePlan& plan) {
  return der::sequence({plan.is_ca ? der::boolean_true() : Bytes(),
                        plan.path_length ? der::small_integer(*plan.path_length) : Bytes()});
}

Bytes extended_key_usage(const std::vector<std::string>& usages) {
  Bytes content;
  for (const std::string& usage : usages) {
    Bytes oid = der::object_identifier(usage);
    content.insert(content.end(), oid.begin(), oid.end());
  }
  return der::tagged(0x30, content);
}

// GeneralNames with one otherName (RFC 5280 section 4.2.1.6).
Bytes hardware_module_name(const HardwareModuleName& module) {
  Bytes value =
      der::sequence({der::object_identifier(module.type), der::octet_string(as_bytes(module.serial))});
  Bytes other_name =
      der::concatenated({der::object_identifier(kHardwareModuleName), der::explicit_tag(0, value)});
  return der::sequence({der::explicit_tag(0, other_name)});
}

Bytes server_names(const std::vector<std::string>& names) {
  constexpr std::uint8_t kDnsName = 0x82;
  constexpr std::uint8_t kIpAddress = 0x87;
  Bytes content;
  for (const std::string& name : names) {
    std::optional<Bytes> address = address_octets(name);
    Bytes encoded = address ? der::tagged(kIpAddress, *address) : der::tagged(kDnsName, as_bytes(name));
    content.insert(content.end(), encoded.begin(), encoded.end());
  }
  return der::tagged(0x30, content);
}

Bytes extensions(const CertificatePlan& plan, const IssuerFacts& issuer) {
  Bytes all = der::concatenated(
      {extension(kBasicConstraints, true, basic_constraints(plan)),
       extension(kKeyUsage, true, der::named_bits(plan.key_usage)),
       plan.extended_key_usage.empty()
           ? Bytes()
           : extension(kExtendedKeyUsage, false, extended_key_usage(plan.extended_key_usage)),
       plan.hardware_module ? extension(kSubjectAltName, false, hardware_module_name(*plan.hardware_module))
                            : Bytes(),
       plan.server_names.empty() ? Bytes()
                                 : extension(kSubjectAltName, false, server_names(plan.server_names)),
       extension(kSubjectKeyIdentifier, false, der::octet_string(key_identifier_of(plan.public_key))),
       // A root's would only repeat its own identifier (RFC 5280 section 4.2.1.1 lets it be left out).
       issuer.is_subject_itself ? Bytes()
                                : extension(kAuthorityKeyIdentifier, false,
                                            der::sequence({der::tagged(0x80, issuer.key_identifier)}))});
  return der::tagged(0x30, all);
}

}  // namespace

Bytes extension(const char* oid, bool critical, const Bytes& value) {
  return der::sequence(
      {der::object_identifier(oid), critical ? der::boolean_true() : Bytes(), der::octet_string(value)});
}

Bytes key_identifier_of(const PublicKey& key) {
  Bytes digest = sha256(key.key_octets());
  digest.resize(20);
  return digest;
}

const Bytes& signature_algorithm_of(KeyAlgorithm algorithm) {
  return algorithm_identifier_of(algorithm);
}

IssuerFacts IssuerFacts::of(const Certificate& certificate) {
  return {.name = to_der(i2d_X509_NAME, X509_get_subject_name(certificate.x509())),
          .key_identifier = from_hex(certificate.subject_key_identifier()).value_or(Bytes()),
          .algorithm = certificate.public_key().algorithm(),
          .not_before = certificate.not_before(),
          .not_after = certificate.not_after()};
}

IssuerFacts IssuerFacts::self_signed(const CertificatePlan& plan) {
  return {.name = encode_name(plan.subject),
          .key_identifier = key_identifier_of(plan.public_key),
          .algorithm = plan.public_key.algorithm(),
          .not_before = plan.not_before,
          .not_after = plan.not_after,
          .is_subject_itself = true};
}

Bytes encode_tbs(const CertificatePlan& plan, const IssuerFacts& issuer, const SerialNumber& serial) {
  constexpr unsigned kVersion3 = 2;
  Asn1IntegerPtr number = serial.asn1();
  return der::sequence({der::explicit_tag(0, der::small_integer(kVersion3)),
                        to_der(i2d_ASN1_INTEGER, number.get()), signature_algorithm_of(issuer.algorithm),
                        issuer.name, der::sequence({der::time(plan.not_before), der::time(plan.not_after)}),
                        encode_name(plan.subject), plan.public_key.spki(),
                        der::explicit_tag(3, extensions(plan, issuer))});
}

}  // namespace fleetroot::ca
