// The rules, one function each, in the order of a certificate's fields (RFC 5280 section 4.1).
#include <fmt/format.h>
#include <openssl/asn1t.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "factory-ca/lint.h"
#include "lib/x509/asn1_time.h"
#include "lib/x509/host_name.h"

namespace fleetroot::ca {
namespace {

using AuthorityKeyIdPtr = std::unique_ptr<AUTHORITY_KEYID, FreeWith<AUTHORITY_KEYID_free>>;
using BasicConstraintsPtr = std::unique_ptr<BASIC_CONSTRAINTS, FreeWith<BASIC_CONSTRAINTS_free>>;
using BitStringPtr = std::unique_ptr<ASN1_BIT_STRING, FreeWith<ASN1_BIT_STRING_free>>;
using OctetStringPtr = std::unique_ptr<ASN1_OCTET_STRING, FreeWith<ASN1_OCTET_STRING_free>>;
using UsagesPtr = std::unique_ptr<EXTENDED_KEY_USAGE, FreeWith<EXTENDED_KEY_USAGE_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
struct FreeAny {
  void operator()(ASN1_SEQUENCE_ANY* any) const { sk_ASN1_TYPE_pop_free(any, ASN1_TYPE_free); }
};
using AnyPtr = std::unique_ptr<ASN1_SEQUENCE_ANY, FreeAny>;

template <typename Pointer>
Pointer decoded(const LintCase& c, int nid) {
  return Pointer(
      static_cast<typename Pointer::pointer>(X509_get_ext_d2i(c.certificate.x509(), nid, nullptr, nullptr)));
}

BytesView octets(const ASN1_STRING* string) {
  return {ASN1_STRING_get0_data(string), static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string dotted(const ASN1_OBJECT* object) {
  std::array<char, 128> text{};
  OBJ_obj2txt(text.data(), text.size(), object, 1);
  return text.data();
}

std::string bytes_are_canonical(const LintCase& c) {
  unsigned char* encoded = nullptr;
  int size = i2d_re_X509_tbs(c.certificate.x509(), &encoded);
  bool same = size > 0 && equal({encoded, static_cast<std::size_t>(size)}, c.tbs);
  OPENSSL_free(encoded);
  return same ? "" : "the bytes are not the DER of what they say";
}

std::string version_is_3(const LintCase& c) {
  return X509_get_version(c.certificate.x509()) == X509_VERSION_3 ? "" : "the version is not 3";
}

std::string serial_is_positive_and_short(const LintCase& c) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(c.certificate.x509());
  BytesView value = octets(serial);
  if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ||
      std::all_of(value.begin(), value.end(), [](auto b) { return b == 0; })) {
    return "the serial number is not positive";
  }
  // The sign bit of a first octet from 0x80 on costs one octet more.
  std::size_t size = value.size() + (value.front() >= 0x80 ? 1 : 0);
  return size <= 20 ? "" : fmt::format("the serial number has {} octets", size);
}

std::string signature_algorithms_agree(const LintCase& c) {
  const X509_ALGOR* inner = X509_get0_tbs_sigalg(c.certificate.x509());
  const X509_ALGOR* outer = nullptr;
  X509_get0_signature(nullptr, &outer, c.certificate.x509());
  if (X509_ALGOR_cmp(inner, outer) != 0) return "the two signature algorithms differ";
  return equal(to_der(i2d_X509_ALGOR, inner), signature_algorithm_of(c.issuer.algorithm))
             ? ""
             : "the signature algorithm is not the issuer key's";
}

std::string issuer_is_the_issuers_subject(const LintCase& c) {
  return equal(to_der(i2d_X509_NAME, X509_get_issuer_name(c.certificate.x509())), c.issuer.name)
             ? ""
             : "the issuer's name is not the issuing certificate's subject";
}

std::string times_have_the_right_type(const LintCase& c) {
  for (const ASN1_TIME* time :
       {X509_get0_notBefore(c.certificate.x509()), X509_get0_notAfter(c.certificate.x509())}) {
    std::string fault = fault_of(time);
    if (!fault.empty()) return "a time " + fault;
  }
  return {};
}

std::string validity_is_as_planned(const LintCase& c) {
  return c.certificate.not_before() == c.plan.not_before && c.certificate.not_after() == c.plan.not_after
             ? ""
             : "the validity is not the planned one";
}

std::string validity_is_in_order(const LintCase& c) {
  return c.certificate.not_before() < c.certificate.not_after() ? "" : "it ends before it begins";
}

std::string validity_nests(const LintCase& c) {
  if (c.certificate.not_before() < c.issuer.not_before) {
    return fmt::format("it would be valid before its issuer is (from {})", format_time(c.issuer.not_before));
  }
  if (c.certificate.not_after() > c.issuer.not_after) {
    return fmt::format("it would be valid until {}, its issuer only until {}",
                       format_time(c.certificate.not_after()), format_time(c.issuer.not_after));
  }
  return {};
}

std::string subject_is_as_authorised(const LintCase& c) {
  const X509_NAME* name = X509_get_subject_name(c.certificate.x509());
  if (static_cast<std::size_t>(X509_NAME_entry_count(name)) != c.plan.subject.size()) {
    return "the subject has other attributes than authorised";
  }
  for (std::size_t i = 0; i < c.plan.subject.size(); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, static_cast<int>(i));
    const NameAttribute& wanted = c.plan.subject[i];
    if (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != nid_of(wanted.type) ||
        as_text(octets(X509_NAME_ENTRY_get_data(entry))) != wanted.value) {
      return "the subject is not as authorised";
    }
  }
  return {};
}

std::string common_name_is_one_and_short(const LintCase& c) {
  std::optional<std::string> name = c.certificate.common_name();
  if (!name) return "there is not exactly one common name";
  return name->size() <= 64 ? "" : fmt::format("the common name has {} octets", name->size());
}

std::string subject_strings_have_their_type(const LintCase& c) {
  const X509_NAME* name = X509_get_subject_name(c.certificate.x509());
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    bool printable = nid == NID_serialNumber || nid == NID_countryName;
    int type = ASN1_STRING_type(X509_NAME_ENTRY_get_data(entry));
    if (type != (printable ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING)) {
      return fmt::format("{} has the wrong string type", OBJ_nid2ln(nid));
    }
  }
  return {};
}

