#include "lib/base/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <sstream>

#define TOML_ENABLE_FORMATTERS 0
// It asserts in front of a few of its own checks, which refuse the same in words: a stray "[" would abort.
#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>

#include "lib/base/error.h"
#include "lib/base/files.h"

namespace fleetroot {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

// "token" for "token.uri"
std::string_view table_of(std::string_view key) {
  std::size_t dot = key.rfind('.');
  return key.substr(0, dot == std::string_view::npos ? 0 : dot);
}

// A key of another table means something else, however much it looks like this one; and one that has less
// than half of the other's letters is no slip of it.
std::optional<std::string> nearest_in_table(const std::set<std::string>& known, const std::string& key) {
  std::size_t table = table_of(key).size();
  std::optional<std::string> nearest;
  for (const std::string& other : known) {
    if (table_of(other) != table_of(key)) continue;
    std::size_t distance = edit_distance(other, key);
    if (distance > (std::max(other.size(), key.size()) - table + 1) / 2) continue;
    if (!nearest || distance < edit_distance(*nearest, key)) nearest = other;
  }
  return nearest;
}

// A table with nothing in it, by its name and a dot.
void collect_keys(const toml::table& table, const std::string& prefix, std::vector<std::string>& keys) {
  for (const auto& [key, value] : table) {
    // A dot or bracket inside of a key would look like the step into a table that it is not, so such a key is
    // quoted.
    bool is_plain = key.str().find_first_of(".[") == std::string_view::npos;
    std::string path = prefix + (is_plain ? std::string(key.str()) : fmt::format("\"{}\"", key.str()));
    if (const toml::table* inner = value.as_table()) {
      if (inner->empty()) keys.push_back(path + ".");
      collect_keys(*inner, path + ".", keys);
      continue;
    }
    keys.push_back(path);
    if (!value.is_array_of_tables()) continue;
    for (std::size_t i = 0; i < value.as_array()->size(); ++i)
      collect_keys(*value.as_array()->get(i)->as_table(), fmt::format("{}[{}].", path, i), keys);
  }
}

}  // namespace

struct ConfigFile::Document {
  std::string name;
  toml::table table;
  std::set<std::string> known;
};

ConfigFile::ConfigFile(std::unique_ptr<Document> document) : document_(std::move(document)) {}
ConfigFile::ConfigFile(ConfigFile&&) noexcept = default;
ConfigFile& ConfigFile::operator=(ConfigFile&&) noexcept = default;
ConfigFile::~ConfigFile() = default;

namespace {

// init makes this file last.
const char* hint_without_file_in(const std::filesystem::path& home) {
  std::error_code absent;
  bool has_something =
      std::filesystem::is_directory(home, absent) && !std::filesystem::is_empty(home, absent);
  if (!has_something || absent) return "check --home, or run init first";
  return "check --home; if an init was broken off there, remove the directory and run init again";
}

std::string text_of(const std::filesystem::path& path) {
  std::optional<std::string> text;
  try {
    text = read_file_if_present(path);
  } catch (const Error& error) {
    throw Error(ErrorCode::configuration, error.message(), error.hint(), error.cause());
  }
  if (!text) {
    throw Error(ErrorCode::configuration, fmt::format("there is no {}", path.string()),
                hint_without_file_in(path.parent_path()));
  }
  return *std::move(text);
}

}  // namespace

ConfigFile ConfigFile::read(const std::filesystem::path& path) {
  return parse(text_of(path), path.string());
}

void ConfigFile::refuse_unless_there(const std::filesystem::path& path) {
  (void)text_of(path);
}

ConfigFile ConfigFile::parse(std::string_view text, std::string name) {
  try {
    return ConfigFile(std::make_unique<Document>(Document{name, toml::parse(text, name), {}}));
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::configuration,
                fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()),
                "correct the file; it is TOML");
  }
}

