// The factory CA's memory: one SQLite file with work orders, certificates, what became of them, and the log.
// Several processes may share the file, and a committed change survives power loss. One thread; or several,
// if each goes through change() and alone().
#pragma once

#include <filesystem>
#include <functional>

#include "factory-ca/audit_log.h"
#include "factory-ca/bundle_ledger.h"
#include "factory-ca/certificate_ledger.h"
#include "factory-ca/list_numbers.h"
#include "factory-ca/reworks.h"
#include "factory-ca/scrapped_devices.h"
#include "factory-ca/station_orders.h"
#include "factory-ca/work_orders.h"
#include "lib/store/group_commit.h"

namespace fleetroot::ca {

// What to do where the ledger has something from later than the clock says.
inline constexpr const char* kSetRightOrDisown =
    "set the clock right; where it is, and was ahead then, take back what is later: fleetroot-ca cert disown";

class Ledger {
 public:
  static constexpr std::size_t kSchemaVersion = 9;

  // Opens the file, or makes it. Error(io, busy, configuration) as Database says.
  explicit Ledger(const std::filesystem::path& file);
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Held by whoever changes something; what was read inside still holds when it commits.
  WriteTransaction write() { return WriteTransaction(database_); }
  // Held by whoever looks at many things as they were at one moment.
  ReadTransaction read() { return ReadTransaction(database_); }
  // Error(io) if the file is not whole.
  void refuse_if_damaged() { database_.refuse_if_damaged(); }
  // Error(io) if a back-up was put in its place, or nothing. Any thread.
  void refuse_if_replaced() const { database_.refuse_if_replaced(); }

  // Many at the same time (GroupCommit). For a task to await: what `change` did, alone, in a transaction that
  // others share, is durable.
  GroupCommit::Durable change(const std::function<void()>& change) { return group_.change(change); }
  // Runs tasks whose changes become durable together.
  template <typename Value>
  void run_on(unsigned threads,
              const std::function<std::vector<GroupCommit::Job<Value>>(bool is_idle)>& more) {
    group_.run_on(threads, more);
  }
  // Runs `body` alone, without a transaction.
  void alone(const std::function<void()>& body) { group_.alone(body); }

  // What the clock says; Error(clock) if a certificate on record is from later than that.
  Time time_of_issue(const Clock& clock);

 private:
  Database database_;
  GroupCommit group_{database_};

 public:
  WorkOrders orders;
  CertificateLedger certificates;
  Reworks reworks;
  ScrappedDevices scrapped;
  BundleLedger bundles;
  ListNumbers crls;
  StationOrders station_orders;
  AuditLog log;
};

}  // namespace fleetroot::ca
