// What --watch prints again, what it waits out, and what it need not remember.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tools/cli/commands.h"

namespace soma::cli {
namespace {

namespace json = boost::json;

class Watch : public ::testing::Test {
 protected:
  void SetUp() override {
    c_.watch_s = 1;
    c_.output = "json";
  }
  // The lines of one look.
  std::string look(std::initializer_list<int> items, bool good = true) {
    json::array list;
    for (int n : items) list.emplace_back(json::object{{"n", n}});
    ::testing::internal::CaptureStdout();
    c_.print_list(list, {"n"});
    c_.look_again(good);
    return ::testing::internal::GetCapturedStdout();
  }
  std::string failing(Code code, const std::string& message) {
    ::testing::internal::CaptureStderr();
    EXPECT_NE(c_.fail({code, message, {}}), 0);
    return ::testing::internal::GetCapturedStderr();
  }

  Context c_;
};

TEST_F(Watch, PrintsALineOnceWhileItIsThere) {
  EXPECT_EQ(look({1, 2}), "{\"n\":1}\n{\"n\":2}\n");
  EXPECT_EQ(look({1, 2, 3}), "{\"n\":3}\n");
  EXPECT_EQ(look({1, 2, 3}), "");
}

// So that what it remembers is never more than one look's lines.
TEST_F(Watch, ForgetsALineThatIsGone) {
  look({1, 2});
  EXPECT_EQ(look({2}), "");
  EXPECT_EQ(look({1, 2}), "{\"n\":1}\n");
}

TEST_F(Watch, AFailedLookForgetsNothing) {
  look({1, 2});
  EXPECT_EQ(look({}, false), "");
  EXPECT_EQ(look({1, 2, 3}), "{\"n\":3}\n");
}

TEST_F(Watch, TellsAFailureOnceUntilAGoodLook) {
  look({1});
  EXPECT_NE(failing(Code::kUnavailable, "the node is away"), "");
  c_.look_again(false);
  EXPECT_EQ(failing(Code::kUnavailable, "the node is away"), "");
  c_.look_again(false);
  EXPECT_NE(failing(Code::kUnavailable, "the node starts"), "");
  look({1});
  EXPECT_NE(failing(Code::kUnavailable, "the node starts"), "");
}

TEST_F(Watch, OnlyWhatMayPassIsWaitedOut) {
  EXPECT_FALSE(c_.failed_in_passing());
  for (const auto& [code, passing] :
       {std::pair{Code::kUnavailable, true}, std::pair{Code::kOverloaded, true},
        std::pair{Code::kDeadlineExceeded, true}, std::pair{Code::kUnauthenticated, false},
        std::pair{Code::kNotFound, false}, std::pair{Code::kCorrupt, false}}) {
    failing(code, std::string(code_name(code)));
    EXPECT_EQ(c_.failed_in_passing(), passing) << code_name(code);
  }
}

}  // namespace
}  // namespace soma::cli