std::string key_is_the_requests(const LintCase& c) {
  return equal(to_der(i2d_X509_PUBKEY, X509_get_X509_PUBKEY(c.certificate.x509())), c.plan.public_key.spki())
             ? ""
             : "the public key is not the one of the request";
}

struct PlannedExtension {
  int nid;
  bool critical;
};

std::vector<PlannedExtension> planned_extensions(const LintCase& c) {
  std::vector<PlannedExtension> planned{
      {NID_basic_constraints, true}, {NID_key_usage, true}, {NID_subject_key_identifier, false}};
  if (!c.plan.extended_key_usage.empty()) planned.push_back({NID_ext_key_usage, false});
  if (c.plan.hardware_module || !c.plan.server_names.empty())
    planned.push_back({NID_subject_alt_name, false});
  if (!c.issuer.is_subject_itself) planned.push_back({NID_authority_key_identifier, false});
  return planned;
}

std::string extensions_are_exactly_the_planned(const LintCase& c) {
  std::vector<PlannedExtension> planned = planned_extensions(c);
  for (int i = 0; i < X509_get_ext_count(c.certificate.x509()); ++i) {
    const ASN1_OBJECT* object = X509_EXTENSION_get_object(X509_get_ext(c.certificate.x509(), i));
    int nid = OBJ_obj2nid(object);
    auto found = std::find_if(planned.begin(), planned.end(),
                              [&](const PlannedExtension& extension) { return extension.nid == nid; });
    if (found == planned.end()) {
      return fmt::format("the extension {} is not planned, or is there twice", dotted(object));
    }
    planned.erase(found);
  }
  return planned.empty() ? "" : fmt::format("the extension {} is missing", OBJ_nid2ln(planned.front().nid));
}

