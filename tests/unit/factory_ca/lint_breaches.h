// A good certificate, and every way to break one rule of the lint step and no other.
#pragma once

#include <algorithm>

#include "factory-ca/lint.h"
#include "tests/unit/factory_ca/software_ca.h"
#include "tests/unit/factory_ca/tbs_surgery.h"

namespace fleetroot::ca {

inline constexpr const char* kBasic = "2.5.29.19";
inline constexpr const char* kUsage = "2.5.29.15";
inline constexpr const char* kExtendedUsage = "2.5.29.37";
inline constexpr const char* kSubjectKeyId = "2.5.29.14";
inline constexpr const char* kAuthorityKeyId = "2.5.29.35";
inline constexpr const char* kAlternativeName = "2.5.29.17";

// A good certificate of a device, to be spoilt.
struct Subject {
  Subject() = default;
  explicit Subject(CertificatePlan other) : plan(std::move(other)) {}

  CertificatePlan plan =
      shipped_profile("device").plan(device_record("dev-1"), software_public_key(), kTestTime);
  IssuerFacts issuer = make_issuing(make_root()).signer.facts;
  Bytes tbs = encode_tbs(plan, issuer, SerialNumber::random());

  void encode() { tbs = encode_tbs(plan, issuer, SerialNumber::random()); }
  void replace(TbsPart part, Bytes by) { tbs = with_part(tbs, part, std::move(by)); }
  void replace(const char* oid, bool critical, BytesView value) {
    tbs = with_extension(tbs, oid, [&](const Bytes&) { return extension(oid, critical, value); });
  }
  void hex(TbsPart part, const char* by) { replace(part, from_hex(by).value()); }
};

inline Subject idevid() {
  return Subject(shipped_profile("idevid").plan(device_record("dev-1"), software_public_key(), kTestTime));
}

struct Breach {
  std::string_view rule;
  const char* how;
  void (*spoil)(Subject&);
};

inline Bytes times(std::uint8_t tag, std::string_view begin, std::string_view end) {
  return der::sequence({der::tagged(tag, as_bytes(begin)), der::tagged(0x17, as_bytes(end))});
}

inline Bytes general_names(std::uint8_t tag, BytesView content) {
  return der::sequence({der::tagged(tag, content)});
}

inline const Breach kBreaches[] = {
    {"canonical", "a length longer than it need be",
     [](Subject& s) {
       Bytes content(s.tbs.begin() + 4, s.tbs.end());
       s.tbs = {0x30, 0x83, 0x00, s.tbs[2], s.tbs[3]};
       s.tbs.insert(s.tbs.end(), content.begin(), content.end());
     }},
    {"version", "version 2", [](Subject& s) { s.hex(kVersion, "a003020101"); }},
    {"serial-number", "negative", [](Subject& s) { s.hex(kSerial, "0202ff01"); }},
    {"serial-number", "zero", [](Subject& s) { s.hex(kSerial, "020100"); }},
    {"serial-number", "21 octets", [](Subject& s) { s.replace(kSerial, der::tagged(2, Bytes(21, 0x11))); }},
    {"serial-number", "21 octets with the sign's",
     [](Subject& s) {
       Bytes octets(21, 0xff);
       octets[0] = 0;
       s.replace(kSerial, der::tagged(2, octets));
     }},
    {"signature-algorithm", "inner and outer differ",
     [](Subject& s) { s.replace(kAlgorithm, signature_algorithm_of(KeyAlgorithm::p384)); }},
    {"signature-algorithm", "ECDSA with NULL parameters",
     [](Subject& s) { s.hex(kAlgorithm, "300c06082a8648ce3d0403020500"); }},
    {"issuer-name", "another CA's", [](Subject& s) { s.replace(kIssuer, name_of_tag(0x0c, "Other CA")); }},
    {"issuer-name", "another string type",
     [](Subject& s) { s.replace(kIssuer, name_of_tag(0x13, "Factory CA")); }},
    {"time-type", "GeneralizedTime before 2050",
     [](Subject& s) { s.replace(kValidity, times(0x18, "20261124000000Z", "361124000000Z")); }},
    {"time-type", "an offset in place of Z",
     [](Subject& s) { s.replace(kValidity, times(0x17, "261124000000+0000", "361124000000Z")); }},
    {"time-type", "no seconds",
     [](Subject& s) { s.replace(kValidity, times(0x17, "2611240000Z", "361124000000Z")); }},
    {"time-type", "fractional seconds",
     [](Subject& s) {
       s.plan.not_after = Time(std::chrono::sys_days{std::chrono::year{2051} / 1 / 1});
       s.replace(kValidity,
                 der::sequence({der::time(kTestTime), der::tagged(0x18, as_bytes("20510101000000.5Z"))}));
     }},
    {"validity-planned", "it ends later", [](Subject& s) { s.plan.not_after -= std::chrono::seconds(1); }},
    {"validity-planned", "it begins earlier",
     [](Subject& s) { s.plan.not_before += std::chrono::seconds(1); }},
    {"validity-order", "it ends as it begins",
     [](Subject& s) {
       s.plan.not_after = s.plan.not_before;
       s.encode();
     }},
    {"validity-nesting", "it outlives its issuer",
     [](Subject& s) { s.issuer.not_after = s.plan.not_after - std::chrono::seconds(1); }},
    {"validity-nesting", "it is older than its issuer",
     [](Subject& s) { s.issuer.not_before = s.plan.not_before + std::chrono::seconds(1); }},
    {"subject", "another device's", [](Subject& s) { s.replace(kSubject, name_of_tag(0x0c, "dev-2")); }},
    {"subject", "one attribute more",
     [](Subject& s) {
       s.replace(kSubject, encode_name({{NameAttributeType::organization, "Acme"},
                                        {NameAttributeType::common_name, "dev-1"}}));
     }},
    {"subject", "two attributes the other way round",
     [](Subject& s) {
       s.plan.subject = {{NameAttributeType::organization, "Acme"},
                         {NameAttributeType::common_name, "dev-1"}};
       s.encode();
       std::reverse(s.plan.subject.begin(), s.plan.subject.end());
     }},
    {"common-name", "two of them",
     [](Subject& s) {
       s.plan.subject.push_back({NameAttributeType::common_name, "dev-2"});
       s.encode();
     }},
    {"common-name", "none",
     [](Subject& s) {
       s.plan.subject = {{NameAttributeType::organization, "dev-1"}};
       s.encode();
     }},
    {"common-name", "65 octets",
     [](Subject& s) {
       s.plan.subject[0].value = std::string(65, 'x');
       s.replace(kSubject, name_of_tag(0x0c, s.plan.subject[0].value));
     }},
    {"string-type", "a common name that is a PrintableString",
     [](Subject& s) { s.replace(kSubject, name_of_tag(0x13, "dev-1")); }},
    {"string-type", "a common name that is an IA5String",
     [](Subject& s) { s.replace(kSubject, name_of_tag(0x16, "dev-1")); }},
    {"public-key", "another key", [](Subject& s) { s.replace(kKey, software_public_key().spki()); }},
    {"extensions", "one that nobody planned",
     [](Subject& s) {
       std::vector<Bytes> all = extensions_of(s.tbs);
       all.push_back(extension("2.5.29.31", false, from_hex("3000").value()));
       s.tbs = with_extensions(s.tbs, all);
     }},
    {"extensions", "one that nobody knows, critical",
     [](Subject& s) {
       std::vector<Bytes> all = extensions_of(s.tbs);
       all.push_back(extension("1.3.6.1.4.1.99999.1", true, from_hex("0500").value()));
       s.tbs = with_extensions(s.tbs, all);
     }},
    {"criticality", "keyUsage is not",
     [](Subject& s) { s.replace(kUsage, false, der::named_bits(kDigitalSignature)); }},
    {"criticality", "basicConstraints is not",
     [](Subject& s) { s.replace(kBasic, false, der::sequence({})); }},
    {"criticality", "extendedKeyUsage is",
     [](Subject& s) {
       s.replace(kExtendedUsage, true, der::sequence({der::object_identifier(kClientAuth)}));
     }},
    {"basic-constraints", "a CA",
     [](Subject& s) { s.replace(kBasic, true, der::sequence({der::boolean_true()})); }},
    {"basic-constraints", "no CA, where one is planned",
     [](Subject& s) {
       s = Subject(issuing_plan("Sub CA", software_public_key(), kTestTime));
       s.replace(kBasic, true, der::sequence({der::small_integer(0)}));
     }},
    {"basic-constraints", "a longer path",
     [](Subject& s) {
       s = Subject(issuing_plan("Sub CA", software_public_key(), kTestTime));
       s.replace(kBasic, true, der::sequence({der::boolean_true(), der::small_integer(1)}));
     }},
    {"basic-constraints", "no path length",
     [](Subject& s) {
       s = Subject(issuing_plan("Sub CA", software_public_key(), kTestTime));
       s.replace(kBasic, true, der::sequence({der::boolean_true()}));
     }},
    {"key-usage", "one more than planned",
     [](Subject& s) { s.replace(kUsage, true, der::named_bits(std::uint16_t{0xa000})); }},
    {"key-usage", "a device that signs certificates",
     [](Subject& s) {
       s.plan.key_usage = kDigitalSignature | kKeyCertSign;
       s.encode();
     }},
    {"key-usage", "a CA that does not",
     [](Subject& s) {
       s = Subject(issuing_plan("Sub CA", software_public_key(), kTestTime));
       s.plan.key_usage = kDigitalSignature;
       s.encode();
     }},
    {"extended-key-usage", "serverAuth",
     [](Subject& s) {
       s.replace(kExtendedUsage, false, der::sequence({der::object_identifier(kServerAuth)}));
     }},
    {"extended-key-usage", "one more than planned",
     [](Subject& s) {
       s.replace(kExtendedUsage, false,
                 der::sequence({der::object_identifier(kClientAuth), der::object_identifier(kServerAuth)}));
     }},
    {"key-identifiers", "another key's",
     [](Subject& s) {
       s.replace(kSubjectKeyId, false, der::octet_string(key_identifier_of(software_public_key())));
     }},
    {"key-identifiers", "another issuer's",
     [](Subject& s) { s.replace(kAuthorityKeyId, false, der::sequence({der::tagged(0x80, Bytes(20, 7))})); }},
    {"key-identifiers", "the issuer's serial number, too",
     [](Subject& s) {
       Bytes issuer = der::tagged(0xa1, der::explicit_tag(4, s.issuer.name));
       Bytes serial{0x82, 1, 1};
       s.replace(kAuthorityKeyId, false,
                 der::sequence({der::tagged(0x80, s.issuer.key_identifier), issuer, serial}));
     }},
    {"key-identifiers", "no key identifier",
     [](Subject& s) { s.replace(kAuthorityKeyId, false, der::sequence({})); }},
    {"hardware-module-name", "another serial number",
     [](Subject& s) {
       s = idevid();
       s.plan.hardware_module->serial = "dev-2";
     }},
    {"hardware-module-name", "another type",
     [](Subject& s) {
       s = idevid();
       s.plan.hardware_module->type = "1.2.3";
     }},
    {"hardware-module-name", "a DNS name",
     [](Subject& s) {
       s = idevid();
       s.replace(kAlternativeName, false, general_names(0x82, as_bytes("dev-1")));
     }},
    {"hardware-module-name", "another kind of name, of the same shape",
     [](Subject& s) {
       s = idevid();
       Bytes value = der::sequence(
           {der::object_identifier(s.plan.hardware_module->type), der::octet_string(as_bytes("dev-1"))});
       Bytes name =
           der::concatenated({der::object_identifier("1.3.6.1.5.5.7.8.5"), der::explicit_tag(0, value)});
       s.replace(kAlternativeName, false, general_names(0xa0, name));
     }},
    {"hardware-module-name", "no name at all",
     [](Subject& s) {
       s = idevid();
       s.replace(kAlternativeName, false, der::sequence({}));
     }},
};

}  // namespace fleetroot::ca
