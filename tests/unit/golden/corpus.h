// Recorded histories of an actor type: their file, and what becomes of them in this build.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "schemas/base/errors.h"

namespace soma::golden {

struct Sample {
  std::string type;  // "counter.added"
  std::uint32_t schema = 1;
  std::string payload;  // the actor type's Event message
  std::string digest;   // hex SHA-256 of the state once it is folded in
};

struct History {
  std::string origin;  // "given", "shaped"
  std::vector<Sample> events;
};

using Corpus = std::vector<History>;

// An empty corpus where there is no file. kCorrupt with the line otherwise.
Result<Corpus> load(const std::filesystem::path& file);
void save(const std::filesystem::path& file, const std::string& actor, const Corpus& corpus);

// Upcast and decoded as by the host. kCorrupt: it does not parse, something of it is not known to
// this build, it would be written in other bytes, or its type is called otherwise now.
Result<std::unique_ptr<actors::Message>> decode(const actors::ActorType& type,
                                                const Sample& sample);

// The digests of the states behind each event, from an empty state on; as decode.
Result<std::vector<std::string>> fold(const actors::ActorType& type, const History& history);

// The case that is set, by its field number in the Event message.
int case_of(const actors::Message& event);

}  // namespace soma::golden