std::string criticality_is_right(const LintCase& c) {
  for (const PlannedExtension& planned : planned_extensions(c)) {
    int position = X509_get_ext_by_NID(c.certificate.x509(), planned.nid, -1);
    X509_EXTENSION* extension = X509_get_ext(c.certificate.x509(), position);
    if (extension != nullptr && (X509_EXTENSION_get_critical(extension) != 0) != planned.critical) {
      return fmt::format("{} is {}critical", OBJ_nid2ln(planned.nid), planned.critical ? "not " : "");
    }
  }
  return {};
}

std::string basic_constraints_are_as_planned(const LintCase& c) {
  auto constraints = decoded<BasicConstraintsPtr>(c, NID_basic_constraints);
  if (!constraints) return "basicConstraints cannot be read";
  if ((constraints->ca != 0) != c.plan.is_ca) return "the CA flag is not as planned";
  if ((constraints->pathlen != nullptr) != c.plan.path_length.has_value()) {
    return "the path length is not as planned";
  }
  if (c.plan.path_length &&
      ASN1_INTEGER_get(constraints->pathlen) != static_cast<long>(*c.plan.path_length)) {
    return "the path length is not as planned";
  }
  return {};
}

std::string key_usage_is_as_planned(const LintCase& c) {
  auto usage = decoded<BitStringPtr>(c, NID_key_usage);
  if (!usage) return "keyUsage cannot be read";
  std::uint16_t bits = 0;
  for (int i = 0; i < 9; ++i) {
    if (ASN1_BIT_STRING_get_bit(usage.get(), i) != 0) bits |= static_cast<std::uint16_t>(0x8000 >> i);
  }
  if (bits == 0) return "keyUsage is empty";
  if (bits != c.plan.key_usage) return "keyUsage is not as planned";
  bool signs_certificates = (bits & (kKeyCertSign | kCrlSign)) != 0;
  return signs_certificates == c.plan.is_ca ? "" : "keyUsage does not go with the CA flag";
}

std::string extended_key_usage_is_as_planned(const LintCase& c) {
  auto usages = decoded<UsagesPtr>(c, NID_ext_key_usage);
  std::vector<std::string> found;
  for (int i = 0; usages && i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
    found.push_back(dotted(sk_ASN1_OBJECT_value(usages.get(), i)));
  }
  return found == c.plan.extended_key_usage ? "" : "extendedKeyUsage is not as planned";
}

std::string key_identifiers_link(const LintCase& c) {
  auto subject = decoded<OctetStringPtr>(c, NID_subject_key_identifier);
  if (!subject || !equal(octets(subject.get()), key_identifier_of(c.plan.public_key))) {
    return "the subject key identifier is not the key's";
  }
  if (c.issuer.is_subject_itself) return {};
  auto authority = decoded<AuthorityKeyIdPtr>(c, NID_authority_key_identifier);
  if (!authority || authority->keyid == nullptr || authority->issuer != nullptr ||
      authority->serial != nullptr) {
    return "the authority key identifier is not a key identifier alone";
  }
  return equal(octets(authority->keyid), c.issuer.key_identifier)
             ? ""
             : "the authority key identifier is not the issuer's";
}

std::optional<HardwareModuleName> hardware_module_in(const GENERAL_NAMES* names) {
  if (sk_GENERAL_NAME_num(names) != 1) return std::nullopt;
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, 0);
  if (name->type != GEN_OTHERNAME || dotted(name->d.otherName->type_id) != "1.3.6.1.5.5.7.8.4" ||
      ASN1_TYPE_get(name->d.otherName->value) != V_ASN1_SEQUENCE) {
    return std::nullopt;
  }
  BytesView value = octets(name->d.otherName->value->value.sequence);
  const unsigned char* in = value.data();
  AnyPtr members(d2i_ASN1_SEQUENCE_ANY(nullptr, &in, static_cast<long>(value.size())));
  if (!members || sk_ASN1_TYPE_num(members.get()) != 2) return std::nullopt;
  const ASN1_TYPE* type = sk_ASN1_TYPE_value(members.get(), 0);
  const ASN1_TYPE* serial = sk_ASN1_TYPE_value(members.get(), 1);
  if (ASN1_TYPE_get(type) != V_ASN1_OBJECT || ASN1_TYPE_get(serial) != V_ASN1_OCTET_STRING) {
    return std::nullopt;
  }
  return HardwareModuleName{.type = dotted(type->value.object),
                            .serial = std::string(as_text(octets(serial->value.octet_string)))};
}

