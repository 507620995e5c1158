// Parsing and matching of --filter.
#include "tools/cli/filter.h"

#include "tools/term/table.h"

namespace soma::cli {

Result<Filter> Filter::parse(const std::vector<std::string>& texts) {
  Filter out;
  for (const auto& text : texts) {
    const auto at = text.find_first_of("=~");
    const bool negated = at != text.npos && at > 0 && text[at] == '=' && text[at - 1] == '!';
    const std::string field = text.substr(0, negated ? at - 1 : at);
    if (at == text.npos || field.empty())
      return fail(Code::kInvalidArgument,
                  "--filter takes FIELD=VALUE, FIELD!=VALUE or FIELD~PART, not `" + text + "`",
                  "--filter");
    out.conditions_.push_back({field, text.substr(at + 1), negated ? '!' : text[at]});
  }
  return out;
}

bool Filter::matches(const boost::json::value& item) const {
  for (const auto& c : conditions_) {
    const auto* value = member(item, c.field);
    std::string text = cell(value);
    if (value && value->is_bool()) text = value->get_bool() ? "true" : "false";
    if (!value || value->is_null()) text.clear();
    const bool holds = c.kind == '~'   ? text.find(c.value) != text.npos
                       : c.kind == '=' ? text == c.value
                                       : text != c.value;
    if (!holds) return false;
  }
  return true;
}

}  // namespace soma::cli
