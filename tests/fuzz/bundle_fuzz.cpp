// Fuzzes audit bundles: any text through the verifier, or a script of edits of a true bundle, which
// is found as soon as it says anything else.
#include <boost/json.hpp>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tests/fuzz/check.h"
#include "tools/auditor/check.h"

using namespace soma;
using soma::fuzz::check;

namespace {

using Lines = std::vector<std::string>;

const Lines& truth() {
  static const Lines lines = [] {
    std::ifstream in(SOMA_AUDIT_VECTORS "/demo.audit", std::ios::binary);
    Lines out;
    for (std::string line; std::getline(in, line);) out.push_back(line);
    check(!out.empty());
    return out;
  }();
  return lines;
}

const std::string& trusted() {
  static const std::string key = [] {
    std::ifstream in(SOMA_AUDIT_VECTORS "/cases.json");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return std::string(boost::json::parse(text).at("key").as_string());
  }();
  return key;
}

auditor::Report judge(const std::string& text, const std::vector<std::string>& keys) {
  std::istringstream in(text);
  return auditor::check_stream(in, keys);
}

std::string joined(const Lines& lines) {
  std::string out;
  for (const auto& line : lines) out += line + "\n";
  return out;
}

// Four bytes an edit: what, line, where in it (two).
void edit(Lines& lines, const std::uint8_t* e) {
  if (lines.empty()) return;
  const std::size_t at = e[1] % lines.size();
  std::string& line = lines[at];
  const std::size_t place = line.empty() ? 0 : (std::size_t{e[2]} << 8 | e[3]) % line.size();
  switch (e[0] % 6) {
    case 0:
      if (!line.empty()) line[place] = static_cast<char>(line[place] ^ (1 << (e[0] / 6) % 8));
      return;
    case 1:
      line.insert(place, 1, static_cast<char>(e[0]));
      return;
    case 2:
      if (!line.empty()) line.erase(place, 1 + e[0] % 16);
      return;
    case 3:
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    case 4:
      std::swap(line, lines[(at + 1 + e[3]) % lines.size()]);
      return;
    case 5:
      lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), lines[e[3] % lines.size()]);
      return;
  }
}

bool says_the_same(const Lines& lines) {
  if (lines.size() != truth().size()) return false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    boost::system::error_code error;
    const auto v = boost::json::parse(lines[i], error);
    if (error || v != boost::json::parse(truth()[i])) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  if (data[0] % 4 == 0) {
    const auto report = judge({reinterpret_cast<const char*>(data + 1), size - 1}, {trusted()});
    check(!report.ok() && !report.bad->reason.empty());  // nothing that is short is signed
    return 0;
  }
  Lines lines = truth();
  for (std::size_t at = 1; at + 4 <= size && at < 33; at += 4) edit(lines, data + at);
  const auto report = judge(joined(lines), {trusted()});
  if (lines == truth()) return check(report.ok()), 0;
  if (report.ok()) check(says_the_same(lines));
  return 0;
}
