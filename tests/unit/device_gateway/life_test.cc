// A fleet's life in random order, against a model of the factory's ledger: connecting, rework, scrapping,
// imports of lists and manifests, restarts. Registry and ledger never disagree.
#include <map>
#include <random>

#include "tests/unit/device_gateway/world.h"

namespace fleetroot::gateway {
namespace {

constexpr int kDevices = 4;
constexpr int kSteps = 150;

// What the CA knows of one device: its certificates, oldest first; only the last can be alive.
struct Made {
  std::vector<Identity> identities;
  bool is_scrapped = false;
  bool is_live(std::size_t index) const { return index + 1 == identities.size() && !is_scrapped; }
};

class Life : public GatewayWorld, public testing::WithParamInterface<unsigned> {
 protected:
  Life() {
    for (int i = 0; i < kDevices; ++i) make("1FLEET-" + std::to_string(i));
  }

  void make(const std::string& id) { ledger_[id].identities.push_back(device(id)); }
  int any(int count) { return std::uniform_int_distribution<>(0, count - 1)(random_); }
  const std::string& any_device() { return std::next(ledger_.begin(), any(kDevices))->first; }

  // All that the CA can say today. A list first, as a careful administrator does, or the manifest first.
  void import() {
    std::vector<std::pair<SerialNumber, RevocationReason>> revoked;
    std::vector<ManifestDevice> delivered;
    for (const auto& [id, made] : ledger_) {
      for (std::size_t i = 0; i < made.identities.size(); ++i) {
        const Certificate& certificate = made.identities[i].certificate;
        bool is_last = i + 1 == made.identities.size();
        if (!made.is_live(i)) {
          revoked.emplace_back(certificate.serial(), is_last ? RevocationReason::cessation_of_operation
                                                             : RevocationReason::superseded);
        }
        delivered.push_back({.id = DeviceId::parse(id),
                             .key = key_digest(certificate),
                             .certificate = certificate.fingerprint(),
                             .issued_at = format_time(kTestTime + std::chrono::minutes(i)),
                             .is_rework = i > 0,
                             .is_revoked = !made.is_live(i)});
      }
    }
    ++imports_;
    put_list(ca_, imports_, revoked);
    registry().put_manifest(kProduction,
                            {.ca = "ca", .order = "PO-1", .created = std::to_string(imports_), .digest = ""},
                            delivered);
    imported_ = ledger_copy();
  }

  void connect_one() {
    const std::string& id = any_device();
    const Made& made = ledger_.at(id);
    auto index = static_cast<std::size_t>(any(static_cast<int>(made.identities.size())));
    std::optional<Refusal> refusal = connect(chain_of(made.identities[index]));
    auto known = imported_.find(id);
    bool is_imported = known != imported_.end() && index < known->second.first;
    bool was_live = is_imported && index + 1 == known->second.first && !known->second.second;
    if (is_imported && !was_live) {
      EXPECT_NE(refusal, std::nullopt) << id << ": revoked before the last import, and let in";
    }
    if (was_live) {
      EXPECT_EQ(refusal, std::nullopt) << id << ": " << name_of(*refusal);
    }
  }

  void restart() { reopen(); }

  // What must hold whatever came before.
  void check() {
    std::map<std::string, std::string> owners;
    registry().each_device(kProduction, [&](const DeviceRecord& record) {
      const std::vector<Identity>& identities = ledger_.at(record.id.text()).identities;
      std::size_t index = 0;
      while (index < identities.size() && key_digest(identities[index].certificate) != record.key) ++index;
      ASSERT_LT(index, identities.size()) << record.id.text() << " has a key that the ledger does not know";
      EXPECT_EQ(identities[index].certificate.fingerprint(), record.certificate);
      EXPECT_TRUE(owners.emplace(record.key, record.id.text()).second) << "one key, two devices";
      std::size_t& newest = newest_[record.id.text()];
      EXPECT_GE(index, newest) << record.id.text() << " has gone back to an older key";
      newest = index;
    });
    EXPECT_GE(owners.size(), newest_.size()) << "a device is lost";
  }

  std::map<std::string, std::pair<std::size_t, bool>> ledger_copy() const {
    std::map<std::string, std::pair<std::size_t, bool>> copy;
    for (const auto& [id, made] : ledger_) copy[id] = {made.identities.size(), made.is_scrapped};
    return copy;
  }

  std::mt19937 random_{GetParam()};
  std::map<std::string, Made> ledger_;
  // At the last import: how many certificates a device had, and whether it was scrapped.
  std::map<std::string, std::pair<std::size_t, bool>> imported_;
  std::map<std::string, std::size_t> newest_;
  int imports_ = 0;
};

TEST_P(Life, RegistryAndLedgerNeverDisagree) {
  for (int step = 0; step < kSteps && !HasFailure(); ++step) {
    int dice = any(10);
    Made& made = ledger_.at(any_device());
    if (dice < 6) {
      connect_one();
    } else if (dice == 6 && !made.is_scrapped && made.identities.size() < 4) {
      make(made.identities.front().certificate.common_name().value());  // a rework
    } else if (dice == 7 && any(5) == 0) {
      made.is_scrapped = true;
    } else if (dice == 8) {
      import();
    } else if (dice == 9) {
      restart();
    }
    check();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Life, testing::Range(1U, 9U));

}  // namespace
}  // namespace fleetroot::gateway
