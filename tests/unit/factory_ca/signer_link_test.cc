// Front and signer, over a real socket.
#include "factory-ca/signer_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <latch>
#include <thread>

#include "lib/base/frame.h"
#include "lib/base/process.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"

namespace fleetroot::ca {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{20};

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

// A signer that gives back what it is asked, unless `answering` does something else.
class SignerLinkTest : public testing::Test {
 protected:
  SignerLinkTest() {
    signer_ = std::thread([this] {
      answer_front(listener_.get(), lifeline_.first.get(), ledger_,
                   [this](const Inquiry& inquiry) { return answer(inquiry); });
      has_ended_ = true;
    });
  }
  void TearDown() override { end(); }

  Task<Bytes> answer(const Inquiry& inquiry) {
    answering(inquiry);
    co_await ledger_.change([&] { ++changes_; });
    co_return inquiry.message;
  }
  Bytes ask(SignerLink& link, std::string_view text) {
    return link.ask({.question = Question::answer, .message = bytes_of(text)},
                    steady_clock::now() + kPatience);
  }
  // What somebody says who does not speak as SignerLink does; what comes back.
  FileDescriptor say(BytesView bytes) {
    FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_.string().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(write_fully(fd.get(), bytes));
    return fd;
  }
  void end() {
    lifeline_.second = FileDescriptor();
    if (signer_.joinable()) signer_.join();
  }

  std::function<void(const Inquiry&)> answering = [](const Inquiry&) {};
  ScratchDirectory directory_;
  std::filesystem::path socket_ = directory_ / "signer.sock";
  Ledger ledger_{directory_ / "ledger.db"};
  FileDescriptor listener_ = listen_for_front(socket_);
  std::pair<FileDescriptor, FileDescriptor> lifeline_ = make_pipe();
  int changes_ = 0;  // under the ledger's lock
  std::atomic<bool> has_ended_ = false;
  std::thread signer_;
};

TEST_F(SignerLinkTest, EverybodyGetsHisOwnAnswer) {
  constexpr int kThreads = 40;
  constexpr int kTimes = 20;
  SignerLink link(socket_);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTimes; ++i) {
        std::string text = std::to_string(t) + "-" + std::to_string(i);
        if (ask(link, text) == bytes_of(text)) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, kThreads * kTimes);
  EXPECT_EQ(changes_, kThreads * kTimes);
}

TEST_F(SignerLinkTest, ARefusalComesAsWhatItWas) {
  SignerLink link(socket_);
  answering = [](const Inquiry&) { throw Error(ErrorCode::order_full, "the order is full", "wait"); };
  EXPECT_EQ(code_of([&] { ask(link, "a"); }), ErrorCode::order_full);
  answering = [](const Inquiry&) { throw std::out_of_range("below zero"); };
  EXPECT_EQ(code_of([&] { ask(link, "b"); }), ErrorCode::internal);
  answering = [](const Inquiry&) {};
  EXPECT_EQ(ask(link, "c"), bytes_of("c")) << "it answers on";
}

TEST_F(SignerLinkTest, NonsenseHurtsNobodyElse) {
  SignerLink link(socket_);
  const std::uint8_t unknown_question[] = {99, 0, 0, 0, 0};
  FileDescriptor refused = say(unknown_question);
  std::optional<Frame> answer = read_frame(refused.get(), steady_clock::now() + kPatience);
  ASSERT_TRUE(answer);
  EXPECT_THAT(std::string(as_text(answer->body)), testing::HasSubstr("do not understand each other"));
  const std::uint8_t too_long[] = {1, 0xff, 0xff, 0xff, 0xff, 1, 2, 3};
  FileDescriptor dropped = say(too_long);
  EXPECT_FALSE(read_frame(dropped.get(), steady_clock::now() + kPatience));
  FileDescriptor gone_in_the_middle = say(BytesView(unknown_question).subspan(0, 3));
  gone_in_the_middle = FileDescriptor();
  EXPECT_EQ(ask(link, "a"), bytes_of("a"));
}

// As one whose token is slow, and then one whose module hangs.
TEST_F(SignerLinkTest, TellsOfASignerThatAnswersNobodyAndOfNoneThatAnswersOthers) {
  constexpr std::chrono::seconds kSilence{2};
  std::latch begun{1}, told{1}, goes_on{1};
  std::atomic<int> times_told = 0;
  auto tell = [&] {
    if (++times_told == 1) told.count_down();
  };
  SignerLink link(socket_, tell, kSilence);
  answering = [&](const Inquiry& inquiry) {
    if (inquiry.message != bytes_of("slow")) return;
    begun.count_down();
    goes_on.wait();
  };
  std::thread patient([&] { EXPECT_EQ(ask(link, "slow"), bytes_of("slow")); });
  begun.wait();
  for (auto end = steady_clock::now() + 2 * kSilence; steady_clock::now() < end;) ask(link, "quick");
  EXPECT_EQ(times_told, 0);

  told.wait();

  goes_on.count_down();
  patient.join();
}

TEST_F(SignerLinkTest, WhatWasAcceptedIsFinishedBeforeItEnds) {
  std::latch begun(1);
  std::latch may_end(1);
  answering = [&](const Inquiry&) {
    begun.count_down();
    may_end.wait();
  };
  auto link = std::make_unique<SignerLink>(socket_);
  Bytes answer;
  std::thread asking([&] { answer = ask(*link, "late"); });
  begun.wait();
  lifeline_.second = FileDescriptor();
  may_end.count_down();
  asking.join();
  EXPECT_EQ(answer, bytes_of("late"));
  EXPECT_EQ(ask(*link, "one more"), bytes_of("one more")) << "the front still has a connection";
  link.reset();
  end();
  EXPECT_TRUE(has_ended_);
}

}  // namespace
}  // namespace fleetroot::ca
