// Judges folders that a power cut may have left, many in one process: each is verified as
// `soma verify --deep` does, holds every command that was acknowledged before its cut where the
// client was told, none twice, and still does when the log is opened to be written on.
//
// usage: judge_images ACKNOWLEDGED
// ACKNOWLEDGED has a line for each: how long the record was then, command id, position. Of stdin
// each line is a folder and how long the record was at the cut. Fields are separated by tabs.
// Prints a line for each folder: `whole COMMANDS`, `lost COUNT FIRST` or `bad REASON`.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <vector>

#include "events/embedded/embedded_log.h"
#include "schemas/json/json_text.h"
#include "tests/system/client_commands.h"
#include "tools/offline/folder.h"
#include "tools/offline/verify_folder.h"

namespace {

using namespace soma;

struct Acknowledged {
  std::uint64_t at = 0;
  std::string command, position;
};

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, '\t');) out.push_back(field);
  return out;
}

using Commands = std::map<std::string, std::string>;  // of clients: where each stands

Result<Commands> commands_in(const events::Log& log) {
  Commands out;
  std::string twice;
  const auto read =
      test::each_client_command(log, [&](Position at, const ActorKey&, const std::string& id) {
        if (!out.emplace(id, to_string(at)).second) twice = id;
      });
  if (!read) return tl::unexpected(read.error());
  if (!twice.empty()) return fail(Code::kCorrupt, "recorded twice: " + twice);
  return out;
}

Status verified(const std::string& folder) {
  runtime::VerifyOptions options;
  options.decide_again = true;
  const auto report = cli::verify_folder(folder, options);
  if (!report) return tl::unexpected(report.error());
  if (report->at("ok").as_bool()) return {};
  return fail(Code::kCorrupt, json_text(report->at("first_bad")));
}

std::string judge(const std::string& folder, std::uint64_t cut,
                  const std::vector<Acknowledged>& acknowledged) {
  Commands found;
  // A cut in the very first moments leaves no journal, which is none that lost anything.
  if (std::filesystem::exists(folder + "/log/00000000000000000000.seg")) {
    if (auto ok = verified(folder); !ok) return "bad " + ok.error().message;
    const auto reading = cli::offline::open_log(folder);
    auto before = reading ? commands_in(**reading) : tl::unexpected(reading.error());
    if (!before) return "bad " + before.error().message;
    events::EmbeddedOptions options;
    options.folder = folder + "/log";
    const auto writing = events::open_embedded_log(options);
    auto after = writing ? commands_in(**writing) : tl::unexpected(writing.error());
    if (!after) return "bad opened to be written on: " + after.error().message;
    if (*before != *after) return "bad opened to be written on, it holds other commands";
    found = std::move(*after);
  }
  std::size_t lost = 0;
  std::string first;
  for (const auto& a : acknowledged) {
    if (a.at > cut) continue;
    const auto it = found.find(a.command);
    if (it != found.end() && it->second == a.position) continue;
    if (lost++ == 0) first = a.command + ", told to be at " + a.position;
  }
  return lost > 0 ? "lost " + std::to_string(lost) + " " + first
                  : "whole " + std::to_string(found.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::ifstream file(argc == 2 ? argv[1] : "");
  if (!file) return std::cerr << "usage: judge_images ACKNOWLEDGED\n", 2;
  std::vector<Acknowledged> acknowledged;
  for (std::string line; std::getline(file, line);)
    if (const auto f = fields(line); f.size() == 3)
      acknowledged.push_back({std::stoull(f[0]), f[1], f[2]});
    else
      return std::cerr << "judge_images: not three fields: " << line << "\n", 2;
  for (std::string line; std::getline(std::cin, line);) {
    const auto f = fields(line);
    if (f.size() != 2) return std::cerr << "judge_images: not two fields: " << line << "\n", 2;
    std::cout << judge(f[0], std::stoull(f[1]), acknowledged) << std::endl;
  }
  return 0;
}
