// A TOML file read strictly: a key that nobody asked for is an error that names the nearest known one of its
// table. Usage: read every key through the typed getters, then call refuse_unknown_keys(). All failures are
// Error(configuration) and name the file and the key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"

namespace fleetroot {

class ConfigFile {
 public:
  static ConfigFile read(const std::filesystem::path& path);
  // As read() refuses one that is not there or cannot be opened, whatever is in it.
  static void refuse_unless_there(const std::filesystem::path& path);
  static ConfigFile parse(std::string_view text, std::string name);
  ConfigFile(ConfigFile&&) noexcept;
  ConfigFile& operator=(ConfigFile&&) noexcept;
  ~ConfigFile();

  // `key` is dotted: "token.uri".
  std::optional<std::string> string(std::string_view key);
  std::optional<std::int64_t> integer(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::vector<std::string>> strings(std::string_view key);
  std::string required_string(std::string_view key);
  // The names of the tables directly in [key]; none if it is not there.
  std::vector<std::string> tables_in(std::string_view key) const;
  // How many tables [[key]] there are; the keys of the first are "key[0].name" and so on.
  std::size_t tables(std::string_view key);

  void refuse_unknown_keys() const;

  // An Error(configuration) about one key of this file, for values that have the right type and the wrong
  // content.
  [[noreturn]] void refuse(std::string_view key, std::string_view why, std::string_view hint) const;

 private:
  struct Document;
  explicit ConfigFile(std::unique_ptr<Document> document);
  std::unique_ptr<Document> document_;
};

// `error`, which is about what a file of a home holds, as an Error(configuration) that names the file:
// whoever runs the command has not brought the file along, and the same words about something of his would be
// wrong.
Error about_file(const std::filesystem::path& path, const Error& error);

// What `read` makes of such a file.
template <typename Read>
auto read_as_configuration(const std::filesystem::path& path, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    throw about_file(path, error);
  }
}

// "text" as TOML writes a string. Error(usage) if it is no UTF-8: TOML has no other.
std::string toml_string(std::string_view text);

}  // namespace fleetroot
