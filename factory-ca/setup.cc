#include "factory-ca/setup.h"

#include <fmt/format.h>

#include "factory-ca/ca_key.h"
#include "factory-ca/ledger_check.h"
#include "factory-ca/shipped_profiles.h"
#include "lib/base/config.h"
#include "lib/base/files.h"
#include "lib/base/held_signals.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::ca {
namespace {

namespace fs = std::filesystem;

const pkcs11::KeyName kRootKey{pkcs11::KeyId::parse("01"), "fleet-root"};
const pkcs11::KeyName kIssuingKey{pkcs11::KeyId::parse("01"), "fleetroot-issuing-ca"};

// A home in the making: gone again unless finish() was reached, whether an error or a signal ends it.
class NewHome {
 public:
  explicit NewHome(fs::path path) : path_(std::move(path)) { make_private_directory(path_); }
  NewHome(const NewHome&) = delete;
  NewHome& operator=(const NewHome&) = delete;
  ~NewHome() {
    if (finished_) return;
    for (const auto& [token, name] : keys_) {
      if (pkcs11::SigningKey::take_back(token, name)) continue;
      fmt::print(stderr, "fleetroot-ca: the new key {} is still in its token: delete it there\n", name.label);
    }
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  // A key for this home, whose token may lie outside of it.
  pkcs11::SigningKey generate(const pkcs11::TokenSettings& token, KeyAlgorithm algorithm,
                              const pkcs11::KeyName& name) {
    pkcs11::SigningKey key = pkcs11::SigningKey::generate(token, algorithm, name);
    if (!token.softhsm_directory) keys_.emplace_back(token, name);
    return key;
  }

  // ca.toml last: while it is not there, no command takes the directory for a CA.
  void finish(const std::string& name, const std::optional<KeyLocation>& issuing,
              const std::optional<KeyLocation>& root) {
    if (issuing) {
      make_private_directory(path_ / "profiles");
      for (const ShippedProfile& profile : kShippedProfiles) {
        write_file(path_ / "profiles" / profile.file_name, profile.toml);
      }
    }
    signals_.refuse_if_one_came();
    write_file(path_ / "ca.toml", settings_text(name, issuing, root));
    finished_ = true;
  }

 private:
  HeldSignals signals_;  // first: they strike when all else is done
  fs::path path_;
  std::vector<std::pair<pkcs11::TokenSettings, pkcs11::KeyName>> keys_;
  bool finished_ = false;
};

void refuse_bad_name(const std::string& name) {
  std::string reason = reason_against_ca_name(name);
  if (name.find_first_not_of(' ') == std::string::npos) reason = "it is blank";
  if (!reason.empty()) {
    throw Error(ErrorCode::usage, "the CA's name cannot be used: " + reason,
                "choose a plain name, as in \"Acme Factory 1\"");
  }
}

KeyLocation new_location(const fs::path& home, const std::string& uri, const char* directory,
                         const char* label, const pkcs11::KeyId& id) {
  if (!uri.empty()) {
    return {.token = {.uri = uri, .home = home, .softhsm_directory = {}, .init_args = {}}, .id = id};
  }
  fs::path place = home / directory;
  if (place != home && !fs::exists(place)) make_private_directory(place);
  return {.token = pkcs11::create_softhsm_token(home, place / "softhsm", label,
                                                place / fmt::format("{}.pin", label)),
          .id = id};
}

Certificate make_root(Ledger& ledger, const pkcs11::SigningKey& key, const std::string& name,
                      unsigned path_length, const Clock& clock) {
  std::string common_name = name + " Fleet Root";
  CertificatePlan plan = root_plan(common_name, key.public_key(), path_length, clock.now());
  Signer signer{.key = key.evp(), .public_key = key.public_key(), .facts = IssuerFacts::self_signed(plan)};
  return certify(ledger, signer, SubjectKind::authority, common_name, plan, clock);
}

void create_root(const NewCa& wanted, NewHome& home, Ledger& ledger, const KeyLocation& root,
                 const std::optional<PublicKey>& issuing_key, const Clock& clock) {
  pkcs11::SigningKey key = home.generate(root.token, wanted.algorithm, kRootKey);
  bool signs_devices = wanted.tiers == Tiers::single;
  Certificate root_certificate = make_root(ledger, key, wanted.name, signs_devices ? 0 : 1, clock);
  write_file(wanted.home / "fleet-root.pem", root_certificate.pem());
  if (signs_devices) write_file(wanted.home / "issuing-ca.pem", root_certificate.pem());
  if (!issuing_key) return;
  Signer signer{.key = key.evp(),
                .public_key = key.public_key(),
                .facts = IssuerFacts::of(root_certificate),
                .certificate = root_certificate};
  std::string common_name = wanted.name + " Issuing CA";
  Time now = ledger.time_of_issue(clock);
  Certificate issuing = certify(ledger, signer, SubjectKind::authority, common_name,
                                issuing_plan(common_name, *issuing_key, now), clock);
  write_file(wanted.home / "issuing-ca.pem", issuing.pem());
}

std::vector<fs::path> profiles_in(const fs::path& directory) {
  std::vector<fs::path> profiles;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".toml") profiles.push_back(entry->path());
  }
  if (error) {
    throw Error(ErrorCode::configuration, fmt::format("cannot read the directory {}", directory.string()),
                "restore it from the back-up: it says what certificates say", error.message());
  }
  return profiles;
}

