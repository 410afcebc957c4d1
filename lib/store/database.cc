#include "lib/store/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <soci/sqlite3/soci-sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "lib/base/error.h"
#include "lib/base/files.h"

namespace fleetroot {
namespace {

constexpr int kBusyMilliseconds = 10'000;
// Of 4 KiB each.
constexpr int kShortLogPages = 100;
constexpr int kLongLogPages = 8'000;
constexpr int kManyKeptPages = 16'000;

// SQLite would lock each connection against its own thread, and all of them to count its memory.
void leave_locks_out() {
  static const bool done [[maybe_unused]] = [] {
    sqlite_api::sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite_api::sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    return true;
  }();
}

// SQLite would make the file with the umask's mode; its -wal and -shm files take the mode of this one.
void make_private_file(const std::filesystem::path& path) {
  FileDescriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd && errno != EEXIST) {
    throw system_error(ErrorCode::cannot_create, fmt::format("cannot create {}", path.string()),
                       "check the path, its permissions and the free space", errno);
  }
}

// SOCI takes a string without '=' as the file name, and splits any other into key=value pairs.
std::string connect_string(const std::filesystem::path& path) {
  const std::string& name = path.native();
  if (name.find('=') == std::string::npos) return name;
  if (name.find('"') != std::string::npos) {
    throw Error(ErrorCode::configuration, fmt::format("the database cannot be opened at {}", name),
                "move it to a directory whose path holds no '=' and no '\"'");
  }
  return fmt::format("dbname=\"{}\"", name);
}

sqlite_api::sqlite3* connection(soci::session& session) {
  return static_cast<soci::sqlite3_session_backend*>(session.get_backend())->conn_;
}

// One that fails (the disk is gone) leaves nothing to do: what was not committed is not there.
void roll_back(Database& database) {
  sqlite_api::sqlite3_exec(connection(database.sql()), "ROLLBACK", nullptr, nullptr, nullptr);
}

// Leaving the write-ahead log in place at the end of a process saves every short-lived process the work of
// folding it in. The next one reads all of it, so it is folded in before it is long.
void keep_short_log_on_close(soci::session& session) {
  sqlite_api::sqlite3_db_config(connection(session), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite_api::sqlite3_wal_autocheckpoint(connection(session), kShortLogPages);
}

// The one change for which SQLite does not wait while others have the file open: whoever makes a database at
// the same moment as another process would be told that it is busy. So they take turns, by a lock on the
// directory, which SQLite does not touch; for the look at the mode too, because that opens the file.
void switch_to_log(soci::session& session, const std::filesystem::path& path) {
  FileDescriptor turn = lock_directory(path.parent_path());
  std::string mode;
  session << "PRAGMA journal_mode", soci::into(mode);
  if (mode == "wal") return;
  session << "PRAGMA journal_mode = WAL", soci::into(mode);
  if (mode != "wal") {
    throw Error(ErrorCode::io, "the database does not accept a write-ahead log",
                "put it on a local file system");
  }
}

void configure(soci::session& session, const std::filesystem::path& path) {
  sqlite_api::sqlite3_busy_timeout(connection(session), kBusyMilliseconds);
  keep_short_log_on_close(session);
  switch_to_log(session, path);
  session << "PRAGMA synchronous = FULL";
  session << "PRAGMA foreign_keys = ON";
}

int schema_version(soci::session& session) {
  int version = 0;
  session << "PRAGMA user_version", soci::into(version);
  return version;
}

// SOCI prepares one statement at a time; a migration is several, separated by ";\n".
void run_script(soci::session& session, std::string_view script) {
  while (!script.empty()) {
    std::size_t end = script.find(";\n");
    std::string_view statement = script.substr(0, end);
    if (statement.find_first_not_of(" \n;") != std::string_view::npos) session << std::string(statement);
    script = end == std::string_view::npos ? std::string_view() : script.substr(end + 2);
  }
}

// What a path leads to; zeros for nothing.
std::pair<dev_t, ino_t> file_at(const std::filesystem::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

// What each table, index and trigger was made with, by "the table NAME". What ANALYZE keeps is no promise.
std::map<std::string, std::string> schema_of(soci::session& session) {
  std::map<std::string, std::string> schema;
  std::string name;
  std::string text;
  soci::statement rows =
      (session.prepare << "SELECT 'the ' || type || ' ' || name, coalesce(sql, '') FROM sqlite_schema "
                          "WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'",
       soci::into(name), soci::into(text));
  rows.execute();
  while (rows.fetch()) schema[name] = text;
  return schema;
}

std::string name_of(const std::filesystem::path& file) {
  return file.empty() ? "the database" : fmt::format("the database {}", file.string());
}

// The statements are ours, and so is what they were written for.
bool says_that_the_schema_is_another(const std::string& message) {
  return message.find("no such table") != std::string::npos ||
         message.find("no such column") != std::string::npos ||
         message.find("has no column named") != std::string::npos;
}

constexpr const char* kKeepTheFile = "stop, keep the file, and restore a backup";

}  // namespace

void throw_store_error(const soci::soci_error& error, const std::filesystem::path& file) {
  int result = SQLITE_ERROR;
  if (const auto* sqlite = dynamic_cast<const soci::sqlite3_soci_error*>(&error)) {
    result = sqlite->result() & 0xff;
  }
  // SOCI's words hold the statement and its values, which are of use where the statement is what is wrong.
  const char* cause = sqlite_api::sqlite3_errstr(result);
  switch (result) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error(ErrorCode::busy, "the database is in use by another process", "run the same command again",
                  cause);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      throw Error(ErrorCode::io, fmt::format("{} cannot be read or written", name_of(file)),
                  "check its permissions and the free space, then run the same command again", cause);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw Error(ErrorCode::io, fmt::format("{} is damaged", name_of(file)), kKeepTheFile, cause);
    default:
      if (result == SQLITE_ERROR && says_that_the_schema_is_another(error.get_error_message())) {
        throw Error(ErrorCode::io, fmt::format("{} is damaged", name_of(file)), kKeepTheFile, error.what());
      }
      throw Error(ErrorCode::internal, "the database refused a statement", "keep this message and report it",
                  error.what());
  }
}

Database::Database(const std::filesystem::path& path, std::span<const std::string_view> migrations)
    : path_(path), migrations_(migrations.begin(), migrations.end()) {
  leave_locks_out();
  with_store_errors(
      [&] {
        make_private_file(path_);
        session_.open(soci::sqlite3, connect_string(path_));
        configure(session_, path_);
      },
      path_);
  opened_ = file_at(path_);
  migrate();
}

void Database::expect_many_changes() {
  sqlite_api::sqlite3_wal_autocheckpoint(connection(session_), kLongLogPages);
  with_store_errors([&] { session_ << fmt::format("PRAGMA cache_size = {}", kManyKeptPages); }, path_);
}

void Database::refuse_if_replaced() const {
  if (file_at(path_) == opened_) return;
  throw Error(
      ErrorCode::io,
      fmt::format("{} was moved away or replaced while this program had it open", name_of(path_)),
      "put back what was there, or start again every program that works on it: it opens what is there then");
}

void Database::migrate() {
  int newest = static_cast<int>(migrations_.size());
  int version = with_store_errors([&] { return schema_version(session_); }, path_);
  while (version != newest) {
    if (version > newest) {
      throw Error(
          ErrorCode::configuration,
          fmt::format("{} has schema version {}, this program knows {}", path_.string(), version, newest),
          "use the newer program that wrote it");
    }
    WriteTransaction transaction(*this);
    version = with_store_errors(
        [&] {
          // Read again under the lock: another process may have migrated meanwhile.
          int current = schema_version(session_);
          if (current < newest) {
            run_script(session_, migrations_[static_cast<std::size_t>(current)]);
            session_ << fmt::format("PRAGMA user_version = {}", ++current);
          }
          return current;
        },
        path_);
    transaction.commit();
  }
}

bool Database::is_in_transaction() {
  return sqlite_api::sqlite3_get_autocommit(connection(session_)) == 0;
}

std::int64_t Database::total_changes() {
  return sqlite_api::sqlite3_total_changes(connection(session_));
}

Database::KeptStatement::KeptStatement(Database& database, const std::string& text)
    : statement_(database.kept(text)) {}

Database::KeptStatement::~KeptStatement() {
  // What fails here has been said by what ran before.
  try {
    static_cast<soci::sqlite3_statement_backend*>(statement_.get_backend())->reset();
    statement_.bind_clean_up();
  } catch (const soci::soci_error&) {
  }
}

soci::statement& Database::kept(const std::string& text) {
  auto [place, is_new] = kept_.try_emplace(text, session_);
  if (!is_new) return place->second;
  try {
    place->second.alloc();
    place->second.prepare(text);
  } catch (...) {
    kept_.erase(place);
    throw;
  }
  return place->second;
}

void Database::refuse_if_damaged() {
  std::string finding;
  bool found = row("PRAGMA quick_check(1)", soci::into(finding));
  if (!found || finding != "ok") {
    throw Error(ErrorCode::io, fmt::format("{} is damaged", name_of(path_)), kKeepTheFile, finding);
  }
  refuse_another_schema();
  std::string child;
  std::string parent;
  if (row("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1", soci::into(child),
          soci::into(parent))) {
    throw Error(ErrorCode::io,
                fmt::format("{} is damaged: it has a row of {} that belongs to none of {}", name_of(path_),
                            child, parent),
                kKeepTheFile);
  }
}

// Unique indexes are what our promises rest on.
void Database::refuse_another_schema() {
  with_store_errors(
      [&] {
        soci::session anew(soci::sqlite3, ":memory:");
        for (std::string_view migration : migrations_) run_script(anew, migration);
        std::map<std::string, std::string> held = schema_of(session_);
        std::map<std::string, std::string> made = schema_of(anew);
        std::vector<std::pair<std::string, std::string>> different;
        std::set_symmetric_difference(held.begin(), held.end(), made.begin(), made.end(),
                                      std::back_inserter(different));
        if (different.empty()) return;
        throw Error(ErrorCode::io,
                    fmt::format("{} is damaged: {} is not as this program makes it", name_of(path_),
                                different.front().first),
                    kKeepTheFile);
      },
      path_);
}

WriteTransaction::WriteTransaction(Database& database) : database_(database) {
  database_.refuse_if_replaced();
  database_.change("BEGIN IMMEDIATE");
}

WriteTransaction::~WriteTransaction() {
  if (open_) roll_back(database_);
}

void WriteTransaction::commit() {
  database_.change("COMMIT");
  open_ = false;
}

ReadTransaction::ReadTransaction(Database& database) : database_(database) {
  database_.refuse_if_replaced();
  database_.change("BEGIN");
}

ReadTransaction::~ReadTransaction() {
  roll_back(database_);
}

}  // namespace fleetroot
