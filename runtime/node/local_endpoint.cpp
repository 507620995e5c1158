// Settings to an address, or to a child process.
#include "runtime/node/local_endpoint.h"

#include <filesystem>

#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace fs = std::filesystem;

namespace {
constexpr const char* kChatModel = "smollm2-135m-instruct-q4_1.gguf";
constexpr const char* kEmbeddingModel = "all-minilm-l6-v2-f16.gguf";
}  // namespace

Result<SlmClient::Resolve> local_endpoint(const config::Config& c, bool embedding,
                                          std::unique_ptr<LocalModel>& slot) {
  const std::string& setting = embedding ? c.slm_embedding : c.slm_local;
  if (setting == "off")
    return SlmClient::Resolve([] {
      return Result<SlmEndpoint>(
          fail(Code::kModelUnavailable, "no model is configured for this", kNoModel));
    });
  LocalModelOptions o;
  const fs::path cache = model_cache_folder();
  o.server = (cache / "bin" / "llama-server").string();
  o.model = setting == "auto"
                ? (cache / "models" / (embedding ? kEmbeddingModel : kChatModel)).string()
                : setting;
  o.name = fs::path(o.model).stem().string();
  o.embedding = embedding;
  o.log_file =
      (fs::path(c.data_dir) / "run" / (embedding ? "embedding.log" : "model.log")).string();
  auto model = LocalModel::start(std::move(o));
  if (!model) {
    log_warn("no local model", {{"reason", model.error().message}});
    return SlmClient::Resolve([e = model.error()] {
      return Result<SlmEndpoint>(fail(Code::kModelUnavailable, e.message));
    });
  }
  slot = std::move(*model);
  return SlmClient::Resolve([&slot] { return slot->endpoint(); });
}

std::optional<SlmEndpoint> named_endpoint(const config::Config& c) {
  if (c.slm_openai_base_url.empty()) return {};
  SlmEndpoint e;
  e.base_url = c.slm_openai_base_url;
  e.api_key = c.slm_openai_api_key;
  e.model = c.slm_openai_model.empty() ? "default" : c.slm_openai_model;
  return e;
}

Result<SlmClient::Resolve> chat_endpoint(const config::Config& c,
                                         std::unique_ptr<LocalModel>& slot) {
  if (const auto named = named_endpoint(c))
    return SlmClient::Resolve([named] { return Result<SlmEndpoint>(*named); });
  return local_endpoint(c, false, slot);
}

}  // namespace soma::runtime
