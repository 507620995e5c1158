// Layout by display width.
#include "tools/term/table.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "schemas/json/json_text.h"
#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastColumn = 8;
constexpr const char *kBold = "\x1b[1m", *kDim = "\x1b[2m", *kReset = "\x1b[0m";

// As people write it: 0.93, not 9.3E-1.
std::string number(double d) {
  char text[40];
  std::snprintf(text, sizeof text, "%.15g", d);
  return text;
}

std::string upper(std::string_view text) {
  std::string out(text.substr(text.rfind('.') == text.npos ? 0 : text.rfind('.') + 1));
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

void pad(std::string& out, std::string_view text, std::size_t width) {
  out += text;
  const std::size_t used = display_width(text);
  if (used < width) out.append(width - used, ' ');
}

// Takes from the widest until the row fits or nothing can give.
void fit(std::vector<std::size_t>& widths, std::size_t room) {
  for (;;) {
    std::size_t all = widths.empty() ? 0 : kGap * (widths.size() - 1);
    for (auto w : widths) all += w;
    if (all <= room) return;
    auto widest = std::max_element(widths.begin(), widths.end());
    if (widest == widths.end() || *widest <= kLeastColumn) return;
    *widest -= std::min(all - room, std::max<std::size_t>(1, (*widest - kLeastColumn) / 4 + 1));
  }
}

void card_lines(const json::object& object, std::size_t indent, const Look& look, std::string& out);

void card_list(const json::array& items, std::size_t indent, const Look& look, std::string& out) {
  for (const auto& item : items) {
    if (item.is_object()) {
      std::string inner;
      card_lines(item.get_object(), indent + 2, look, inner);
      if (inner.size() > indent) inner.replace(indent, 1, "-");
      out += inner;
    } else {
      out += std::string(indent, ' ') + "- " + cell(&item) + "\n";
    }
  }
}

bool is_nested(const json::value& v) {
  return (v.is_object() && !v.get_object().empty()) ||
         (v.is_array() && !v.get_array().empty() &&
          (v.get_array().size() > 8 || !v.get_array().front().is_primitive() ||
           v.get_array().front().is_string()));
}

void card_lines(const json::object& object, std::size_t indent, const Look& look,
                std::string& out) {
  std::size_t width = 0;
  for (const auto& [name, value] : object)
    if (!is_nested(value)) width = std::max(width, display_width(printable(name, false)));
  for (const auto& [name, value] : object) {
    const std::string shown = printable(name, false);
    out.append(indent, ' ');
    if (look.colour) out += kDim;
    if (is_nested(value)) {
      out += shown + ":";
      if (look.colour) out += kReset;
      out += "\n";
      if (value.is_object())
        card_lines(value.get_object(), indent + 2, look, out);
      else
        card_list(value.get_array(), indent + 2, look, out);
      continue;
    }
    pad(out, shown, width + kGap);
    if (look.colour) out += kReset;
    const std::size_t left = indent + width + kGap;
    std::string text = value.is_string() ? printable(value.get_string(), true) : cell(&value);
    if (look.width > left + 20 || text.find('\n') != text.npos) {
      text = wrap(text, look.width ? look.width : SIZE_MAX / 2, std::string(left, ' '));
      text = text.size() > left ? text.substr(left) : "\n";
    } else {
      text += "\n";
    }
    out += text;
  }
}

bool plain_yaml(std::string_view s) {
  if (s.empty() || s.size() > 200) return false;
  const auto first = static_cast<unsigned char>(s[0]);
  if (!std::isalpha(first) && first != '/' && first != '_') return false;
  for (const char* word : {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}) {
    std::string lower(s);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (lower == word) return false;
  }
  return std::all_of(s.begin(), s.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == '@';
  });
}

void yaml_value(const json::value& v, std::size_t indent, bool inline_first, std::string& out) {
  if (v.is_object() && !v.get_object().empty()) {
    bool first = inline_first;
    for (const auto& [name, value] : v.get_object()) {
      if (!first) out.append(indent, ' ');
      first = false;
      out += plain_yaml(name) ? std::string(name) : json_text(json::value(name));
      out += ":";
      const bool nested = (value.is_object() && !value.get_object().empty()) ||
                          (value.is_array() && !value.get_array().empty());
      out += nested ? "\n" : " ";
      if (nested && value.is_object()) out.append(indent + 2, ' ');
      yaml_value(value, value.is_array() ? indent : indent + 2, nested && value.is_object(), out);
    }
  } else if (v.is_array() && !v.get_array().empty()) {
    for (const auto& item : v.get_array()) {
      out.append(indent, ' ');
      out += "- ";
      yaml_value(item, indent + 2, true, out);
    }
  } else {
    // A JSON string is a YAML string.
    out += v.is_string() && plain_yaml(v.get_string()) ? std::string(v.get_string())
           : v.is_double()                             ? number(v.get_double())
                                                       : json_text(v);
    out += "\n";
  }
}

}  // namespace

const json::value* member(const json::value& object, std::string_view path) {
  const json::value* at = &object;
  while (!path.empty()) {
    const auto dot = path.find('.');
    if (!at->is_object()) return nullptr;
    at = at->get_object().if_contains(path.substr(0, dot));
    if (!at) return nullptr;
    path = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  }
  return at;
}

std::string cell(const json::value* v) {
  if (!v || v->is_null() || (v->is_string() && v->get_string().empty())) return "-";
  if (v->is_bool()) return v->get_bool() ? "yes" : "no";
  if (v->is_double()) return number(v->get_double());
  return printable(v->is_string() ? std::string(v->get_string()) : json_text(*v), false);
}

std::string table(const json::array& items, const std::vector<std::string>& columns,
                  const Look& look) {
  std::vector<std::size_t> widths;
  std::vector<std::vector<std::string>> rows;
  for (const auto& c : columns) widths.push_back(upper(c).size());
  for (const auto& item : items) {
    auto& row = rows.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      row.push_back(cell(member(item, columns[i])));
      widths[i] = std::max(widths[i], display_width(row.back()));
    }
  }
  if (look.width > 0) fit(widths, look.width);
  std::string out;
  const auto line = [&](auto&& text_of) {
    std::string text;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::string shown = cut(text_of(i), widths[i]);
      if (i + 1 < columns.size())
        pad(text, shown, widths[i] + kGap);
      else
        text += shown;
    }
    return text;
  };
  const std::string head = line([&](std::size_t i) { return upper(columns[i]); });
  out += look.colour ? kBold + head + kReset : head;
  out += "\n";
  for (const auto& row : rows) out += line([&](std::size_t i) { return row[i]; }) + "\n";
  return out;
}

std::string card(const json::value& object, const Look& look) {
  std::string out;
  if (object.is_object())
    card_lines(object.get_object(), 0, look, out);
  else if (object.is_array())
    card_list(object.get_array(), 0, look, out);
  else
    out = cell(&object) + "\n";
  return out;
}

std::string yaml(const json::value& value) {
  std::string out;
  yaml_value(value, 0, false, out);
  return out;
}

}  // namespace soma::cli