// Whoever has a certificate of this CA's looks for its lists by the issuer's name and key identifier, and the
// ledger for what is to be on them.
void refuse_unless_same_ca(const Certificate& before, const Certificate& issuing) {
  IssuerFacts was = IssuerFacts::of(before);
  IssuerFacts is = IssuerFacts::of(issuing);
  const char* other = nullptr;
  if (is.name != was.name) other = "subject";
  if (is.key_identifier != was.key_identifier) other = "subject key identifier";
  if (issuing.public_key() != before.public_key()) other = "key";
  if (other == nullptr) return;
  throw Error(ErrorCode::certificate_rejected,
              fmt::format("{} has another {} than the certificate that this CA has, {}", issuing.subject(),
                          other, before.subject()),
              "have it made again with the same, or make another CA: fleetroot-ca init --external-root");
}

void note_creation(Ledger& ledger, const std::string& name, Time now) {
  WriteTransaction transaction = ledger.write();
  ledger.log.append("ca.created", now, {{"name", name}});
  transaction.commit();
}

}  // namespace

void create_ca(const NewCa& wanted, const Clock& clock) {
  refuse_bad_name(wanted.name);
  refuse_unless_signs_messages(wanted.algorithm);
  bool has_issuing_key = wanted.tiers == Tiers::two || wanted.tiers == Tiers::external_root;
  bool has_root_key = wanted.tiers != Tiers::external_root;
  const char* root_place = wanted.tiers == Tiers::two ? "root" : "";
  if (has_issuing_key) pkcs11::refuse_unless_possible(wanted.issuing_token, wanted.home / "softhsm");
  if (has_root_key) pkcs11::refuse_unless_possible(wanted.root_token, wanted.home / root_place / "softhsm");
  NewHome home(wanted.home);
  Ledger ledger(wanted.home / "ledger.db");
  note_creation(ledger, wanted.name, clock.now());

  std::optional<KeyLocation> issuing;
  std::optional<KeyLocation> root;
  std::optional<PublicKey> issuing_key;
  if (has_issuing_key) {
    issuing = new_location(wanted.home, wanted.issuing_token, "", "issuing-ca", kIssuingKey.id);
    // One key at a time: the module has one owner.
    pkcs11::SigningKey key = home.generate(issuing->token, wanted.algorithm, kIssuingKey);
    issuing_key = key.public_key();
    if (wanted.tiers == Tiers::external_root) {
      CertificateRequest request = CertificateRequest::create(wanted.name + " Issuing CA", key.public_key(),
                                                              key.evp(), {}, RequestKind::authority);
      write_file(wanted.home / "issuing-ca.csr", request.pem());
    }
  }
  if (has_root_key) {
    root = new_location(wanted.home, wanted.root_token, root_place, "fleet-root", kRootKey.id);
    create_root(wanted, home, ledger, *root, issuing_key, clock);
  }
  if (wanted.tiers == Tiers::single) std::swap(issuing, root);
  home.finish(wanted.name, issuing, root);
}

