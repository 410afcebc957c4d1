#include "tool/transport.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "lib/base/process.h"
#include "lib/cmp/message.h"
#include "tool/http_transport.h"

namespace fleetroot::station {
namespace {

constexpr std::string_view kExec = "exec:";

std::vector<std::string> command_of(const std::string& url) {
  std::vector<std::string> words;
  if (url.starts_with(kExec)) words = split_command(std::string_view(url).substr(kExec.size()));
  if (words.empty()) {
    throw Error(ErrorCode::usage, fmt::format("\"{}\" names no CA", url),
                "write it like 'exec:fleetroot-ca respond --home DIR', https://host:port, "
                "est+https://host:port or media:DIR");
  }
  return words;
}

class ExecTransport : public Transport {
 public:
  ExecTransport(const std::vector<std::string>& command, int timeout_seconds)
      : program_(command.front()), timeout_(timeout_seconds), child_(command) {}

  Bytes exchange(BytesView message, const Caller& /*caller*/) override {
    // What a CA that does not listen has to say is worth reading all the same.
    bool taken = write_fully(child_.stdin_fd(), message);
    has_sent_ = has_sent_ || taken;
    std::optional<Bytes> answer =
        cmp::read_message(child_.stdout_fd(), std::chrono::steady_clock::now() + timeout_);
    if (!answer) give_up(taken ? "ended without an answer" : "ended before it took the request");
    if (!taken)
      throw Error(ErrorCode::protocol, "the CA answered before it was asked", "check the CA's command");
    return std::move(*answer);
  }

  bool has_lost_an_answer() const override { return false; }  // each is sent once
  bool has_sent() const override { return has_sent_; }
  void finish() override { child_.close_input(); }

 private:
  [[noreturn]] void give_up(std::string_view why) {
    int status = child_.wait();
    // Its own words are on stderr already; what it ended with says whether another try can help.
    bool needs_repair = status == exit_code(ErrorCode::configuration) ||
                        status == exit_code(ErrorCode::usage) || status == exit_code(ErrorCode::pin_wrong);
    throw Error(ErrorCode::ca_unreachable, fmt::format("the CA ({}) {}", program_, why),
                needs_repair ? "put right what it complains of above; then the same command resumes"
                             : "read what it said above, then run the same command again: it resumes",
                fmt::format("exit code {}", status));
  }

  std::string program_;
  std::chrono::seconds timeout_;
  ChildProcess child_;
  bool has_sent_ = false;
};

}  // namespace

void refuse_unless_transport_url(const std::string& url) {
  if (is_http_ca(url)) {
    parse_http_ca(url);
  } else {
    command_of(url);
  }
}

std::unique_ptr<Transport> open_transport(const std::string& url, int timeout_seconds) {
  if (is_http_ca(url)) return open_http_transport(url, timeout_seconds);
  return std::make_unique<ExecTransport>(command_of(url), timeout_seconds);
}

}  // namespace fleetroot::station
