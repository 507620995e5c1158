// What a terminal is sent when a picture is redrawn in place.
#include "tools/term/screen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace soma::cli {
namespace {

// Lines of a terminal of `rows` lines after these bytes; knows what redrawn() uses.
std::vector<std::string> shown(std::vector<std::string> screen, const std::string& bytes) {
  std::size_t row = 0, column = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto is = [&](const char* code) { return bytes.compare(i, strlen(code), code) == 0; };
    if (is("\x1b[H")) {
      row = column = 0;
      i += 2;
    } else if (is("\x1b[2J")) {
      for (auto& line : screen) line.clear();
      i += 3;
    } else if (is("\x1b[K")) {
      screen[row].resize(std::min(column, screen[row].size()));
      i += 2;
    } else if (is("\x1b[J")) {
      screen[row].resize(std::min(column, screen[row].size()));
      for (std::size_t r = row + 1; r < screen.size(); ++r) screen[r].clear();
      i += 2;
    } else if (is("\x1b[?25l") || is("\x1b[?25h")) {
      i += 5;
    } else if (bytes[i] == '\r') {
      column = 0;
    } else if (bytes[i] == '\n') {
      ++row;
      EXPECT_LT(row, screen.size()) << "it scrolls";
    } else {
      screen[row].resize(std::max(screen[row].size(), column + 1), ' ');
      screen[row][column++] = bytes[i];
    }
  }
  return screen;
}

using Lines = std::vector<std::string>;

TEST(Screen, ANewPictureReplacesTheOldOne) {
  Lines screen(5, "old text");
  screen = shown(screen, redrawn("one\nlonger line\nthree\n", 5, true));
  EXPECT_EQ(screen, (Lines{"one", "longer line", "three", "", ""}));
  screen = shown(screen, redrawn("1\nshort\n", 5, false));
  EXPECT_EQ(screen, (Lines{"1", "short", "", "", ""}));
}

TEST(Screen, NothingIsClearedBeforeItIsOverwritten) {
  EXPECT_EQ(redrawn("a\n", 10, false).find("\x1b[2J"), std::string::npos);
}

TEST(Screen, WhatDoesNotFitIsTold) {
  const auto screen = shown(Lines(4), redrawn("1\n2\n3\n4\n5\n", 4, true));
  EXPECT_EQ(screen[0], "1");
  EXPECT_EQ(screen[1], "2");
  EXPECT_NE(screen[2].find("3 more lines"), std::string::npos);
  EXPECT_EQ(screen[3], "");
}

}  // namespace
}  // namespace soma::cli
