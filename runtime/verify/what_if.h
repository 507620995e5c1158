// A session's recorded commands decided again under other rules, until the courses part.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/actor_type.h"
#include "soma/v1/frame.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime {

// What is otherwise, read once. Everything empty: nothing is.
class Otherwise {
 public:
  // How errors tell of one of them: "stricter.json" of the flag "--constitution".
  struct Source {
    std::string name, field;
  };
  // Each fails with kInvalidArgument, which names the source.
  Status set_policy(Source source, std::string_view text);  // PolicyInput's fields, or Cedar rules
  Status set_policy(Source source, boost::json::object fields);
  Status set_settings(Source source, boost::json::object fields);  // of TenantSettings
  // A bundle, a document, or its rules.
  Status set_constitution(Source source, boost::json::object document);
  void set_model(std::string model) { model_ = std::move(model); }
  bool nothing() const;

  // Puts it in place of what a command was recorded with. kInvalidArgument: there is no such field.
  Status apply(v1::SessionCommand& command) const;

 private:
  template <typename C>
  Status put(C& command) const;
  // What is in force, without the input that is judged. No action: rules about all of them.
  template <typename C>
  Status under(C& terms, const std::string& action) const;

  Source policy_source_, settings_source_, constitution_source_;
  boost::json::object policy_, settings_, rules_;
  std::string model_;
  bool constitution_ = false;
  std::optional<std::string> cedar_;  // policy rules in place of the recorded ones
};

// All that the journal holds of one session, in order.
struct SessionRecord {
  ActorKey key;
  std::vector<v1::Entry> entries;
  // kConflict: some of it was erased, so that it cannot be decided again.
  Status whole() const;
};

// Where the courses part, or the record ends.
struct WhatIf {
  bool diverges = false;
  std::size_t at = 0;                                    // of entries: the one at which they part
  std::string command;                                   // its case
  std::uint64_t sequence = 0;                            // of the last recorded event up to there
  std::uint64_t reused = 0;                              // commands that gave what they gave
  boost::json::array then, now;                          // event types that it gave, and gives
  std::unique_ptr<actors::Message> recorded, simulated;  // the states there
  std::vector<actors::OutSend> sends;                    // simulated, of that command
};

// Recorded results (budget, memories, answers) are taken as long as the session asks the outside
// for exactly the same. Calls nothing, writes nothing. Errors: those of apply() and whole().
Result<WhatIf> decide_otherwise(const actors::ActorType& type, const SessionRecord& record,
                                const Otherwise& otherwise);

}  // namespace soma::runtime
