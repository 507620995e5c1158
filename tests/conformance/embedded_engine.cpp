// The embedded log under the conformance suite: a folder of its own, small segments.
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "events/embedded/embedded_log.h"
#include "tests/conformance/engine.h"

namespace soma::events::conformance {

namespace {

class EmbeddedEngine final : public Engine {
 public:
  explicit EmbeddedEngine(std::uint32_t partitions) {
    std::string name =
        (std::filesystem::temp_directory_path() / "soma-conformance-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    options_.folder = name;
    options_.partition_count = partitions;
    options_.segment_bytes = 4 << 20;
    reopen();
  }
  ~EmbeddedEngine() override {
    log_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(options_.folder, ignored);
  }
  Log& log() override { return *log_; }
  void until(const std::function<bool()>& done) override {
    while (!done()) std::this_thread::yield();
  }
  void reopen() override {
    log_.reset();
    auto log = open_embedded_log(options_);
    if (!log) std::abort();
    log_ = std::move(*log);
  }

 private:
  EmbeddedOptions options_;
  std::unique_ptr<Log> log_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(std::uint32_t partitions) {
  return std::make_unique<EmbeddedEngine>(partitions);
}

}  // namespace soma::events::conformance
