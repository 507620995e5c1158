// The checkpoint as JSON.
#include "tools/offline/replay_checkpoint.h"

#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"

namespace soma::cli {

namespace json = boost::json;
using runtime::Divergence;
using runtime::ReplayedPartition;

namespace {

constexpr int kFormat = 2;

json::object to_json(const ReplayedPartition& p) {
  json::array divergences;
  for (const auto& [key, d] : p.divergences)
    divergences.push_back({{"actor", {key.tenant, key.type, key.id, key.affinity}},
                           {"at", to_string(d.at)},
                           {"sequence", d.sequence},
                           {"what", d.what},
                           {"commands", d.commands}});
  return {{"next", p.next.value},   {"head", hex(p.head)},
          {"frames", p.frames},     {"events", p.events},
          {"commands", p.commands}, {"erased", p.erased},
          {"parked", p.parked},     {"divergences", std::move(divergences)}};
}

std::string unhex(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return out;
}

// Throws where the file is not what write_checkpoint() made.
ReplayedPartition from_json(const json::value& v) {
  const auto number = [](const json::value& of, const char* name) {
    return of.at(name).to_number<std::uint64_t>();
  };
  ReplayedPartition out;
  out.next = Offset{number(v, "next")};
  out.head = unhex(v.at("head").as_string());
  out.frames = number(v, "frames");
  out.events = number(v, "events");
  out.commands = number(v, "commands");
  out.erased = number(v, "erased");
  out.parked = number(v, "parked");
  for (const auto& d : v.at("divergences").as_array()) {
    const auto part = [&](std::size_t i) {
      return std::string(d.at("actor").as_array().at(i).as_string());
    };
    const auto at = parse_position(std::string(d.at("at").as_string()));
    if (!at) throw std::invalid_argument("a position");
    out.divergences[{part(0), part(1), part(2), part(3)}] = Divergence{
        *at, number(d, "sequence"), std::string(d.at("what").as_string()), number(d, "commands")};
  }
  return out;
}

}  // namespace

std::string build_digest(const actors::Catalog& catalog) {
  std::string all;
  for (const auto* type : catalog.all()) all += std::string(type->name()) + type->schema_hash();
  return hex(sha256(all));
}

Status write_checkpoint(const std::string& file, const ReplayIdentity& identity,
                        const std::vector<ReplayedPartition>& so_far) {
  json::array partitions;
  for (const auto& p : so_far) partitions.push_back(to_json(p));
  const json::object all{{"format", kFormat},
                         {"build", identity.build},
                         {"scope", identity.scope},
                         {"partitions", std::move(partitions)}};
  const std::string next = file + ".new";
  std::ofstream out(next, std::ios::binary | std::ios::trunc);
  out << json_text(all) << "\n";
  out.close();
  if (!out || std::rename(next.c_str(), file.c_str()) != 0)
    return fail(Code::kIo, "cannot write the checkpoint " + file, "--checkpoint");
  return {};
}

Result<std::vector<ReplayedPartition>> read_checkpoint(const std::string& file,
                                                       const ReplayIdentity& identity) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::kNotFound, "there is no checkpoint " + file, "--resume");
  try {
    const auto v = read_json(std::string((std::istreambuf_iterator<char>(in)), {})).value();
    if (v.at("format").to_number<int>() != kFormat) throw std::invalid_argument("format");
    if (v.at("build").as_string() != identity.build)
      return fail(Code::kConflict, "the checkpoint was made by another build", "--resume");
    if (v.at("scope").as_string() != identity.scope)
      return fail(Code::kConflict, "the checkpoint is of another --from, --to, --actor or --tenant",
                  "--resume");
    std::vector<ReplayedPartition> out;
    for (const auto& p : v.at("partitions").as_array()) out.push_back(from_json(p));
    return out;
  } catch (const std::exception&) {
    return fail(Code::kInvalidArgument, file + " is not a checkpoint of `soma replay`", "--resume");
  }
}

}  // namespace soma::cli
