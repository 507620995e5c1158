// An erasure of one node that is tried again goes on where it was.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "runtime/erasure/erasures.h"
#include "runtime/privacy/vault.h"
#include "tests/support/hand_clock.h"
#include "tests/unit/erasure/fake_views.h"
#include "tests/unit/erasure/taking_host.h"

namespace soma::runtime::erasure {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

class RetriedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("soma-retried-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "data");
    events::EmbeddedOptions o;
    o.folder = (folder_ / "log").string();
    o.partition_count = 1;
    log_ = std::move(events::open_embedded_log(o).value());
    key_ = security::generate_ed25519().value();
    keys_ = std::move(
        privacy::Vault::open((folder_ / "data").string(), std::string(64, 'a'), false).value());
  }
  void TearDown() override {
    erasures_.reset();
    fs::remove_all(folder_);
  }

  // Each step fails the first time.
  Work slow_work() {
    const auto first = [](int& times) -> Status {
      if (++times > 1) return {};
      return fail(Code::kDeadlineExceeded, "slow");
    };
    return {[this]() -> Result<Epochs> {
              ++drops_;
              gone_before_ = *keys_->find(old_) == nullptr;
              return Epochs{};
            },
            [this, first](const Epochs&, const Stopping&) { return first(state_waits_); },
            [this] { ++memories_; },
            [this, first](const Stopping&) { return first(memory_waits_); }, &views_};
  }
  void open() {
    Parts parts;
    parts.log = log_.get();
    parts.sealer = std::make_shared<privacy::SubjectSealer>(*catalog_, keys_);
    parts.host = &host_;
    parts.data_dir = (folder_ / "data").string();
    parts.clock = &clock_;
    parts.key = [this] {
      if (++asked_to_sign_ > 1) return Result<security::Key>(key_);
      return Result<security::Key>(fail(Code::kIo, "no disk"));
    };
    erasures_ = std::make_unique<Erasures>(std::move(parts), slow_work());
  }
  // The certificate; empty when it takes too long.
  json::object done() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      if (views_.waits > 0) views_.made = 1;
      const auto all = erasures_->of("acme");
      if (all && !all->empty() && text(all->front(), "status") == "done") return all->front();
      ::poll(nullptr, 0, 10);
    }
    return {};
  }

  fs::path folder_;
  HandClock clock_;
  TakingHost host_;
  std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
  std::unique_ptr<events::Log> log_;
  std::shared_ptr<privacy::Vault> keys_;
  security::Key key_;
  FakeViews views_;
  std::string old_;
  bool gone_before_ = false;
  int drops_ = 0, state_waits_ = 0, memories_ = 0, memory_waits_ = 0;
  int asked_to_sign_ = 0;
  std::unique_ptr<Erasures> erasures_;
};

// Else what takes longer than a wait would never be done.
TEST_F(RetriedTest, WhatWasDroppedIsDroppedOnce) {
  old_ = keys_->of("acme", "ana").value()->id;
  open();
  v1::Principal by;
  by.set_tenant("acme");
  by.set_subject("root");
  ASSERT_TRUE(erasures_->begin(by, "ana", ""));
  const auto certificate = done();
  ASSERT_FALSE(certificate.empty());
  EXPECT_EQ(texts(certificate, "key_ids"), std::vector<std::string>{old_});
  EXPECT_TRUE(gone_before_);
  EXPECT_EQ(asked_to_sign_, 2);
  EXPECT_EQ(drops_, 1);
  EXPECT_EQ(memories_, 1);
  EXPECT_EQ(views_.begun, 1);
  EXPECT_GT(state_waits_, 1);
  EXPECT_GT(memory_waits_, 1);
  EXPECT_GT(views_.waits, 1);
}

}  // namespace
}  // namespace soma::runtime::erasure
