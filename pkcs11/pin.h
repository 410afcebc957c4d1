// Where PINs come from, and the one type that holds one. Never from a command line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/files.h"
#include "lib/base/secret.h"

namespace fleetroot::pkcs11 {

// Move-only; wiped when it dies. At most 255 bytes.
class Pin {
 public:
  // Strips exactly one trailing newline. Error(pin_missing) if nothing is left, or a control character.
  static Pin from_secret(Secret secret);
  std::string_view view() const { return secret_.view(); }

 private:
  explicit Pin(Secret secret) : secret_(std::move(secret)) {}
  Secret secret_;
};

struct PinSource {
  // A file descriptor to read the PIN from (--pin-fd), and to close then; it wins over everything else.
  std::optional<int> fd;
  // The URI's pin-source.
  std::optional<std::string> uri_source;
  // What relative file names are relative to.
  std::filesystem::path base = ".";
  // What the prompt on the terminal asks for; empty: never prompt.
  std::string prompt;
  // Whether whoever gives no PIN may be told to use --pin-fd: not every command has it.
  bool takes_fd = false;
};

// Reads the PIN: --pin-fd, then the URI's pin-source (a file, `env:NAME`, which is then removed from the
// environment so that no child inherits it, or `credential:NAME` in $CREDENTIALS_DIRECTORY), then a prompt if
// there is a terminal. Error(pin_missing) if there is none or it cannot be read. A file that everybody may
// change is refused; one that everybody may read is remarked upon on stderr.
Pin read_pin(const PinSource& source);

// Removes the variable that the URI's pin-source names, where it names one: for a process whose child reads
// the PIN, after that child was made.
void forget_pin_variable(const std::string& uri);

// For a token of our own, of which every process of a busy day would spend a try: the file whose PIN was
// wrong, a credential too, is not tried again before it has changed; and however often it changes, the last
// try that a token allows is not spent. A try that was cut off before anybody heard whether the PIN was right
// counts as one of a wrong one. What tells the file from a changed one, and the count, are kept in the home
// until a PIN is right, or somebody removes the note; nothing of the PIN is. Other sources are as if they had
// never been wrong.
class WrongPin {
 public:
  WrongPin(const std::filesystem::path& home, const std::optional<std::string>& uri_source);

  // To be held from refuse_if_unchanged() until it is known whether the PIN is right: who comes meanwhile
  // waits, and hears of it.
  std::optional<FileDescriptor> turn() const;
  // Error(pin_wrong); Error(busy) where the file has changed since it was read.
  void refuse_if_unchanged() const;
  // Then, for a token that locks after `pin_tries` wrong PINs: durable before one is sent, so that whatever
  // ends these processes, the last is not. Error(pin_locked, io).
  void begin_try(unsigned pin_tries);
  // What became of it: it was wrong; the token judged none, and what was noted before holds again; it was
  // right.
  void remember() const;
  void take_back() const;
  void forget() const;

 private:
  std::string note_after(std::size_t tries, char last) const;
  void note(const std::string& text) const;

  std::filesystem::path note_;
  std::filesystem::path lock_;
  std::optional<std::filesystem::path> pin_file_;
  std::string version_;
  // before this try
  std::string noted_;
  std::size_t tries_ = 0;
};

}  // namespace fleetroot::pkcs11
