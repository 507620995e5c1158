// A supervised llama-server child: started, watched, restarted with back-off.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/effects/slm_client.h"

namespace soma::runtime {

struct LocalModelOptions {
  std::string server;  // path of llama-server
  std::string model;   // path of a GGUF file
  bool embedding = false;
  std::string log_file;  // the child's output; beside it lies the key file while it runs
  int threads = 2;
  std::string name;  // as recorded: "smollm2-135m-instruct"
};

// Owns one thread and at most one child; the child dies with this process. Thread-safe.
class LocalModel {
 public:
  static constexpr std::size_t kSlots =
      4;  // answers generated at once; the client lets no more through

  // kNotFound when server or model file is missing; otherwise returns at once, the child starts
  // meanwhile.
  static Result<std::unique_ptr<LocalModel>> start(LocalModelOptions options);
  virtual ~LocalModel() = default;
  // kModelUnavailable while the child is not ready; with retry_after_ms, for it is being started.
  virtual Result<SlmEndpoint> endpoint() const = 0;
  virtual int pid() const = 0;  // 0: not running
};

// Where tools/setup puts server and models: SOMA_CACHE_DIR, else XDG_CACHE_HOME/somastack, else
// ~/.cache/somastack.
std::string model_cache_folder();

}  // namespace soma::runtime