namespace {

template <typename T>
std::optional<T> typed_value(const toml::node_view<toml::node>& node, const ConfigFile& file,
                             std::string_view key, std::string_view type) {
  if (!node) return std::nullopt;
  std::optional<T> value = node.value_exact<T>();
  if (!value) file.refuse(key, fmt::format("must be {}", type), "correct the value");
  return value;
}

}  // namespace

std::optional<std::string> ConfigFile::string(std::string_view key) {
  document_->known.emplace(key);
  return typed_value<std::string>(document_->table.at_path(key), *this, key, "a string");
}

std::optional<std::int64_t> ConfigFile::integer(std::string_view key) {
  document_->known.emplace(key);
  return typed_value<std::int64_t>(document_->table.at_path(key), *this, key, "a whole number");
}

std::optional<bool> ConfigFile::boolean(std::string_view key) {
  document_->known.emplace(key);
  return typed_value<bool>(document_->table.at_path(key), *this, key, "true or false");
}

std::optional<std::vector<std::string>> ConfigFile::strings(std::string_view key) {
  document_->known.emplace(key);
  auto node = document_->table.at_path(key);
  if (!node) return std::nullopt;
  const toml::array* array = node.as_array();
  if (array == nullptr) refuse(key, "must be a list of strings", "write it as [\"…\", \"…\"]");
  std::vector<std::string> values;
  for (const toml::node& element : *array) {
    std::optional<std::string> value = element.value_exact<std::string>();
    if (!value) refuse(key, "must be a list of strings", "write it as [\"…\", \"…\"]");
    values.push_back(*value);
  }
  return values;
}

std::size_t ConfigFile::tables(std::string_view key) {
  document_->known.emplace(key);
  auto node = document_->table.at_path(key);
  if (!node) return 0;
  if (!node.is_array_of_tables())
    refuse(key, "must be tables", fmt::format("write [[{}]] above each of them", key));
  return node.as_array()->size();
}

std::vector<std::string> ConfigFile::tables_in(std::string_view key) const {
  std::vector<std::string> names;
  const toml::table* table = document_->table.at_path(key).as_table();
  if (table == nullptr) return names;
  for (const auto& [name, value] : *table) {
    if (value.is_table()) names.emplace_back(name.str());
  }
  return names;
}

std::string ConfigFile::required_string(std::string_view key) {
  std::optional<std::string> value = string(key);
  if (!value) refuse(key, "is missing", "add it to the file");
  return *value;
}

void ConfigFile::refuse_unknown_keys() const {
  std::vector<std::string> keys;
  collect_keys(document_->table, "", keys);
  for (const std::string& key : keys) {
    if (document_->known.contains(key)) continue;
    if (key.ends_with('.')) {
      auto inside = document_->known.lower_bound(key);
      if (inside != document_->known.end() && inside->starts_with(key)) continue;
      refuse(key.substr(0, key.size() - 1), "is not a known table", "correct its name, or remove it");
    }
    std::optional<std::string> nearest = nearest_in_table(document_->known, key);
    refuse(key, "is not a known key",
           nearest ? fmt::format("did you mean {}?", *nearest) : "correct its name, or remove it");
  }
}

void ConfigFile::refuse(std::string_view key, std::string_view why, std::string_view hint) const {
  throw Error(ErrorCode::configuration, fmt::format("{}: {} {}", document_->name, key, why),
              std::string(hint));
}

Error about_file(const std::filesystem::path& path, const Error& error) {
  return {ErrorCode::configuration, fmt::format("{} cannot be used: {}", path.string(), error.message()),
          error.hint(), error.cause()};
}

std::string toml_string(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04X}", c);
    } else {
      quoted += c;
    }
  }
  quoted += '"';
  try {
    (void)toml::parse("text = " + quoted);
  } catch (const toml::parse_error&) {
    throw Error(ErrorCode::usage, fmt::format("\"{}\" is no text in UTF-8", text), "write it in UTF-8");
  }
  return quoted;
}

}  // namespace fleetroot
