// What front and signer say to each other over the Unix socket in the home (docs/threat-model.md): the front
// asks, the signer answers, and everything that arrives at the CA goes through here.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "factory-ca/ledger.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/files.h"
#include "lib/base/names.h"
#include "lib/base/task.h"

namespace fleetroot::ca {

// What the front wants to know.
enum class Question : std::uint8_t {
  // The answer to a PKIMessage.
  answer = 1,
  // Whose certificate this is: the name of an enrolled station.
  station = 2,
  // A certificate for the front itself, for its PKCS#10; DER.
  front = 3
};

struct Inquiry {
  Question question;
  std::optional<OrderId> order{};
  Bytes message{};
  // The key identifier of the station that has proven its key in TLS; empty where none has.
  Bytes peer{};
};

// The signer's side. The task throws Error to refuse.
using Answer = std::function<Task<Bytes>(const Inquiry&)>;

// Binds the socket in the home, for this user alone. Replaces one that a killed process has left: the caller
// holds the home's serve.lock.
FileDescriptor listen_for_front(const std::filesystem::path& socket);

// Answers on every connection until `lifeline` ends; then until the connections end. On as many threads as
// there are cores; each of them takes up what has come in meanwhile together, and the ledger makes it durable
// together.
void answer_front(int listener, int lifeline, Ledger& ledger, const Answer& answer);

// The front's side. Any thread.
class SignerLink {
 public:
  // One that works on much answers somebody now and then. No single answer takes so long.
  static constexpr std::chrono::seconds kSilence{30};

  // `when_silent` is called where somebody has waited for `silence` and nobody was answered meanwhile; again
  // after as long. It must not ask.
  explicit SignerLink(std::filesystem::path socket, std::function<void()> when_silent = {},
                      std::chrono::seconds silence = kSilence)
      : socket_(std::move(socket)), when_silent_(std::move(when_silent)), silence_(silence) {}

  // The signer's answer; throws the Error that it refused with. Asks again where the signer was replaced in
  // the middle. Error(busy) if no answer comes before the deadline.
  Bytes ask(const Inquiry& inquiry, std::chrono::steady_clock::time_point deadline);

 private:
  FileDescriptor take();
  void give_back(FileDescriptor connection);
  void wait_for_answer(int fd, std::chrono::steady_clock::time_point deadline);
  std::chrono::steady_clock::time_point end_of_patience(std::chrono::steady_clock::time_point asked);

  const std::filesystem::path socket_;
  const std::function<void()> when_silent_;
  const std::chrono::seconds silence_;
  std::mutex mutex_;
  std::vector<FileDescriptor> idle_;
  // When it answered, or its silence was told of.
  std::chrono::steady_clock::time_point last_sign_{};
};

}  // namespace fleetroot::ca
