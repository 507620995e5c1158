// soma-verify: an audit bundle or a proof, checked without trusting who made it.
#include <boost/json/serialize.hpp>
#include <ctime>
#include <fstream>
#include <iostream>

#include "tools/auditor/check.h"

namespace {

constexpr int kUsage = 2, kIntegrity = 9;

int usage() {
  std::cerr << "usage: soma-verify FILE|- --key KEY [--key KEY …] [--head FILE …] [--json]\n"
               "KEY: the signer's thumbprint, or a file with its public key (JWK, JWKS or PEM),\n"
               "obtained from the operator another way than with the file.\n"
               "--head: a head that you were given earlier; its records must still be there.\n"
               "exit: 0 verified, 9 not, 2 wrong usage, 1 the file cannot be read\n";
  return kUsage;
}

std::string time_of(std::uint64_t ms) {
  const auto s = static_cast<std::time_t>(ms / 1000);
  char out[32] = "";
  std::tm tm{};
  if (::gmtime_r(&s, &tm)) std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &tm);
  return out;
}

void print(const soma::auditor::Report& r) {
  if (r.bad) {
    std::cout << "NOT VERIFIED  " << r.bad->detail << " [" << r.bad->reason << "]\n";
    if (r.bad->line) std::cout << "line          " << r.bad->line << "\n";
    if (r.bad->partition)
      std::cout << "first bad     partition " << *r.bad->partition << ", record " << *r.bad->index
                << "\n";
    return;
  }
  std::cout << "verified      " << r.kind << " of tenant " << r.tenant << "\n"
            << "key           " << r.key_id << ", as you named it\n"
            << "head          signed " << time_of(r.head_time_ms) << " over " << r.partitions
            << " partitions\n";
  if (r.kind == "proof") {
    std::cout << "event         " << r.event_id << " is among the records of that head\n";
    return;
  }
  std::cout << "records       " << r.records << ": unchanged, in order, none missing\n"
            << "older heads   " << r.older_heads << ": each the root of a prefix of the records\n"
            << "bytes         as signed at the end\n"
            << "not checked   what was recorded after that head\n";
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  std::vector<std::string> trusted, kept;
  bool as_json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json") {
      as_json = true;
    } else if (word == "--head" && i + 1 < argc) {
      kept.push_back(soma::auditor::kept_head(argv[++i]));
      if (kept.back().empty()) {
        std::cerr << "soma-verify: " << argv[i] << " holds no head\n";
        return kUsage;
      }
    } else if (word == "--key" && i + 1 < argc) {
      const auto ids = soma::auditor::trusted_ids(argv[++i]);
      if (ids.empty()) {
        std::cerr << "soma-verify: " << argv[i] << " is no thumbprint and no file with a key\n";
        return kUsage;
      }
      trusted.insert(trusted.end(), ids.begin(), ids.end());
    } else if (file.empty() && (word == "-" || !word.starts_with("-"))) {
      file = word;
    } else {
      return usage();
    }
  }
  if (file.empty() || trusted.empty()) return usage();
  std::ifstream opened;
  if (file != "-") {
    opened.open(file, std::ios::binary);
    if (!opened) {
      std::cerr << "soma-verify: cannot read " << file << "\n";
      return 1;
    }
  }
  std::ios::sync_with_stdio(false);
  const auto report = soma::auditor::check_stream(file == "-" ? std::cin : opened, trusted, kept);
  if (as_json)
    std::cout << boost::json::serialize(soma::auditor::to_json(report)) << "\n";
  else
    print(report);
  std::cout.flush();
  if (!std::cout) return 1;
  return report.ok() ? 0 : kIntegrity;
}
