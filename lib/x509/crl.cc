#include "lib/x509/crl.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>

#include "lib/x509/asn1_time.h"
#include "lib/x509/name_text.h"
#include "lib/x509/pem.h"

namespace fleetroot {
namespace {

using X509CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using Asn1EnumeratedPtr = std::unique_ptr<ASN1_ENUMERATED, FreeWith<ASN1_ENUMERATED_free>>;
using AuthorityKeyIdPtr = std::unique_ptr<AUTHORITY_KEYID, FreeWith<AUTHORITY_KEYID_free>>;

[[noreturn]] void refuse(std::string_view what, const char* section) {
  take_openssl_errors();
  throw Error(ErrorCode::bad_request, fmt::format("the revocation list {}", what),
              fmt::format("have it made again (RFC 5280 section {})", section));
}

Error not_a_list() {
  return openssl_error(ErrorCode::bad_request, "this is not a certificate revocation list",
                       "give one X.509 CRL, PEM or DER");
}

[[noreturn]] void reject(const CertificateRevocationList& list, std::string_view why, std::string hint) {
  throw Error(ErrorCode::certificate_rejected,
              fmt::format("the revocation list {} of {} {}", list.number(), list.issuer(), why),
              std::move(hint), take_openssl_errors());
}

X509CrlPtr parse(BytesView der) {
  const unsigned char* in = der.data();
  X509CrlPtr list(d2i_X509_CRL(nullptr, &in, static_cast<long>(der.size())));
  if (!list || in != der.data() + der.size()) throw not_a_list();
  return list;
}

// What a list may restrict itself by, and we do not follow, is critical (RFC 5280 section 5.2).
void refuse_unknown_extensions(const X509_CRL* list) {
  for (int i = 0; i < X509_CRL_get_ext_count(list); ++i) {
    X509_EXTENSION* extension = X509_CRL_get_ext(list, i);
    int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    bool is_critical = X509_EXTENSION_get_critical(extension) == 1;
    if (nid == NID_delta_crl && !is_critical) refuse("has a delta indicator that is not critical", "5.2.4");
    if (nid == NID_issuing_distribution_point) {
      refuse("covers a part of its issuer's certificates only", "5.2.5");
    }
    if (is_critical && nid != NID_delta_crl) {
      char name[80] = "";
      OBJ_obj2txt(name, sizeof name, X509_EXTENSION_get_object(extension), 0);
      refuse(fmt::format("has the critical extension {}, which is not known here", name), "5.2");
    }
  }
}

// RFC 5280 section 5.1.1.2: the algorithm that is signed is the one that is named beside the signature.
void refuse_two_algorithms(const X509_CRL* list, BytesView der) {
  const X509_ALGOR* beside = nullptr;
  X509_CRL_get0_signature(list, nullptr, &beside);
  Bytes wanted = to_der(i2d_X509_ALGOR, beside);
  const unsigned char* at = der.data();
  const unsigned char* end = at + der.size();
  long size = 0;
  int tag = 0;
  int tag_class = 0;
  // Into the list, into what is signed of it, and past its version.
  for (int i = 0; i < 3; ++i) ASN1_get_object(&at, &size, &tag, &tag_class, end - at);
  BytesView rest(at + size, end);
  if (rest.size() < wanted.size() || !equal(rest.first(wanted.size()), wanted)) {
    refuse("names two signature algorithms", "5.1.1.2");
  }
}

Time time_in(const ASN1_TIME* time, const char* section) {
  std::string fault = fault_of(time);
  if (!fault.empty()) refuse("has a time that " + fault, section);
  return to_time(time);
}

// Of an extension that is there: all of them, where OpenSSL reads one value off their front.
Bytes octets_in(const X509_CRL* list, int nid) {
  X509_EXTENSION* extension = X509_CRL_get_ext(list, X509_CRL_get_ext_by_NID(list, nid, -1));
  const ASN1_OCTET_STRING* octets = X509_EXTENSION_get_data(extension);
  const unsigned char* begin = ASN1_STRING_get0_data(octets);
  return {begin, begin + ASN1_STRING_length(octets)};
}

// Nothing where the extension is absent.
std::optional<std::uint64_t> number_in(const X509_CRL* list, int nid, const char* section) {
  int status = 0;
  Asn1IntegerPtr number(static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list, nid, &status, nullptr)));
  if (!number && status == -1) return std::nullopt;
  std::uint64_t value = 0;
  if (!number || ASN1_INTEGER_get_uint64(&value, number.get()) != 1 || value > INT64_MAX ||
      to_der(i2d_ASN1_INTEGER, static_cast<const ASN1_INTEGER*>(number.get())) != octets_in(list, nid)) {
    refuse("has a number that is not one from 0 to 2^63-1", section);
  }
  return value;
}

