// Data on stdout, all else on stderr.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iostream>

#include "schemas/json/json_text.h"
#include "tools/cli/commands.h"
#include "tools/cli/filter.h"
#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

// What to do next, where the command knows nothing better.
std::string hint_of(const Error& e) {
  switch (e.code) {
    case Code::kInvalidArgument:
    case Code::kMalformed:
      return "see the command's --help";
    case Code::kUnauthenticated:
      return "get a token with `soma auth token`, and pass it as --token or SOMA_TOKEN";
    case Code::kForbidden:
      return "use a token with that capability: `soma auth token --cap …`";
    case Code::kPolicyDenied:
      return "see why with `soma policy explain DECISION`";
    case Code::kNotFound:
      return "see what there is with the `list` command beside this one";
    case Code::kConflict:
      return "look at the present state, then try again with another --idempotency-key";
    case Code::kVersionMismatch:
      return "read it again, then repeat the change";
    case Code::kLocked:
      return "stop that process, or name another --data-dir";
    case Code::kTooLarge:
      return "send less at once";
    case Code::kRateLimited:
    case Code::kOverloaded:
      return e.retry_after_ms > 0
                 ? "try again in " + std::to_string((e.retry_after_ms + 999) / 1000) + " s"
                 : "try again shortly";
    case Code::kBudgetExhausted:
      return "raise the budget with `soma tenant set --budget N`";
    case Code::kModelUnavailable:
      return "see `soma doctor`";
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return "start a node with `soma dev`, or name a running one with --server";
    case Code::kUnknownOutcome:
      return "repeat it with the same --idempotency-key";
    case Code::kParked:
      return "see `soma dlq list`";
    case Code::kStorageFull:
      return "free some disk space";
    case Code::kCorrupt:
      return "keep the folder as it is, and restore from a backup";
    case Code::kNotSupported:
      return "see `soma --help` for what this build can do";
    default:
      return "see the node's log on its stderr";
  }
}

}  // namespace

namespace {
constexpr int kVersionSkew = 6;
}

int exit_code_of(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kMalformed:
      return 2;
    case Code::kNotFound:
      return 3;
    case Code::kUnauthenticated:
      return 4;
    case Code::kForbidden:
    case Code::kPolicyDenied:
    case Code::kConstitutionMissing:
      return 5;
    case Code::kRateLimited:
    case Code::kBudgetExhausted:
    case Code::kOverloaded:
      return 7;
    case Code::kConflict:
    case Code::kVersionMismatch:
    case Code::kLocked:
    case Code::kCancelled:
      return 8;
    case Code::kCorrupt:
      return 9;
    default:
      return 1;
  }
}

bool Context::table() const {
  return output == "table" || output == "wide" || (output.empty() && ::isatty(1) != 0);
}

Look Context::look() const {
  Look look{0, false};
  if (::isatty(1) == 0) return look;
  winsize size{};
  if (::ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) look.width = size.ws_col;
  if (output == "wide") look.width = 0;
  look.colour = environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  return look;
}

void Context::print(const json::value& value) const {
  if (table())
    std::cout << card(value, look());
  else if (output == "yaml")
    std::cout << yaml(value);
  else if (output == "name" && value.is_object() && !value.get_object().empty())
    std::cout << cell(&value.get_object().begin()->value()) << "\n";
  else
    std::cout << json_text(value) << "\n";
  std::cout.flush();
}

void Context::print_list(const json::array& items, const std::vector<std::string>& columns,
                         const std::vector<std::string>& wide) const {
  if (table()) {
    auto shown = columns;
    if (output == "wide") shown.insert(shown.end(), wide.begin(), wide.end());
    std::cout << cli::table(items, shown, look());
  } else if (output == "yaml") {
    if (!items.empty()) std::cout << yaml(items);
  } else {
    for (const auto& item : items) {
      const std::string line =
          output == "name" ? cell(member(item, columns.front())) : json_text(item);
      if (watch_s > 0 && (!here_.insert(line).second || seen_.contains(line))) continue;
      std::cout << line << "\n";
    }
  }
  std::cout.flush();
}

