// A first start where partitions move: told to try again, it does.
#include "runtime/node/first_constitution.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <set>

#include "tests/unit/api/read_host.h"

namespace soma::runtime {

namespace {

// Without a constitution, and with answers that a test gives one behind the other.
struct MovingHost final : api::ReadHost {
  std::deque<Error> reads, submits;  // then it goes well
  int asked = 0;
  std::set<std::string> command_ids;

  MovingHost() { states["constitution"] = {std::make_shared<v1::ConstitutionState>(), 0}; }

  void read(ActorKey actor, OnState done) override {
    ++asked;
    if (auto error = next(reads)) return done(tl::unexpected(*error));
    ReadHost::read(std::move(actor), std::move(done));
  }
  void submit(Submission s, OnAccepted done) override {
    command_ids.insert(s.command_id);
    if (auto error = next(submits)) return done(tl::unexpected(*error));
    done(Accepted{});
  }

 private:
  static std::optional<Error> next(std::deque<Error>& told) {
    if (told.empty()) return {};
    const Error error = told.front();
    told.pop_front();
    return error;
  }
};

const Error kAway{Code::kUnavailable, "no node serves this part of the data just now", {}};
const Error kUnknown{Code::kUnknownOutcome, "whether it was recorded is not known", {}};

struct FirstConstitution : testing::Test {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("soma-first-" + std::to_string(::getpid()));
  MovingHost host;
  bool stopping = false;
  FirstConstitution() { std::filesystem::create_directories(folder / "keys"); }
  ~FirstConstitution() override { std::filesystem::remove_all(folder); }
  Status load() {
    return load_first_constitution(host, folder.string(), [this] { return stopping; });
  }
};

TEST_F(FirstConstitution, IsTriedAgainWithTheSameId) {
  host.reads = {kAway};
  host.submits = {kUnknown, kAway};
  const auto loaded = load();
  EXPECT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(host.asked, 4);
  EXPECT_EQ(host.command_ids.size(), 1u);
}

TEST_F(FirstConstitution, IsNotTriedAgainWhereThatWouldNotHelp) {
  host.submits = {{Code::kForbidden, "no", {}}};
  EXPECT_EQ(load().error().code, Code::kForbidden);
  EXPECT_EQ(host.asked, 1);
}

TEST_F(FirstConstitution, AStopIsNotKeptWaiting) {
  stopping = true;
  host.reads = {kAway};
  EXPECT_EQ(load().error().code, Code::kCancelled);
  EXPECT_EQ(host.asked, 1);
}

}  // namespace

}  // namespace soma::runtime
