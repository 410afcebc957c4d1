// The log: whoever changes it is seen.
#include "factory-ca/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/ledger.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"
#include "tests/unit/factory_ca/software_ca.h"

namespace fleetroot::ca {
namespace {

using testing::HasSubstr;

class AuditLogTest : public testing::Test {
 protected:
  AuditLogTest() {
    for (int i = 1; i <= 5; ++i) append(i);
  }
  void append(int n) {
    WriteTransaction transaction = ledger_.write();
    ledger_.log.append("device.certified", kTestTime + std::chrono::seconds(n),
                       {{"device_id", "dev-" + std::to_string(n)}});
    transaction.commit();
  }
  void raw(const std::string& statement) { raw_.sql() << statement; }
  // Where verify() stops.
  void expect_broken_at(int entry) {
    Error error = error_of([&] { ledger_.log.verify(); });
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.message(), HasSubstr("entry " + std::to_string(entry) + " of the log"));
  }

  ScratchDirectory directory_;
  Ledger ledger_{directory_ / "ledger.db"};
  // Somebody with a database tool.
  Database raw_{directory_ / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, "")};
};

TEST_F(AuditLogTest, IsWholeUntilSomebodyChangesIt) {
  std::vector<std::string> entries;
  Checkpoint end = ledger_.log.verify([&](const LogEntry& entry) { entries.push_back(entry.entry); });
  EXPECT_EQ(end.sequence, 5);
  EXPECT_EQ(end.digest, ledger_.log.checkpoint().digest);
  ASSERT_EQ(entries.size(), 5U);
  EXPECT_EQ(entries[0], R"({"device_id":"dev-1","event":"device.certified","time":"2026-11-24T00:00:01Z"})");
}

// docs/formats.md, "Audit log": the digest of 64 zeros, a line feed, and the entry.
TEST_F(AuditLogTest, IsChainedAsDocumented) {
  std::string last(64, '0');
  ledger_.log.verify([&](const LogEntry& entry) {
    last = sha256_hex(as_bytes(last + "\n" + entry.entry));
    EXPECT_EQ(entry.digest, last);
  });
}

TEST_F(AuditLogTest, ShowsAnEdit) {
  raw("UPDATE log SET entry = replace(entry, 'dev-3', 'dev-9') WHERE sequence = 3");
  expect_broken_at(3);
}

TEST_F(AuditLogTest, ShowsAnEditWithItsDigestMadeToFit) {
  std::string entry;
  std::string before;
  raw_.sql() << "SELECT entry FROM log WHERE sequence = 3", soci::into(entry);
  raw_.sql() << "SELECT digest FROM log WHERE sequence = 2", soci::into(before);
  entry.replace(entry.find("dev-3"), 5, "dev-9");
  std::string digest = sha256_hex(as_bytes(before + "\n" + entry));
  raw_.sql() << "UPDATE log SET entry = :entry, digest = :digest WHERE sequence = 3", soci::use(entry),
      soci::use(digest);
  expect_broken_at(4);
}

TEST_F(AuditLogTest, ShowsADeletion) {
  raw("DELETE FROM log WHERE sequence = 3");
  expect_broken_at(4);
}

TEST_F(AuditLogTest, ShowsADeletionThatClosesTheGap) {
  raw("DELETE FROM log WHERE sequence = 3");
  raw("UPDATE log SET sequence = 3 WHERE sequence = 4");
  raw("UPDATE log SET sequence = 4 WHERE sequence = 5");
  expect_broken_at(3);
}

TEST_F(AuditLogTest, ShowsTheLossOfItsBeginning) {
  raw("DELETE FROM log WHERE sequence = 1");
  expect_broken_at(2);
}

TEST_F(AuditLogTest, ShowsReordering) {
  raw("UPDATE log SET sequence = 99 WHERE sequence = 2");
  raw("UPDATE log SET sequence = 2 WHERE sequence = 3");
  raw("UPDATE log SET sequence = 3 WHERE sequence = 99");
  expect_broken_at(2);
}

TEST_F(AuditLogTest, ShowsAGapInItsNumbers) {
  raw("UPDATE log SET sequence = 9 WHERE sequence = 5");
  expect_broken_at(9);
}

TEST_F(AuditLogTest, ShowsAnInsertion) {
  raw("INSERT INTO log VALUES (0, '{}', '')");
  expect_broken_at(0);
  raw("DELETE FROM log WHERE sequence = 0");
  raw("INSERT INTO log SELECT 6, entry, digest FROM log WHERE sequence = 5");
  expect_broken_at(6);
}

TEST_F(AuditLogTest, ShowsTruncationToWhoeverHoldsACheckpoint) {
  Checkpoint earlier = ledger_.log.checkpoint();
  raw("DELETE FROM log WHERE sequence > 3");
  EXPECT_LT(ledger_.log.verify().sequence, earlier.sequence);
  append(7);
  append(8);
  append(9);
  std::string at_the_checkpoint;
  ledger_.log.verify([&](const LogEntry& entry) {
    if (entry.sequence == earlier.sequence) at_the_checkpoint = entry.digest;
  });
  EXPECT_NE(at_the_checkpoint, earlier.digest) << "grown again, it is another log";
}

TEST_F(AuditLogTest, KeepsAnOldCheckpointWhileItGrows) {
  Checkpoint earlier = ledger_.log.checkpoint();
  append(6);
  ledger_.log.verify([&](const LogEntry& entry) {
    if (entry.sequence == earlier.sequence) {
      EXPECT_EQ(entry.digest, earlier.digest);
    }
  });
}

}  // namespace
}  // namespace fleetroot::ca
