// Whatever is asked in whatever order, and wherever a process dies, the promises hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "factory-ca/later_life.h"
#include "factory-ca/ledger_check.h"
#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

class Promises : public Factory, public testing::WithParamInterface<unsigned> {
 protected:
  static constexpr int kDevices = 6;
  static constexpr int kKeys = 12;
  static constexpr long long kQuantity = 4;

  std::size_t pick(int below) { return random_() % static_cast<unsigned>(below); }

  void step() {
    std::string device = "dev-" + std::to_string(pick(kDevices));
    std::string order = "PO-" + std::to_string(pick(2));
    CertificateRequest request = request_for(device, keys_[pick(kKeys)]);
    switch (pick(16)) {
      case 0:
        close_order(order);
        break;
      case 1:
        clock.time -= std::chrono::hours(1);
        attempt(*another_process(), request, order);
        clock.time += std::chrono::hours(2);
        break;
      case 2:
        tell([&] {
          (void)revoke_certificate(ledger(), DeviceId::parse(device), RevocationReason::key_compromise, clock,
                                   real);
        });
        break;
      case 12:
      case 13:
        tell([&] { (void)authorise_rework(ledger(), DeviceId::parse(device), "", clock, real); });
        break;
      case 14:
        tell([&] { withdraw_rework(ledger(), DeviceId::parse(device), clock); });
        break;
      case 15:
        // Rare, because there is no way back.
        if (pick(4) != 0) break;
        tell([&] {
          (void)scrap(ledger(), DeviceId::parse(device), ScrapCause::parse("damaged"), clock, real);
        });
        break;
      case 3:
      case 4:
      case 5:
        die_somewhere(request, order);
        break;
      default:
        attempt(process, request, order);
    }
  }

  void tell(const std::function<void()>& command) {
    try {
      command();
    } catch (const Error& error) {
      ASSERT_TRUE(allowed_.contains(error.code())) << error.what();
    }
  }

  void attempt(Process& by, const CertificateRequest& request, const std::string& order) {
    try {
      Certificate got = by.issue(request, order);
      ASSERT_EQ(got.common_name(), request.common_name());
      ASSERT_EQ(got.public_key(), request.public_key());
      ASSERT_EQ(live(request.common_name()).value().certificate, got.der())
          << "handed out, but not in the ledger";
      auto [before, is_new] = handed_out_.emplace(got.public_key().fingerprint(), got.der());
      ASSERT_EQ(before->second, got.der()) << "two certificates for one key";
    } catch (const Error& error) {
      ASSERT_TRUE(allowed_.contains(error.code())) << error.what();
    }
  }

  void die_somewhere(const CertificateRequest& request, const std::string& order) {
    struct Death {};
    clock.looking = [looks = 0, at = static_cast<int>(pick(2)) + 1]() mutable {
      if (++looks == at) throw Death();
    };
    try {
      attempt(*another_process(), request, order);
    } catch (const Death&) {
      // Its ledger is closed; what it had reserved stays.
      ++deaths_;
    }
    clock.looking = [] {};
  }

  void expect_promises() {
    ASSERT_EQ(count("SELECT count(*) FROM (SELECT 1 FROM certificates WHERE state = 'issued' "
                    "GROUP BY kind, subject HAVING count(*) > 1)"),
              0)
        << "one live certificate a device";
    ASSERT_EQ(count("SELECT count(*) FROM (SELECT 1 FROM certificates WHERE state <> 'abandoned' "
                    "GROUP BY public_key HAVING count(*) > 1)"),
              0)
        << "one certificate a key";
    ASSERT_EQ(count("SELECT count(*) FROM (SELECT 1 FROM certificates GROUP BY public_key "
                    "HAVING count(DISTINCT subject) > 1)"),
              0)
        << "one device a key";
    for (const std::string& order : {std::string("PO-0"), std::string("PO-1")}) {
      long long places = 0;
      // A device keeps its place through every rework.
      raw_.sql() << "SELECT count(DISTINCT subject) FROM certificates WHERE order_id = :id AND state <> "
                    "'abandoned'",
          soci::use(order), soci::into(places);
      ASSERT_EQ(used(order), places);
      ASSERT_LE(used(order), kQuantity);
    }
    ASSERT_EQ(count("SELECT count(*) FROM certificates c JOIN scrapped_devices s ON s.device_id = c.subject "
                    "WHERE c.state IN ('issued', 'reserved')"),
              0)
        << "scrapped is scrapped";
    ASSERT_EQ(count("SELECT count(*) FROM certificates c WHERE c.supersedes <> '' AND c.state IN ('issued', "
                    "'revoked') AND NOT EXISTS (SELECT 1 FROM reworks r WHERE r.serial = c.serial)"),
              0)
        << "no second certificate without a rework";
    ASSERT_EQ(
        count("SELECT count(*) FROM certificates c WHERE c.state IN ('issued', 'revoked') AND EXISTS "
              "(SELECT 1 FROM certificates b WHERE b.subject = c.subject AND b.public_key <> c.public_key "
              "AND b.rowid < c.rowid) AND NOT EXISTS (SELECT 1 FROM reworks r WHERE r.serial = c.serial)"),
        0)
        << "nor one for another key than the first that was begun";
    ASSERT_EQ(count("SELECT count(*) FROM (SELECT 1 FROM certificates WHERE state IN ('issued', 'revoked') "
                    "GROUP BY subject, generation HAVING count(*) > 1)"),
              0)
        << "each certificate has one predecessor";
    ASSERT_EQ(count("SELECT count(*) FROM reworks WHERE state = 'used'"),
              count("SELECT count(DISTINCT serial) FROM reworks WHERE state = 'used'"))
        << "each rework is used once";
    ASSERT_EQ(events("device.certified").size(), handed_out_.size())
        << "the log tells of each certificate once";
  }

  long long count(const std::string& query) {
    long long rows = 0;
    raw_.sql() << query, soci::into(rows);
    return rows;
  }

  static constexpr Commitment real = Commitment::for_real;
  std::mt19937 random_{GetParam()};
  std::vector<EvpPkeyPtr> keys_;
  // What was handed out, by key.
  std::map<std::string, Bytes> handed_out_;
  const std::set<ErrorCode> allowed_{ErrorCode::device_has_certificate,
                                     ErrorCode::device_revoked,
                                     ErrorCode::device_scrapped,
                                     ErrorCode::key_reused,
                                     ErrorCode::order_full,
                                     ErrorCode::order_closed,
                                     ErrorCode::not_on_order,
                                     ErrorCode::bad_request,
                                     ErrorCode::clock};
  int deaths_ = 0;
  Database raw_{directory / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, "")};
};

TEST_P(Promises, Hold) {
  for (int i = 0; i < kKeys; ++i) keys_.push_back(software_key());
  open_order("PO-0", kQuantity);
  open_order("PO-1", kQuantity);
  clock.time += std::chrono::hours(24);
  crash_before_commit(request_for("dev-0", keys_[0]), "PO-0");
  for (int i = 0; i < 80; ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", step " + std::to_string(i));
    step();
    expect_promises();
    if (HasFatalFailure()) return;
  }
  EXPECT_NO_THROW(check_ledger(ledger()));
  EXPECT_FALSE(handed_out_.empty());
  RecordProperty("deaths", deaths_);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Promises, testing::Range(1U, 9U));

}  // namespace
}  // namespace fleetroot::ca