int Context::show(const Result<json::value>& result) const {
  if (!result) return fail(result.error());
  print(*result);
  return 0;
}

int Context::list(const std::string& path, const std::string& items,
                  const std::vector<std::string>& columns, const std::vector<std::string>& wide,
                  const std::function<void(json::value&)>& shape) const {
  constexpr int kPage = 200;
  auto wanted = Filter::parse(filters);
  if (!wanted) return fail(wanted.error());
  json::array out;
  bool cut = false;
  std::string next = cursor;
  do {
    const int left = limit - static_cast<int>(out.size());
    // A filter may leave little of a page, so it asks for whole ones.
    std::string page = path + (path.find('?') == path.npos ? "?" : "&") +
                       "limit=" + std::to_string(filters.empty() ? std::min(left, kPage) : kPage);
    if (!next.empty()) page += "&cursor=" + url_encoded(next);
    auto r = read(page);
    if (!r) return fail(r.error());
    const auto* found = member(*r, items);
    if (!found || !found->is_array())
      return fail({Code::kInternal, "the answer has no list `" + items + "`", {}});
    for (const auto& item : found->get_array())
      if (wanted->matches(item)) {
        cut |= static_cast<int>(out.size()) >= limit;
        if (!cut) out.push_back(item);
      }
    next = text_of(*r, "next_cursor");
  } while (!next.empty() && static_cast<int>(out.size()) < limit);
  if (shape)
    for (auto& item : out) shape(item);
  print_list(out, columns, wide);
  if ((cut || !next.empty()) && watch_s <= 0)
    note(cut || !filters.empty() ? "more: raise --limit" : "more: --cursor " + next);
  return 0;
}

void Context::look_again(bool good) const {
  if (good) {
    seen_.swap(here_);
    failed_.reset();
  }
  here_.clear();
  folder_.reset();
}

bool Context::failed_in_passing() const {
  return failed_ && code_disposition(failed_->code) == Disposition::kRetry;
}

int Context::fail(const Error& error, std::string hint) const {
  const bool told = failed_ && failed_->message == error.message;
  failed_ = error;
  if (watch_s > 0 && told) return exit_code_of(error.code);
  const bool from_call = !problem_.message.empty() && problem_.message == error.message;
  const std::string code = from_call ? problem_.code : std::string(code_name(error.code));
  if (hint.empty()) hint = hint_of(error);
  std::cout.flush();
  if (output == "json" || output == "ndjson") {
    json::object e{{"code", code}, {"message", error.message}, {"hint", hint}};
    e["trace_id"] = from_call && !problem_.trace_id.empty() ? json::value(problem_.trace_id)
                                                            : json::value(nullptr);
    e["http_status"] =
        from_call ? json::value(problem_.http_status) : json::value(code_http_status(error.code));
    if (!error.field.empty()) e["field"] = error.field;
    std::cerr << json_text(json::object{{"error", std::move(e)}}) << std::endl;
  } else {
    const std::string field =
        error.field.empty() || error.message.find(error.field) != std::string::npos
            ? ""
            : " (" + error.field + ")";
    std::cerr << "soma: " << printable(error.message, false) << field << " [" << code << "]\n      "
              << hint << "\n";
    if (from_call && !problem_.trace_id.empty() && problem_.http_status >= 500)
      std::cerr << "      request " << printable(problem_.trace_id, false) << "\n";
  }
  if (from_call && problem_.unknown_route) return kVersionSkew;
  return exit_code_of(error.code);
}

void Context::note(const std::string& text) const { std::cerr << text << std::endl; }

bool Context::confirmed(const std::string& what) const {
  if (yes) return true;
  if (::isatty(0) == 0 || ::isatty(2) == 0) return false;
  std::cerr << what << "? [y/N] " << std::flush;
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "yes" || answer == "Y");
}

}  // namespace soma::cli