void adopt_ca(const ExistingCa& existing, const Clock& clock) {
  refuse_bad_name(existing.name);
  refuse_unless_usable(existing.fleet_root, existing.issuing_certificate, clock.now());
  pkcs11::refuse_unless_possible(existing.issuing_token, existing.home / "softhsm");
  NewHome home(existing.home);
  KeyLocation issuing{.token = {.uri = existing.issuing_token,
                                .home = existing.home,
                                .softhsm_directory = {},
                                .init_args = {}},
                      .id = existing.issuing_key_id};
  { CaKey key(issuing, existing.issuing_certificate); }
  Ledger ledger(existing.home / "ledger.db");
  note_creation(ledger, existing.name, clock.now());
  write_file(existing.home / "fleet-root.pem", existing.fleet_root.pem());
  write_file(existing.home / "issuing-ca.pem", existing.issuing_certificate.pem());
  home.finish(existing.name, issuing, {});
}

void accept_certificate(const Home& home, const Certificate& fleet_root, const Certificate& issuing,
                        const Clock& clock) {
  Settings settings = home.settings();
  refuse_unless_usable(fleet_root, issuing, clock.now());
  std::optional<Certificate> before = home.issuing_certificate_if_present();
  if (before) refuse_unless_same_ca(*before, issuing);
  { CaKey key(issuing_key_of(settings), issuing); }
  {
    Ledger ledger(home.ledger());
    WriteTransaction transaction = ledger.write();
    if (before) refuse_if_revoked(ledger, *before);
    ledger.log.append("ca.accepted", clock.now(),
                      {{"fleet_root", fleet_root.fingerprint()}, {"issuing", issuing.fingerprint()}});
    transaction.commit();
  }
  write_file(home.file("fleet-root.pem"), fleet_root.pem());
  write_file(home.file("issuing-ca.pem"), issuing.pem());
}

Certificate issue_authority(const Home& home, const CertificateRequest& request, const Clock& clock) {
  request.refuse_unless_sound(RequestKind::authority);
  refuse_unless_signs_messages(request.public_key().algorithm());
  Settings settings = home.settings();
  Ledger ledger(home.ledger());
  CaKey root(root_key_of(settings), home.fleet_root());
  std::string common_name = request.common_name();
  Time now = ledger.time_of_issue(clock);
  return certify(ledger, root.signer(), SubjectKind::authority, common_name,
                 issuing_plan(common_name, request.public_key(), now), clock);
}

std::vector<std::string> check_configuration(const Home& home, const Clock& clock) {
  std::vector<std::string> lines;
  auto check_key = [&](const KeyLocation& location, const Certificate& certificate) {
    CaKey key(location, certificate);
    refuse_unless_signs(key.signer().public_key, key.signer().key);
    lines.push_back(fmt::format("its key signs ({})", name_of(key.signer().public_key.algorithm())));
  };
  Settings settings = home.settings();
  lines.push_back(fmt::format("ca.toml is well formed; this is {}", settings.name));
  if (settings.issuing) {
    for (const fs::path& path : profiles_in(home.profiles())) {
      ProfileName name =
          read_as_configuration(path, [&] { return ProfileName::parse(path.stem().string()); });
      Profile profile = Profile::read(home.profiles(), name);
      lines.push_back(fmt::format("the profile {} is well formed", profile.name().text()));
    }
    Certificate issuing = home.issuing_certificate();
    refuse_unless_usable(home.fleet_root(), issuing, clock.now());
    lines.push_back(fmt::format("{} is usable under {}", issuing.subject(), home.fleet_root().subject()));
    if (!may_sign_lists(home.fleet_root())) {
      lines.push_back(fmt::format("{} may not sign revocation lists: no list can revoke {}",
                                  home.fleet_root().subject(), issuing.subject()));
    }
    check_key(*settings.issuing, issuing);
  } else {
    Certificate root = home.fleet_root();
    lines.push_back(fmt::format("{} is the Fleet Root, kept offline", root.subject()));
    check_key(root_key_of(settings), root);
  }
  Ledger ledger(home.ledger());
  for (const WorkOrder& order : ledger.orders.list()) {
    if (order.is_open) (void)Profile::read(home.profiles(), order.profile);
  }
  refuse_if_revoked(ledger, settings.issuing ? home.issuing_certificate() : home.fleet_root());
  lines.push_back(fmt::format("the clock says {}, and no certificate is from later than that",
                              format_time(ledger.time_of_issue(clock))));
  Checkpoint checkpoint = check_ledger(ledger);
  lines.push_back(
      fmt::format("the log is unbroken: {} entries, the last is {}", checkpoint.sequence, checkpoint.digest));
  return lines;
}

}  // namespace fleetroot::ca
