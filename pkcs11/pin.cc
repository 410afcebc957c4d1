#include "pkcs11/pin.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "lib/base/error.h"
#include "lib/base/files.h"
#include "lib/base/held_signals.h"
#include "pkcs11/uri.h"

namespace fleetroot::pkcs11 {
namespace {

constexpr std::size_t kMaximumPinSize = 255;

[[noreturn]] void refuse(std::string why, std::string hint) {
  throw Error(ErrorCode::pin_missing, std::move(why), std::move(hint));
}

[[noreturn]] void refuse_none(std::string why, const PinSource& source) {
  refuse(std::move(why), fmt::format("add pin-source=file:PATH to the token URI{}",
                                     source.takes_fd ? ", or use --pin-fd" : ""));
}

Secret read_all(int fd, std::string_view from) {
  Secret secret;
  std::size_t size = 0;
  while (size < Secret::kMaximumSize) {
    ssize_t got = read(fd, secret.buffer() + size, Secret::kMaximumSize - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(fmt::format("cannot read the PIN from {}", from), "check where the PIN comes from");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  secret.resize(size);
  return secret;
}

// A child would have it otherwise, and could read it anew. No other file gets a standard file's number.
Secret read_and_close(int fd) {
  Secret secret = read_all(fd, "--pin-fd");
  if (fd > STDERR_FILENO) close(fd);
  return secret;
}

Secret read_pin_file(const std::filesystem::path& path) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    throw system_error(ErrorCode::pin_missing, fmt::format("cannot open the PIN file {}", path.string()),
                       "check the path in pin-source and the file's permissions", errno);
  }
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    refuse(fmt::format("the PIN file {} is not a regular file", path.string()),
           "name a file that holds only the PIN");
  }
  if ((status.st_mode & S_IWOTH) != 0) {
    refuse(fmt::format("the PIN file {} can be changed by everybody", path.string()),
           fmt::format("run: chmod 600 {}", path.string()));
  }
  if ((status.st_mode & S_IROTH) != 0) {
    fmt::print(stderr, "fleetroot: warning: everybody can read the PIN file {0}; run: chmod 600 {0}\n",
               path.string());
  }
  return read_all(fd.get(), path.string());
}

// The variable's text stays in the process's initial stack where /proc shows it, unless it is overwritten
// there.
void remove_from_environment(const std::string& name) {
  if (char* value = std::getenv(name.c_str())) wipe(value, std::strlen(value));
  unsetenv(name.c_str());
}

Secret take_from_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr)
    refuse(fmt::format("the PIN should be in the environment variable {}, which is not set", name),
           "set it to the PIN");
  Secret secret{std::string_view(value)};
  remove_from_environment(name);
  return secret;
}

std::filesystem::path credential_file(const std::string& name) {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr) {
    refuse("there is no credentials directory", "start the service with LoadCredential= of systemd");
  }
  if (name.find('/') != std::string::npos)
    refuse("a credential's name has a slash in it", "give the plain name");
  return std::filesystem::path(directory) / name;
}

// What ends or stops who waits at a prompt: kept back while it lives, and let through when it dies, unless
// HeldSignals around it go on keeping it back.
class SignalsAtPrompt {
 public:
  SignalsAtPrompt() {
    sigemptyset(&held_);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) sigaddset(&held_, signal);
    pthread_sigmask(SIG_BLOCK, &held_, &before_);
    came_ = FileDescriptor(signalfd(-1, &held_, SFD_CLOEXEC));
  }
  SignalsAtPrompt(const SignalsAtPrompt&) = delete;
  SignalsAtPrompt& operator=(const SignalsAtPrompt&) = delete;
  ~SignalsAtPrompt() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  // To poll, not to read: a signal that was read would end nobody.
  int fd() const { return came_.get(); }

 private:
  sigset_t held_{};
  sigset_t before_{};
  FileDescriptor came_;
};

