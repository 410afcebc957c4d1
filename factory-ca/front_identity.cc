#include "factory-ca/front_identity.h"

#include "lib/base/files.h"
#include "lib/x509/certificate_request.h"
#include "lib/x509/host_name.h"
#include "pkcs11/signing_key.h"

namespace fleetroot::ca {
namespace {

namespace fs = std::filesystem;

const pkcs11::KeyName kFrontKey{pkcs11::KeyId::parse("01"), "fleetroot-front"};
constexpr const char* kTokenLabel = "front";
constexpr std::chrono::days kLife{3 * 365};

fs::path certificate_file(const Home& home) {
  return home.file("front") / "front.pem";
}

struct Place {
  Place(const Home& home, int number)
      : directory(home.file("front") / std::to_string(number)),
        softhsm(directory / "softhsm"),
        uri(directory / "token.uri"),
        request(directory / "front.csr") {}
  fs::path directory, softhsm, uri, request;
};

// What does not read is none, and made anew.
template <typename Parsed>
std::optional<Parsed> read_if_sound(const fs::path& file, Parsed (*parse)(std::string_view)) {
  try {
    return parse(read_file(file));
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<Certificate> present_certificate(const Home& home) {
  return read_if_sound(certificate_file(home), Certificate::from_pem);
}

// Where the key of this certificate is.
std::optional<int> place_of(const Home& home, const Certificate& certificate) {
  for (int number : {1, 2}) {
    auto request = read_if_sound(Place(home, number).request, CertificateRequest::from_pem);
    if (request && request->public_key() == certificate.public_key()) return number;
  }
  return std::nullopt;
}

std::string common_name(const Settings& settings) {
  return settings.name + " front";
}

// As they stand in the certificate, one a line.
std::string names_in(const Certificate& certificate) {
  using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
  GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.x509(), NID_subject_alt_name, nullptr, nullptr)));
  std::string text;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_IPADD && name->type != GEN_DNS) return "names of another kind";
    const ASN1_STRING* value = name->type == GEN_IPADD ? name->d.iPAddress : name->d.dNSName;
    BytesView octets(ASN1_STRING_get0_data(value), static_cast<std::size_t>(ASN1_STRING_length(value)));
    text += (name->type == GEN_IPADD ? to_hex(octets) : std::string(as_text(octets))) + "\n";
  }
  return text;
}

std::string names_in(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    std::optional<Bytes> address = address_octets(name);
    text += (address ? to_hex(*address) : name) + "\n";
  }
  return text;
}

pkcs11::TokenSettings token_settings(const Place& place) {
  return {.uri = read_file(place.uri),
          .home = place.directory,
          .softhsm_directory = place.softhsm,
          .init_args = {}};
}

pkcs11::SigningToken open_token(const Home& home, const Certificate& certificate,
                                pkcs11::SigningFailure when_signing_fails) {
  if (std::optional<int> place = place_of(home, certificate)) {
    pkcs11::TokenSettings settings = token_settings(Place(home, *place));
    settings.when_signing_fails = when_signing_fails;
    pkcs11::SigningToken token(settings);
    token.watch(std::move(when_signing_fails));
    return token;
  }
  throw Error(ErrorCode::configuration, "the key of the server's own certificate is not in its home",
              "remove the directory front and start the server again: it makes both anew");
}

// For these names, in time, and with more than this of its life before it.
bool has_front(const Home& home, const std::vector<std::string>& names, Time now, Time::duration left) {
  std::optional<Certificate> certificate = present_certificate(home);
  return certificate && place_of(home, *certificate) &&
         X509_check_issued(home.issuing_certificate().x509(), certificate->x509()) == X509_V_OK &&
         names_in(*certificate) == names_in(names) && now >= certificate->not_before() &&
         certificate->not_after() - now > left;
}

}  // namespace

bool has_valid_front(const Home& home, const std::vector<std::string>& names, Time now) {
  return has_front(home, names, now, {});
}

bool has_good_front(const Home& home, const std::vector<std::string>& names, Time now) {
  return has_front(home, names, now, kLife / 3);
}

void renew_front(const Home& home, const std::function<Bytes(BytesView request)>& certify) {
  if (!fs::exists(home.file("front"))) make_private_directory(home.file("front"));
  std::optional<Certificate> present = present_certificate(home);
  bool is_first_in_force = present && place_of(home, *present) == 1;
  Place place(home, is_first_in_force ? 2 : 1);
  fs::remove_all(place.directory);
  make_private_directory(place.directory);
  pkcs11::TokenSettings token = pkcs11::create_softhsm_token(place.directory, place.softhsm, kTokenLabel,
                                                             place.directory / "front.pin");
  pkcs11::SigningKey key = pkcs11::SigningKey::generate(token, KeyAlgorithm::p256, kFrontKey);
  write_file(place.uri, token.uri);
  CertificateRequest request =
      CertificateRequest::create(common_name(home.settings()), key.public_key(), key.evp());
  write_file(place.request, request.pem());
  write_file(certificate_file(home), Certificate::from_der(certify(request.der())).pem());
}

Certificate certify_front(const Home& home, const Signer& signer, Ledger& ledger, BytesView request_der,
                          const std::vector<std::string>& names, const Clock& clock) {
  CertificateRequest request = CertificateRequest::from_der(request_der);
  request.refuse_unless_sound();
  refuse_if_revoked(ledger, home.issuing_certificate());
  std::string subject = common_name(home.settings());
  Time now = ledger.time_of_issue(clock);
  {
    WriteTransaction transaction = ledger.write();
    std::optional<CertificateRecord> before = ledger.certificates.live(SubjectKind::authority, subject);
    if (before && before->state == CertificateState::issued &&
        before->public_key != request.public_key().fingerprint()) {
      ledger.certificates.revoke(before->serial, RevocationReason::superseded, now);
      ledger.log.append("front.replaced", now, {{"subject", subject}, {"serial", before->serial}});
      transaction.commit();
    }
  }
  Time not_after = std::min(Time(now + kLife), signer.facts.not_after);
  return certify(ledger, signer, SubjectKind::authority, subject,
                 server_plan(subject, names, request.public_key(), now, not_after), clock);
}

FrontIdentity::FrontIdentity(const Home& home, pkcs11::SigningFailure when_signing_fails)
    : chain_{Certificate::from_pem(read_file(certificate_file(home)))},
      token_(open_token(home, chain_.front(), std::move(when_signing_fails))),
      key_(token_.key(kFrontKey.id).evp()) {
  Certificate issuing = home.issuing_certificate();
  // The root is known to everybody who believes it.
  if (issuing != home.fleet_root()) chain_.push_back(std::move(issuing));
}

}  // namespace fleetroot::ca