std::string key_identifier_in(const X509_CRL* list) {
  AuthorityKeyIdPtr identifier(static_cast<AUTHORITY_KEYID*>(
      X509_CRL_get_ext_d2i(list, NID_authority_key_identifier, nullptr, nullptr)));
  if (!identifier || identifier->keyid == nullptr) {
    refuse("does not say which key signed it (authority key identifier)", "5.2.1");
  }
  return to_hex({ASN1_STRING_get0_data(identifier->keyid),
                 static_cast<std::size_t>(ASN1_STRING_length(identifier->keyid))});
}

RevocationReason reason_in(const X509_REVOKED* entry, bool is_delta) {
  for (int i = 0; i < X509_REVOKED_get_ext_count(entry); ++i) {
    X509_EXTENSION* extension = X509_REVOKED_get_ext(entry, i);
    if (OBJ_obj2nid(X509_EXTENSION_get_object(extension)) == NID_certificate_issuer) {
      refuse("lists certificates of other issuers", "5.3.3");
    }
    if (X509_EXTENSION_get_critical(extension) == 1) {
      refuse("has an entry with a critical extension that is not known here", "5.3");
    }
  }
  int status = 0;
  Asn1EnumeratedPtr code(
      static_cast<ASN1_ENUMERATED*>(X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, &status, nullptr)));
  if (!code && status == -1) return RevocationReason::unspecified;
  if (!code) refuse("has an entry with a reason that cannot be read", "5.3.1");
  RevocationReason reason = revocation_reason_from_code(ASN1_ENUMERATED_get(code.get()));
  if (reason == RevocationReason::remove_from_crl && !is_delta) {
    refuse("is complete, and takes an entry back", "5.3.1");
  }
  return reason;
}

std::vector<CertificateRevocationList::Entry> entries_of(X509_CRL* list, bool is_delta) {
  STACK_OF(X509_REVOKED)* revoked = X509_CRL_get_REVOKED(list);
  std::vector<CertificateRevocationList::Entry> entries;
  entries.reserve(static_cast<std::size_t>(std::max(0, sk_X509_REVOKED_num(revoked))));
  for (int i = 0; i < sk_X509_REVOKED_num(revoked); ++i) {
    const X509_REVOKED* entry = sk_X509_REVOKED_value(revoked, i);
    entries.push_back({.serial = SerialNumber::of(X509_REVOKED_get0_serialNumber(entry)),
                       .revocation = {.reason = reason_in(entry, is_delta),
                                      .date = time_in(X509_REVOKED_get0_revocationDate(entry), "5.1.2.6")}});
  }
  std::ranges::sort(entries, {}, &CertificateRevocationList::Entry::serial);
  auto twice = std::ranges::adjacent_find(entries, {}, &CertificateRevocationList::Entry::serial);
  if (twice != entries.end()) refuse(fmt::format("lists {} twice", twice->serial.hex()), "5.1.2.6");
  return entries;
}

// SHA-1 and MD5 are out; Ed25519 has no digest of its own.
bool is_strong(int signature_nid) {
  int digest = NID_undef;
  int key = NID_undef;
  if (OBJ_find_sigid_algs(signature_nid, &digest, &key) != 1) return false;
  return digest == NID_sha256 || digest == NID_sha384 || digest == NID_sha512 || key == NID_ED25519;
}

}  // namespace

