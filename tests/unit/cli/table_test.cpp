// Tables, cards, YAML.
#include "tools/term/table.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "tools/term/text.h"

namespace soma::cli {
namespace {

namespace json = boost::json;

const json::array kItems =
    json::parse(
        R"([{"id":"a","n":1,"ok":true,"in":{"x":"y"}},{"id":"long-name","n":22,"ok":null}])")
        .as_array();

TEST(Table, AlignsColumnsAndNamesThem) {
  EXPECT_EQ(table(kItems, {"id", "n", "ok", "in.x"}, {}),
            "ID         N   OK   X\n"
            "a          1   yes  y\n"
            "long-name  22  -    -\n");
}

TEST(Table, FitsTheTerminal) {
  const std::string wide(100, 'w');
  const json::array items{json::object{{"a", wide}, {"b", "short"}}};
  const std::string text = table(items, {"a", "b"}, {40, false});
  for (std::size_t from = 0; from < text.size();) {
    const auto end = text.find('\n', from);
    EXPECT_LE(display_width(text.substr(from, end - from)), 40u);
    from = end + 1;
  }
  EXPECT_NE(text.find("short"), text.npos);
  EXPECT_NE(table(items, {"a", "b"}, {0, false}).find(wide), text.npos);  // wide: nothing is cut
}

TEST(Table, ColoursOnlyWhenAllowed) {
  EXPECT_EQ(table(kItems, {"id"}, {80, false}).find('\x1b'), std::string::npos);
  EXPECT_NE(table(kItems, {"id"}, {80, true}).find('\x1b'), std::string::npos);
}

TEST(Table, StoredTextCannotDriveTheTerminal) {
  const json::array items{json::object{{"a", "\x1b]0;owned\x07"}}};
  const std::string text = table(items, {"a"}, {80, false});
  EXPECT_EQ(text.find('\x1b'), text.npos);
  EXPECT_EQ(text.find('\x07'), text.npos);
}

TEST(Card, ShowsMembersAndWhatIsInside) {
  const auto v =
      json::parse(R"({"id":"a","state":{"turns":[{"n":1},{"n":2}],"empty":[]},"long_name":2})");
  EXPECT_EQ(card(v, {}),
            "id         a\n"
            "state:\n"
            "  turns:\n"
            "    - n  1\n"
            "    - n  2\n"
            "  empty  []\n"
            "long_name  2\n");
}

TEST(Yaml, QuotesWhatWouldReadAsSomethingElse) {
  EXPECT_EQ(
      yaml(json::parse(R"({"a":"yes","b":"1","c":"x: y","d":"plain","e":null,"f":1.5,"g":""})")),
      "a: \"yes\"\nb: \"1\"\nc: \"x: y\"\nd: plain\ne: null\nf: 1.5\ng: \"\"\n");
}

TEST(Yaml, NestsObjectsAndLists) {
  EXPECT_EQ(yaml(json::parse(R"({"a":{"b":[1,{"c":2,"d":[3]}]},"e":[],"f":{}})")),
            "a:\n"
            "  b:\n"
            "  - 1\n"
            "  - c: 2\n"
            "    d:\n"
            "    - 3\n"
            "e: []\n"
            "f: {}\n");
  EXPECT_EQ(yaml(json::parse(R"([{"a":1,"b":2}])")), "- a: 1\n  b: 2\n");
}

}  // namespace
}  // namespace soma::cli
