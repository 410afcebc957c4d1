#include "device-gateway/shared_credentials.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "device-gateway/authority.h"
#include "lib/base/files.h"
#include "lib/base/secret.h"

namespace fleetroot::gateway {
namespace {

using ArchivePtr = std::unique_ptr<archive, FreeWith<archive_write_free>>;
using EntryPtr = std::unique_ptr<archive_entry, FreeWith<archive_entry_free>>;

constexpr std::size_t kMaximumSize = 256 * 1024;

void require(archive* zip, int result) {
  if (result == ARCHIVE_OK) return;
  const char* words = archive_error_string(zip);
  throw Error(ErrorCode::internal, "cannot make a ZIP archive", "report this", words != nullptr ? words : "");
}

class Zip {
 public:
  explicit Zip(Time now) : now_(now), bytes_(kMaximumSize), zip_(archive_write_new()) {
    require(zip_.get(), archive_write_set_format_zip(zip_.get()));
    require(zip_.get(), archive_write_open_memory(zip_.get(), bytes_.data(), bytes_.size(), &used_));
  }
  ~Zip() {
    zip_.reset();  // closes what was not finished, which writes to bytes_
    wipe(bytes_.data(), bytes_.size());
  }
  Zip(const Zip&) = delete;
  Zip& operator=(const Zip&) = delete;

  void add(const char* name, std::string_view content) {
    EntryPtr entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), name);
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0600);
    archive_entry_set_mtime(entry.get(), now_.time_since_epoch().count(), 0);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
    require(zip_.get(), archive_write_header(zip_.get(), entry.get()));
    if (archive_write_data(zip_.get(), content.data(), content.size()) !=
        static_cast<la_ssize_t>(content.size())) {
      require(zip_.get(), ARCHIVE_FATAL);
    }
  }

  std::string_view finish() {
    require(zip_.get(), archive_write_close(zip_.get()));
    return as_text(BytesView(bytes_).first(used_));
  }

 private:
  Time now_;
  Bytes bytes_;
  std::size_t used_ = 0;
  ArchivePtr zip_;
};

}  // namespace

CredentialRecord create_credentials(const Home& home, const NewCredentials& wanted, const Clock& clock) {
  Settings settings = home.settings();
  const EnvironmentSettings& environment = settings.environment(wanted.environment);
  if (!environment.device_root_key) {
    throw Error(ErrorCode::configuration,
                fmt::format("{} allows no shared credentials", wanted.environment.text()),
                "devices bring keys of their own there; name an environment that allows them");
  }
  if (!wanted.url.empty()) refuse_unless_https(wanted.url);
  if (std::filesystem::exists(wanted.out)) {
    throw Error(ErrorCode::cannot_create, fmt::format("{} is there already", wanted.out.string()),
                "name a file that is not there");
  }
  Time now = clock.now();
  CredentialName name = CredentialName::parse("key-" + to_hex(random_bytes(6)));
  CertifiedKey key = make_provisioning_key(name.text(), now, now + wanted.lasts);
  Certificate root = home.certificate(wanted.environment, "gateway-root.pem");
  Bytes bundle = to_pkcs12(name.text(), key.key.get(), key.certificate, root);
  Wiping wiping(bundle);
  CredentialRecord record{.name = name,
                          .environment = wanted.environment,
                          .certificate = key.certificate.fingerprint(),
                          .quota = wanted.quota,
                          .expires = key.certificate.not_after(),
                          .created_at = format_time(now)};
  Zip zip(now);
  zip.add("autoprov.url", wanted.url.empty() ? environment.url : wanted.url);
  zip.add("autoprov_credentials.p12", as_text(bundle));
  zip.add("server_ca.pem", root.pem());
  // Registered first: a key that nobody got is revoked by its expiry, one that nobody knows is of no use.
  Registry registry(home.registry());
  registry.add_credential(record);
  write_file(wanted.out, zip.finish(), 0600);
  return record;
}

}  // namespace fleetroot::gateway
