// Where models are: at a server that the settings name, or on this machine, as children.
#pragma once

#include <memory>
#include <optional>

#include "runtime/config/config.h"
#include "runtime/effects/local_model.h"
#include "runtime/effects/slm_client.h"

namespace soma::runtime {

// Where chat or embeddings go: a local child, kept in `slot`, which the answer refers to; or an
// error that says why nowhere.
Result<SlmClient::Resolve> local_endpoint(const config::Config& config, bool embedding,
                                          std::unique_ptr<LocalModel>& slot);

// The server that slm.openai.* names; nothing: none is named.
std::optional<SlmEndpoint> named_endpoint(const config::Config& config);

// Where chats go: the named server, else the local model.
Result<SlmClient::Resolve> chat_endpoint(const config::Config& config,
                                         std::unique_ptr<LocalModel>& slot);

}  // namespace soma::runtime
