// The models of this machine: children of the node.
#pragma once

#include <memory>

#include "runtime/config/config.h"
#include "runtime/effects/local_model.h"
#include "runtime/effects/slm_client.h"

namespace soma::runtime {

// Where chat or embeddings go: a local child, kept in `slot`, which the answer refers to; or an
// error that says why nowhere.
Result<SlmClient::Resolve> local_endpoint(const config::Config& config, bool embedding,
                                          std::unique_ptr<LocalModel>& slot);

}  // namespace soma::runtime