// RFC 5280 section 4.2.1.6: DNS names as IA5String, addresses as octets, in the plan's order.
std::string server_names_are_as_planned(const LintCase& c, const GENERAL_NAMES* names) {
  const std::vector<std::string>& planned = c.plan.server_names;
  bool same = names != nullptr && static_cast<std::size_t>(sk_GENERAL_NAME_num(names)) == planned.size();
  for (std::size_t i = 0; same && i < planned.size(); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, static_cast<int>(i));
    std::optional<Bytes> address = address_octets(planned[i]);
    same = address ? name->type == GEN_IPADD && equal(octets(name->d.iPAddress), *address)
                   : name->type == GEN_DNS && equal(octets(name->d.dNSName), as_bytes(planned[i]));
  }
  return same ? "" : "the server's names are not as planned";
}

std::string alternative_name_is_as_planned(const LintCase& c) {
  auto names = decoded<GeneralNamesPtr>(c, NID_subject_alt_name);
  if (!c.plan.server_names.empty()) return server_names_are_as_planned(c, names.get());
  std::optional<HardwareModuleName> found;
  if (names) {
    found = hardware_module_in(names.get());
    if (!found) return "the alternative name is no single hardwareModuleName";
  }
  return found == c.plan.hardware_module ? "" : "the hardwareModuleName is not as planned";
}

constexpr ErrorCode kOurs = ErrorCode::internal;
constexpr ErrorCode kTheirs = ErrorCode::configuration;
constexpr std::array kRules{
    LintRule{"canonical", "X.690 section 10", kOurs, bytes_are_canonical},
    LintRule{"version", "RFC 5280 section 4.1.2.1", kOurs, version_is_3},
    LintRule{"serial-number", "RFC 5280 section 4.1.2.2", kOurs, serial_is_positive_and_short},
    LintRule{"signature-algorithm", "RFC 5280 section 4.1.1.2", kOurs, signature_algorithms_agree},
    LintRule{"issuer-name", "RFC 5280 section 4.1.2.4", kOurs, issuer_is_the_issuers_subject},
    LintRule{"time-type", "RFC 5280 section 4.1.2.5", kOurs, times_have_the_right_type},
    LintRule{"validity-planned", "RFC 5280 section 4.1.2.5", kOurs, validity_is_as_planned},
    LintRule{"validity-order", "RFC 5280 section 4.1.2.5", kTheirs, validity_is_in_order},
    LintRule{"validity-nesting", "RFC 5280 section 6.1.3", kTheirs, validity_nests},
    LintRule{"subject", "RFC 5280 section 4.1.2.6", kOurs, subject_is_as_authorised},
    LintRule{"common-name", "RFC 5280 appendix A.1", kOurs, common_name_is_one_and_short},
    LintRule{"string-type", "RFC 5280 appendix A.1", kOurs, subject_strings_have_their_type},
    LintRule{"public-key", "RFC 5280 section 4.1.2.7", kOurs, key_is_the_requests},
    LintRule{"extensions", "RFC 5280 section 4.2", kOurs, extensions_are_exactly_the_planned},
    LintRule{"criticality", "RFC 5280 section 4.2.1", kOurs, criticality_is_right},
    LintRule{"basic-constraints", "RFC 5280 section 4.2.1.9", kOurs, basic_constraints_are_as_planned},
    LintRule{"key-usage", "RFC 5280 section 4.2.1.3", kOurs, key_usage_is_as_planned},
    LintRule{"extended-key-usage", "RFC 5280 section 4.2.1.12", kOurs, extended_key_usage_is_as_planned},
    LintRule{"key-identifiers", "RFC 5280 section 4.2.1.1", kOurs, key_identifiers_link},
    LintRule{"hardware-module-name", "RFC 4108 section 5", kOurs, alternative_name_is_as_planned},
};

}  // namespace

std::span<const LintRule> lint_rules() {
  return kRules;
}

}  // namespace fleetroot::ca
