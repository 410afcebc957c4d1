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
  explicit SignerLink(std::filesystem::path socket) : socket_(std::move(socket)) {}

  // The signer's answer; throws the Error that it refused with. Asks again where the signer was replaced in
  // the middle. Error(busy) if no answer comes before the deadline.
  Bytes ask(const Inquiry& inquiry, std::chrono::steady_clock::time_point deadline);

 private:
  FileDescriptor take();
  void give_back(FileDescriptor connection);

  const std::filesystem::path socket_;
  std::mutex mutex_;
  std::vector<FileDescriptor> idle_;
};

}  // namespace fleetroot::ca
