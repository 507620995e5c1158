// The deployment mode that the server runs in now.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "runtime/host/host.h"

namespace soma::runtime::api {

// Thread-safe; owned by the node. The mode is what was recorded by POST /v1/settings/mode, or that
// of the setting when it is stricter, or none was recorded. Until load() has read what was recorded
// it is production: a start never lets in more than the mode will.
class Deployment {
 public:
  // `changed` is called with each mode that comes into force, one at a time; it must not block.
  Deployment(std::string setting, std::function<void(const std::string&)> changed);
  std::string mode() const;
  bool production() const { return production_; }  // exactly that mode
  const std::string& setting() const { return setting_; }
  void follow(const events::ValidFrame& frame);             // for HostParts::observers
  void load(Host& host, std::function<void(Status)> done);  // what was recorded before this start
  // The guardrails of the mode that failed when judge_guardrails() last looked: names with commas
  // between them.
  std::string failing() const;
  void note_failing(std::string names) const;

 private:
  void take(const std::string& recorded, bool newer);

  const std::string setting_;
  const std::function<void(const std::string&)> changed_;
  mutable std::mutex mutex_;
  std::string mode_ = "production";
  std::atomic<bool> production_{true};
  bool followed_ = false;        // a frame has told more than the actor's state when it was read
  mutable std::string failing_;  // what was seen, no part of the mode
};

struct Node;
// Looks which guardrails of the mode in force fail now, under the constitution of all tenants;
// notes them in `node.deployment`, then `done`, which may be null. Nothing is noted when an actor
// cannot be read. A mode may be in force whose guardrails fail, since a setting is not refused.
void judge_guardrails(const Node& node, std::function<void()> done);
// The same, with a line of the log where one fails.
void warn_of_guardrails(const Node& node);

}  // namespace soma::runtime::api
