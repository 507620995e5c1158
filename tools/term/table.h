// Tables, cards and YAML from JSON values.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace soma::cli {

struct Look {
  std::size_t width = 80;  // of the terminal, in cells; 0: no limit (wide, or not a terminal)
  bool colour = false;     // ANSI allowed
};

// The member at a dotted path ("actor.id"); nullptr when absent.
const boost::json::value* member(const boost::json::value& object, std::string_view path);
// One cell's text: strings plain, null and absent "-", the rest as JSON; safe to show.
std::string cell(const boost::json::value* value);

// One row an item under these members. With a width, the widest columns are cut until the row fits;
// columns that would be all empty stay, so that scripts of screenshots do not shift.
std::string table(const boost::json::array& items, const std::vector<std::string>& columns,
                  const Look& look);
// One object as aligned "member  value" lines; members that are objects or lists below, indented.
std::string card(const boost::json::value& object, const Look& look);
// YAML 1.2 of a value; an array at the top is a list of documents' items.
std::string yaml(const boost::json::value& value);

}  // namespace soma::cli
