// The model that a what-if really calls: the one that `soma dev` would use on the same settings.
#pragma once

#include <memory>
#include <string>

#include "runtime/config/config.h"
#include "runtime/effects/local_model.h"
#include "runtime/effects/slm_client.h"

namespace soma::cli {

// A server that the settings name, else the local model: a child of this process, with its files in
// a temporary folder, so that a node's own are left alone. Nothing starts before the first call.
// Not thread-safe.
class LiveModel {
 public:
  explicit LiveModel(runtime::config::Config settings) : settings_(std::move(settings)) {}
  ~LiveModel();
  LiveModel(const LiveModel&) = delete;
  LiveModel& operator=(const LiveModel&) = delete;

  // One call, waited for; Ctrl-C ends it (kCancelled). The errors are SlmClient's; kUnavailable:
  // nothing was sent. kNotFound with field "--slm-local": there is no model to call.
  Result<v1::ModelAnswer> ask(const v1::ModelRequest& request);

 private:
  Result<runtime::SlmEndpoint> endpoint();
  Result<runtime::SlmEndpoint> started();

  runtime::config::Config settings_;
  std::string folder_;  // of the local model; empty: none was started
  std::unique_ptr<runtime::LocalModel> local_;
  runtime::SlmClient::Resolve where_;
  std::unique_ptr<runtime::SlmClient> client_;  // ends first: its callbacks use nothing of this
};

}  // namespace soma::cli
