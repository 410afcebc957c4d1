// A database session: opened with the settings that our promises need, migrated, and closed. SQLite embedded;
// the SQL that rooms write against it stays plain enough for PostgreSQL.
#pragma once

#include <soci/soci.h>

#include <filesystem>
#include <span>
#include <string_view>

namespace fleetroot {

// What the database said, as Error(busy, io, internal).
[[noreturn]] void throw_store_error(const soci::soci_error& error);

// Runs SQL; whatever the database says against it becomes an Error.
template <typename Body>
auto with_store_errors(Body&& body) {
  try {
    return body();
  } catch (const soci::soci_error& error) {
    throw_store_error(error);
  }
}

// One thread. SQLite in WAL mode with synchronous=FULL: a committed transaction survives power loss. Foreign
// keys on. Other processes may hold the same file open; a writer waits up to ten seconds for another, then
// Error(busy).
class Database {
 public:
  // Opens or makes the file (mode 0600) and runs the migrations that it has not had, each in a transaction of
  // its own; migration N brings the schema to version N+1. Error(configuration) if the file is newer than the
  // program, Error(io) if it is damaged or cannot be written.
  Database(const std::filesystem::path& path, std::span<const std::string_view> migrations);

  soci::session& sql() { return session_; }

 private:
  void migrate(const std::filesystem::path& path, std::span<const std::string_view> migrations);

  soci::session session_;
};

// BEGIN IMMEDIATE … COMMIT: takes the write lock at once, so that what was read inside still holds at the
// commit. Rolls back in the destructor unless committed.
class WriteTransaction {
 public:
  explicit WriteTransaction(Database& database);
  WriteTransaction(const WriteTransaction&) = delete;
  WriteTransaction& operator=(const WriteTransaction&) = delete;
  ~WriteTransaction();
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace fleetroot
