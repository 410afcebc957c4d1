// A database session: opened with the settings that our promises need, migrated, and closed. SQLite embedded;
// the SQL that rooms write against it stays plain enough for PostgreSQL.
#pragma once

#include <soci/soci.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fleetroot {

// What the database said, as Error(busy, io, internal), which names its file where that is known.
[[noreturn]] void throw_store_error(const soci::soci_error& error, const std::filesystem::path& file);

// Runs SQL; whatever the database says against it becomes an Error.
template <typename Body>
auto with_store_errors(Body&& body, const std::filesystem::path& file = {}) {
  try {
    return body();
  } catch (const soci::soci_error& error) {
    throw_store_error(error, file);
  }
}

// One thread. SQLite in WAL mode with synchronous=FULL: a committed transaction survives power loss. Foreign
// keys on. Other processes may hold the same file open; a writer waits up to ten seconds for another, then
// Error(busy).
class Database {
 public:
  // Opens or makes the file (mode 0600) and runs the migrations that it has not had, each in a transaction of
  // its own; migration N brings the schema to version N+1. Error(configuration) if the file is newer than the
  // program, Error(io) if it is damaged or cannot be written. What `migrations` views must outlive it.
  Database(const std::filesystem::path& path, std::span<const std::string_view> migrations);

  soci::session& sql() { return session_; }

  // Statements that are run again and again: each text is prepared once and kept. `exchanges` are soci::use()
  // and soci::into(). All three throw what the database says as an Error.

  // Takes the first row of the result; false if there is none.
  template <typename... Exchanges>
  bool row(const std::string& text, Exchanges... exchanges) {
    return with_store_errors(
        [&] {
          KeptStatement statement(*this, text);
          statement.bind(std::move(exchanges)...);
          return statement->execute(true);
        },
        path_);
  }
  // Calls `look` for each row, which must not run the same text.
  template <typename... Exchanges>
  void rows(const std::string& text, const std::function<void()>& look, Exchanges... exchanges) {
    with_store_errors(
        [&] {
          KeptStatement statement(*this, text);
          statement.bind(std::move(exchanges)...);
          statement->execute();
          while (statement->fetch()) look();
        },
        path_);
  }
  // How many rows it changed.
  template <typename... Exchanges>
  long long change(const std::string& text, Exchanges... exchanges) {
    return with_store_errors(
        [&] {
          KeptStatement statement(*this, text);
          statement.bind(std::move(exchanges)...);
          statement->execute(true);
          return statement->get_affected_rows();
        },
        path_);
  }

  // For whoever goes on and on: the log is folded in seldom, and up to 64 MiB of the file are remembered.
  void expect_many_changes();
  // Walks the whole file. Error(io) if it is not what the database wrote, has another schema than the
  // migrations make, or a row that belongs to none.
  void refuse_if_damaged();
  // Error(io) once its path leads to another file, or to none: a back-up was put back, and what is written
  // here nobody will find. Transactions begin with this.
  void refuse_if_replaced() const;

  // Not any more, once the database has undone it by itself.
  bool is_in_transaction();
  // Of rows, by this session, whether or not they were undone.
  std::int64_t total_changes();

 private:
  // A kept statement while it is in use; it forgets its values, and lets go of what it reads, at the end.
  class KeptStatement {
   public:
    KeptStatement(Database& database, const std::string& text);
    KeptStatement(const KeptStatement&) = delete;
    KeptStatement& operator=(const KeptStatement&) = delete;
    ~KeptStatement();

    template <typename... Exchanges>
    void bind(Exchanges... exchanges) {
      (statement_.exchange(std::move(exchanges)), ...);
      statement_.define_and_bind();
    }
    soci::statement* operator->() { return &statement_; }

   private:
    soci::statement& statement_;
  };

  soci::statement& kept(const std::string& text);
  void migrate();
  void refuse_another_schema();

  std::filesystem::path path_;
  std::vector<std::string_view> migrations_;
  soci::session session_;
  std::pair<dev_t, ino_t> opened_;  // the file itself
  std::map<std::string, soci::statement> kept_;
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

// BEGIN … ROLLBACK: what is read inside is what was committed when the first of it was read.
class ReadTransaction {
 public:
  explicit ReadTransaction(Database& database);
  ReadTransaction(const ReadTransaction&) = delete;
  ReadTransaction& operator=(const ReadTransaction&) = delete;
  ~ReadTransaction();

 private:
  Database& database_;
};

}  // namespace fleetroot