// Echo off while it lives.
class SilentTerminal {
 public:
  explicit SilentTerminal(int fd) : fd_(fd) {
    tcgetattr(fd_, &before_);
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(fd_, TCSAFLUSH, &silent);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;
  ~SilentTerminal() { tcsetattr(fd_, TCSAFLUSH, &before_); }

 private:
  int fd_;
  termios before_{};
};

// A job in the background stops here until it is brought to the front, while any signal still ends it.
void wait_for_foreground(int terminal) {
  termios as_it_is{};
  if (tcgetattr(terminal, &as_it_is) == 0) tcsetattr(terminal, TCSANOW, &as_it_is);
}

// Nothing if a signal came instead of an answer. It strikes as this returns, when the terminal echoes again.
std::optional<Secret> ask_once(int terminal, const std::string& prompt) {
  wait_for_foreground(terminal);
  SignalsAtPrompt signals;
  SilentTerminal silent(terminal);
  dprintf(terminal, "%s: ", prompt.c_str());
  pollfd events[2] = {{terminal, POLLIN, 0}, {signals.fd(), POLLIN, 0}};
  while (poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  std::optional<Secret> secret;
  if (events[1].revents == 0) {
    secret.emplace();
    ssize_t got = read(terminal, secret->buffer(), Secret::kMaximumSize);
    secret->resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  dprintf(terminal, "\n");
  return secret;
}

// The controlling terminal, not stdin: stdin may be a scanner or a pipe.
Secret ask_on_terminal(const PinSource& source) {
  FileDescriptor terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) refuse_none("no PIN was given, and there is no terminal to ask on", source);
  for (;;) {
    if (std::optional<Secret> secret = ask_once(terminal.get(), source.prompt)) return *std::move(secret);
    if (HeldSignals::has_one_come()) {
      refuse("the question for the PIN was broken off", "run the same command again and type the PIN");
    }
    // Whom the signal has not ended, as Ctrl-Z and fg do not, is asked again.
  }
}

// Of a source that is a file, as a credential is, and no variable.
std::optional<std::filesystem::path> file_of(const std::string& source, const std::filesystem::path& base) {
  if (source.starts_with("env:")) return std::nullopt;
  if (source.starts_with("credential:")) return credential_file(source.substr(11));
  std::string path = source.starts_with("file:") ? source.substr(5) : source;
  if (path.starts_with("//")) path.erase(0, 2);  // file:///absolute
  return base / path;
}

Secret read_source(const std::string& source, const std::filesystem::path& base) {
  if (source.starts_with("env:")) return take_from_environment(source.substr(4));
  return read_pin_file(*file_of(source, base));
}

// Another one whenever somebody has written the file, touched it, or put another in its place; the same by
// whatever path it is reached.
std::string version_of(const std::filesystem::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return {};
  return fmt::format("{}:{} {}.{:09} {}.{:09}\n", status.st_dev, status.st_ino, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

}  // namespace

Pin Pin::from_secret(Secret secret) {
  std::string_view text = secret.view();
  if (text.ends_with('\n')) secret.resize(text.size() - 1);
  if (secret.empty()) refuse("the PIN is empty", "check where the PIN comes from");
  text = secret.view();
  if (std::ranges::any_of(text, [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    refuse("the PIN has a control character in it, as a line end of Windows is",
           "write the PIN alone, with one newline behind it or none");
  }
  if (text.starts_with("\xef\xbb\xbf")) {
    refuse("the PIN begins with a byte order mark, as editors of Windows write it",
           "write the PIN alone, with one newline behind it or none");
  }
  if (secret.size() > kMaximumPinSize) {
    refuse(fmt::format("the PIN has more than {} bytes", kMaximumPinSize),
           "check that the PIN source holds only the PIN");
  }
  return Pin(std::move(secret));
}

Pin read_pin(const PinSource& source) {
  if (source.fd) return Pin::from_secret(read_and_close(*source.fd));
  if (source.uri_source) return Pin::from_secret(read_source(*source.uri_source, source.base));
  if (source.prompt.empty()) refuse_none("no PIN was given", source);
  return Pin::from_secret(ask_on_terminal(source));
}

void forget_pin_variable(const std::string& uri) {
  std::optional<std::string> source = Uri::parse(uri).pin_source;
  if (source && source->starts_with("env:")) remove_from_environment(source->substr(4));
}

WrongPin::WrongPin(const std::filesystem::path& home, const std::optional<std::string>& uri_source)
    : note_(home / "wrong-pin"), lock_(home / "login.lock") {
  if (uri_source) pin_file_ = file_of(*uri_source, home);
  if (pin_file_) version_ = version_of(*pin_file_);
}

std::optional<FileDescriptor> WrongPin::turn() const {
  if (!pin_file_) return std::nullopt;
  return lock_file(lock_);
}

// The version, then a mark for each try that may have been spent since the last right PIN, on whatever
// version. Where this version was wrong, the last mark says so.
std::string WrongPin::note_after(std::size_t tries, char last) const {
  return version_ + std::string(tries - 1, '?') + last;
}

void WrongPin::refuse_if_unchanged() const {
  if (!pin_file_) return;
  if (version_of(*pin_file_) != version_) {
    throw Error(ErrorCode::busy, fmt::format("the PIN in {} was changed just now", pin_file_->string()),
                "run the same command again");
  }
  std::string noted = read_file_if_present(note_).value_or("");
  if (!noted.starts_with(version_) || noted.ends_with('?')) return;
  throw Error(
      ErrorCode::pin_wrong,
      fmt::format("the PIN in {} was wrong, and the file has not changed since", pin_file_->string()),
      "correct the PIN in it; where the token's own PIN was corrected, touch the file; a credential is "
      "another one once its service was started again");
}

void WrongPin::begin_try(unsigned pin_tries) {
  if (!pin_file_) return;
  noted_ = read_file_if_present(note_).value_or("");
  tries_ = noted_.size() - (noted_.find('\n') + 1);
  if (tries_ + 1 >= pin_tries) {
    throw Error(
        ErrorCode::pin_locked,
        fmt::format("the PIN in {} was wrong {} times (a login that was cut off counts), and the token's "
                    "last try is never spent here",
                    pin_file_->string(), tries_),
        fmt::format("log in once with the right PIN by the token vendor's tool, correct the PIN source, "
                    "then remove {}",
                    note_.string()));
  }
  write_file(note_, note_after(tries_ + 1, '?'), 0600);
}

void WrongPin::note(const std::string& text) const {
  if (!pin_file_) return;
  try {
    write_file(note_, text, 0600);
  } catch (const Error&) {
    // Why the token let nobody in is what has to be heard. The try that was begun stays noted.
  }
}

void WrongPin::remember() const {
  note(note_after(tries_ + 1, '!'));
}

void WrongPin::take_back() const {
  if (noted_.empty()) return forget();
  note(noted_);
}

void WrongPin::forget() const {
  std::error_code ignored;
  if (pin_file_) std::filesystem::remove(note_, ignored);
}

}  // namespace fleetroot::pkcs11
