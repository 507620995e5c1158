// One call at a time, waited for.
#include "tools/offline/live_model.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>
#include <utility>

#include "runtime/node/local_endpoint.h"
#include "tools/cli/interrupt.h"

namespace soma::cli {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {
constexpr auto kLocalStart = 90s;  // of the local model; a loaded machine takes its time
constexpr auto kPoll = 50ms;

tl::unexpected<Error> ctrl_c() {
  return soma::fail(Code::kCancelled, "ended by Ctrl-C; nothing was written");
}
}  // namespace

LiveModel::~LiveModel() {
  client_.reset();
  local_.reset();
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Result<runtime::SlmEndpoint> LiveModel::started() {
  if (where_) return where_();
  if (!runtime::named_endpoint(settings_)) {
    std::string name = (fs::temp_directory_path() / "soma-what-if-XXXXXX").string();
    if (!::mkdtemp(name.data())) return soma::fail(Code::kIo, "cannot make a folder " + name);
    folder_ = settings_.data_dir = name;
    fs::create_directory(fs::path(folder_) / "run");
  }
  auto where = runtime::chat_endpoint(settings_, local_);
  if (!where) return tl::unexpected(where.error());
  where_ = std::move(*where);
  return where_();
}

Result<runtime::SlmEndpoint> LiveModel::endpoint() {
  const auto until = std::chrono::steady_clock::now() + kLocalStart;
  for (;;) {
    auto e = started();
    if (e) return e;
    if (e.error().retry_after_ms == 0 || std::chrono::steady_clock::now() >= until) {
      return soma::fail(Code::kNotFound, "there is no model to call: " + e.error().message,
                        "--slm-local");
    }
    if (interrupted()) return ctrl_c();
    std::this_thread::sleep_for(kPoll);
  }
}

Result<v1::ModelAnswer> LiveModel::ask(const v1::ModelRequest& request) {
  hear_interrupts();
  auto e = endpoint();
  if (!e) return tl::unexpected(e.error());
  if (!client_) client_ = runtime::SlmClient::create();
  auto done = std::make_shared<std::promise<Result<v1::ModelAnswer>>>();
  auto answer = done->get_future();
  client_->chat(
      *e, request, {}, [](std::uint32_t, const std::string&) {},
      [done](Result<v1::ModelAnswer> a) { done->set_value(std::move(a)); });
  bool cancelled = false;
  while (answer.wait_for(kPoll) != std::future_status::ready)
    if (interrupted() && !std::exchange(cancelled, true)) client_->cancel(request.call_id());
  return cancelled ? Result<v1::ModelAnswer>(ctrl_c()) : answer.get();
}

}  // namespace soma::cli