CertificateRevocationList CertificateRevocationList::from_der(BytesView der) {
  X509CrlPtr parsed = parse(der);
  if (X509_CRL_get_version(parsed.get()) != X509_CRL_VERSION_2) refuse("is not of version 2", "5.1.2.1");
  refuse_two_algorithms(parsed.get(), der);
  refuse_unknown_extensions(parsed.get());
  CertificateRevocationList list;
  list.der_.assign(der.begin(), der.end());
  list.issuer_ = one_line(X509_CRL_get_issuer(parsed.get()));
  list.authority_key_identifier_ = key_identifier_in(parsed.get());
  std::optional<std::uint64_t> number = number_in(parsed.get(), NID_crl_number, "5.2.3");
  if (!number) refuse("has no number", "5.2.3");
  list.number_ = *number;
  list.delta_base_ = number_in(parsed.get(), NID_delta_crl, "5.2.4");
  if (list.delta_base_ && *list.delta_base_ >= list.number_) {
    refuse("goes with a list that is not older than itself", "5.2.4");
  }
  if (X509_CRL_get0_nextUpdate(parsed.get()) == nullptr) refuse("has no nextUpdate", "5.1.2.5");
  list.this_update_ = time_in(X509_CRL_get0_lastUpdate(parsed.get()), "5.1.2.4");
  list.next_update_ = time_in(X509_CRL_get0_nextUpdate(parsed.get()), "5.1.2.5");
  if (list.next_update_ <= list.this_update_) refuse("ends before it begins", "5.1.2.5");
  list.entries_ = entries_of(parsed.get(), list.delta_base_.has_value());
  return list;
}

CertificateRevocationList CertificateRevocationList::from_pem(std::string_view pem) {
  BioPtr memory = pem_reader(pem);
  X509CrlPtr list(PEM_read_bio_X509_CRL(memory.get(), nullptr, no_pass_phrase, nullptr));
  if (!list) {
    ERR_clear_error();
    return from_der(as_bytes(pem));
  }
  X509CrlPtr another(PEM_read_bio_X509_CRL(memory.get(), nullptr, no_pass_phrase, nullptr));
  take_openssl_errors();
  if (another) {
    throw Error(ErrorCode::bad_request, "there is more than one revocation list here", "give one list");
  }
  return from_der(to_der(i2d_X509_CRL, list.get()));
}

void CertificateRevocationList::verify(const Certificate& issuer) const {
  X509CrlPtr parsed = parse(der_);
  Bytes name = to_der(i2d_X509_NAME, X509_CRL_get_issuer(parsed.get()));
  if (name != to_der(i2d_X509_NAME, X509_get_subject_name(issuer.x509()))) {
    reject(*this, "is not of " + issuer.subject(), "give the list of the CA that is meant");
  }
  if (authority_key_identifier_ != issuer.subject_key_identifier()) {
    reject(*this, "is for another key of this CA", "give the certificate that the list was signed with");
  }
  if ((X509_get_key_usage(issuer.x509()) & KU_CRL_SIGN) == 0) {
    reject(*this, "is signed by a CA that may not sign any", "its keyUsage must have cRLSign");
  }
  EVP_PKEY* key = X509_get0_pubkey(issuer.x509());
  if (X509_CRL_get_signature_nid(parsed.get()) == NID_rsassaPss) {
    reject(*this, "is signed with RSA-PSS, which is not taken here",
           "have it signed with RSA PKCS#1 v1.5, ECDSA or Ed25519");
  }
  constexpr int kSecurityBits = 112;
  if (!is_strong(X509_CRL_get_signature_nid(parsed.get())) || key == nullptr ||
      EVP_PKEY_get_security_bits(key) < kSecurityBits) {
    reject(*this, "is signed too weakly", "have it signed with SHA-256 or better, and a sound key");
  }
  if (X509_CRL_verify(parsed.get(), key) != 1) {
    reject(*this, "is not signed by that CA", "somebody changed it on the way: fetch it again");
  }
}

std::optional<Revocation> CertificateRevocationList::find(const SerialNumber& serial) const {
  auto found = std::ranges::lower_bound(entries_, serial, {}, &Entry::serial);
  if (found == entries_.end() || found->serial != serial) return std::nullopt;
  return found->revocation;
}

bool CertificateRevocationList::is_revoked(const SerialNumber& serial) const {
  std::optional<Revocation> revocation = find(serial);
  return revocation && revocation->reason != RevocationReason::remove_from_crl;
}

std::string CertificateRevocationList::pem() const {
  BioPtr memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_CRL(memory.get(), parse(der_).get());
  return text_in(memory.get());
}

}  // namespace fleetroot
