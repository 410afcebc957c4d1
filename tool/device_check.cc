#include "tool/device_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/x509/chain.h"
#include "pkcs11/key_pair.h"
#include "pkcs11/objects.h"

namespace fleetroot::station {
namespace {

[[noreturn]] void reject(std::string why) {
  throw Error(ErrorCode::certificate_rejected,
              "the certificate is not the one that belongs on this device: " + why,
              "hold this device and tell the PKI engineer");
}

void refuse_other_name(const Certificate& certificate, const DeviceId& device_id) {
  std::optional<std::string> name = certificate.common_name();
  if (!name) reject("it does not have exactly one CN");
  if (*name != device_id.text()) reject(fmt::format("its CN is {}, not {}", *name, device_id.text()));
}

void refuse_other_validity(const Certificate& certificate, Time now) {
  refuse_if_not_valid_yet(certificate, now);
  if (certificate.not_after() < now)
    reject(fmt::format("it expired at {}", format_time(certificate.not_after())));
}

void refuse_other_usage(const Certificate& certificate) {
  if (certificate.is_ca()) reject("it is a CA's certificate");
  if ((X509_get_extension_flags(certificate.x509()) & EXFLAG_KUSAGE) == 0) reject("it has no key usage");
  if ((X509_get_key_usage(certificate.x509()) & KU_DIGITAL_SIGNATURE) == 0)
    reject("its key usage does not allow digital signatures");
}

std::vector<Certificate> joined(std::vector<Certificate> a, const std::vector<Certificate>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A device outlives the CA that the station is enrolled with.
void refuse_unknown_issuer(const Certificate& certificate, const Trust& trust) {
  auto is_issuer = [&](const Certificate& ca) { return has_issued(ca, certificate); };
  if (std::ranges::any_of(joined(trust.fleet_roots, trust.issuing), is_issuer)) return;
  throw Error(ErrorCode::certificate_rejected,
              fmt::format("the certificate of the CA that issued it is missing here: {}, key identifier {}",
                          certificate.issuer(), certificate.authority_key_identifier()),
              "if that is a CA of this fleet, give its certificate with another --ca-certificate (of enroll, "
              "after the current CA's)");
}

std::vector<Certificate> path_to_root(const Certificate& certificate, const Trust& trust, Time when) try {
  return verify_chain(certificate, {.roots = trust.fleet_roots,
                                    .intermediates = trust.issuing,
                                    .purpose = ChainPurpose::tls_client,
                                    .time = when});
} catch (const Error&) {
  refuse_unknown_issuer(certificate, trust);
  throw;
}

// Adds what `body` finds. An error that is no word about the device ends it all, except where the device is
// known to be wrong by then.
template <typename Body>
bool find(std::vector<Finding>& findings, const std::string& check, const Body& body) {
  try {
    findings.push_back({check, true, body()});
  } catch (const Error& error) {
    if (!is_about_device(error.code()) && all_passed(findings)) throw;
    findings.push_back({check, false, error.what(), error.hint()});
  }
  return findings.back().passed;
}

pkcs11::KeyPair the_pair(const pkcs11::Session& session, const pkcs11::KeySpec& spec) {
  std::optional<pkcs11::KeyPair> pair = pkcs11::find_key_pair(session, spec.key.id);
  if (!pair) {
    throw Error(ErrorCode::token_untrusted, fmt::format("there is no key with the ID {}", spec.key.id.hex()),
                "provision the device");
  }
  if (pair->public_key.algorithm() != spec.algorithm) {
    throw Error(ErrorCode::token_untrusted,
                fmt::format("the key with the ID {} is {}, not {}", spec.key.id.hex(),
                            name_of(pair->public_key.algorithm()), name_of(spec.algorithm)),
                "hold this device: it was made by another key policy");
  }
  return *std::move(pair);
}

// Adds what there is to say of one key pair; `which` tells it from the device's other ones.
std::optional<pkcs11::KeyPair> verify_pair(const pkcs11::Session& session, const pkcs11::KeySpec& spec,
                                           const std::string& which, std::vector<Finding>& findings) {
  std::optional<pkcs11::KeyPair> pair;
  find(findings, "key" + which, [&] {
    pair = the_pair(session, spec);
    return fmt::format("{}, ID {}", name_of(pair->public_key.algorithm()), pair->name.id.hex());
  });
  if (!pair) return pair;
  bool is_sound = find(findings, "key attributes" + which, [&] {
    pkcs11::refuse_unless_sound(session, *pair);
    return describe(pkcs11::read_attributes(session, *pair));
  });
  if (!is_sound) return pair;  // how it may sign, if at all, is anybody's guess
  find(findings, "pair proof" + which, [&] {
    pkcs11::prove_pair(session, *pair);
    return std::string("the token signs, its public key verifies");
  });
  return pair;
}

Certificate the_certificate(const pkcs11::Session& session, const pkcs11::KeySpec& identity) {
  std::vector<Bytes> certificates = pkcs11::read_certificates(session, identity.certificate->id);
  if (certificates.size() != 1) {
    throw Error(ErrorCode::certificate_rejected,
                fmt::format("there are {} certificates with the ID {}, where one belongs",
                            certificates.size(), identity.certificate->id.hex()),
                "provision the device");
  }
  return Certificate::from_der(certificates.front());
}

}  // namespace

void refuse_if_not_valid_yet(const Certificate& certificate, Time now) {
  if (certificate.not_before() > now) {
    throw Error(ErrorCode::clock,
                fmt::format("the certificate is valid only from {}, and here it is {}",
                            format_time(certificate.not_before()), format_time(now)),
                "set this machine's clock right, or the CA's; then run the same command again");
  }
}

void refuse_certificate_unless_right(const Certificate& certificate, const std::vector<Certificate>& chain,
                                     const PublicKey& public_key, const DeviceId& device_id,
                                     const Trust& trust, Time now) {
  if (!(certificate.public_key() == public_key)) reject("it is for another key");
  refuse_other_name(certificate, device_id);
  refuse_other_validity(certificate, now);
  refuse_other_usage(certificate);
  verify_chain(certificate, {.roots = trust.fleet_roots,
                             .intermediates = joined(trust.issuing, chain),
                             .purpose = ChainPurpose::tls_client,
                             .time = now});
}

bool all_passed(const std::vector<Finding>& findings) {
  return std::ranges::all_of(findings, &Finding::passed);
}

std::string_view fate_of(const Certificate& certificate, const pkcs11::Session& session,
                         const pkcs11::KeyId& id) {
  std::vector<Bytes> stored = pkcs11::read_certificates(session, id);
  bool is_there = std::ranges::find(stored, certificate.der()) != stored.end();
  return is_there ? "is no longer alone on the token" : "is no longer on the token";
}

bool is_about_device(ErrorCode code) {
  constexpr int kDataError = 65;  // of sysexits.h
  return exit_code(code) == kDataError;
}

std::vector<Finding> verify_device(const pkcs11::Session& session, const pkcs11::KeyPolicy& policy,
                                   const std::optional<DeviceId>& device_id, const Trust& trust, Time now) {
  std::vector<Finding> findings;
  std::optional<pkcs11::KeyPair> pair = verify_pair(session, policy.identity(), "", findings);
  for (std::size_t i = 1; i < policy.specs.size(); ++i)
    verify_pair(session, policy.specs[i], " " + policy.specs[i].key.id.hex(), findings);
  std::optional<Certificate> certificate;
  find(findings, "certificate", [&] {
    certificate = the_certificate(session, policy.identity());
    return fmt::format("serial {}", certificate->serial().hex());
  });
  if (!certificate) return findings;

  if (pair) {
    find(findings, "certificate's key", [&] {
      if (!(certificate->public_key() == pair->public_key)) reject("it is for another key");
      return std::string("is the token's key");
    });
  }
  find(findings, "device ID", [&] {
    if (device_id) refuse_other_name(*certificate, *device_id);
    return DeviceId::parse(certificate->common_name().value_or("")).text();
  });
  find(findings, "usage", [&] {
    refuse_other_usage(*certificate);
    return std::string("digital signature, no CA");
  });
  find(findings, "chain", [&] {
    Time when = std::max(now, certificate->not_before());  // that it is not valid yet is for the next to say
    std::vector<Certificate> path = path_to_root(*certificate, trust, when);
    return fmt::format("{} certificates up to {}", path.size(), path.back().subject());
  });
  find(findings, "validity", [&] {
    refuse_other_validity(*certificate, now);
    return fmt::format("{} to {}", format_time(certificate->not_before()),
                       format_time(certificate->not_after()));
  });
  return findings;
}

}  // namespace fleetroot::station
