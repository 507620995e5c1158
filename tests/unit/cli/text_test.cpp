// Width, cutting and safety of text for terminals.
#include "tools/term/text.h"

#include <gtest/gtest.h>

namespace soma::cli {
namespace {

TEST(Text, WidthCountsCellsNotBytes) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("é"), 1u);
  EXPECT_EQ(display_width("e\u0301"), 1u);  // combining acute
  EXPECT_EQ(display_width("日本"), 4u);
  EXPECT_EQ(display_width("🙂"), 2u);
}

TEST(Text, CutsAtCellsAndSaysSo) {
  EXPECT_EQ(cut("abcdef", 6), "abcdef");
  EXPECT_EQ(cut("abcdef", 4), "abc…");
  EXPECT_EQ(cut("日本語", 4), "日…");  // a wide character is not halved
  EXPECT_EQ(cut("abc", 0), "");
}

TEST(Text, ForeignTextCannotDriveTheTerminal) {
  EXPECT_EQ(printable("\x1b[31mred", false), "␛[31mred");
  EXPECT_EQ(printable("a\rb", false), "a␍b");
  EXPECT_EQ(printable("a\nb\tc", false), "a b c");
  EXPECT_EQ(printable("a\nb\tc", true), "a\nb\tc");
  EXPECT_EQ(printable("\x7f", false), "␡");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m",
                      false),
            "\xEF\xBF\xBD"
            "31m");  // C1 control sequence introducer
  EXPECT_EQ(printable("\u202Egpj.exe", false), "\xEF\xBF\xBDgpj.exe");
  EXPECT_EQ(printable("\xff\xc3(", false), "\xEF\xBF\xBD\xEF\xBF\xBD(");
  EXPECT_EQ(printable("\xed\xa0\x80", false),
            "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
}

TEST(Text, WrapsAtBlanks) {
  EXPECT_EQ(wrap("one two three", 8, ""), "one two three\n");  // at least 20 cells
  EXPECT_EQ(wrap("aaaaaaaaaa bbbbbbbbbb cccc", 22, "  "), "  aaaaaaaaaa\n  bbbbbbbbbb cccc\n");
  EXPECT_EQ(wrap("a\nb", 80, ""), "a\nb\n");
}

}  // namespace
}  // namespace soma::cli
