// Each check gives one row: what, ok | warning | problem, what was found, what to do.
#include "tools/cli/doctor.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "events/embedded/embedded_log.h"
#include "runtime/config/config.h"
#include "runtime/effects/local_model.h"
#include "runtime/http/tls.h"
#include "schemas/base/times.h"
#include "tools/cli/discovery.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kLeastFreeBytes = 1ULL << 30;
constexpr std::int64_t kDayS = 86400, kRenewDays = 14;

class Doctor {
 public:
  Doctor(const Context& c, bool fix) : c_(c), fix_(fix), folder_(c.folder()) {}

  int run() {
    settings();
    machine();
    models();
    postgres();
    folder();
    node();
    c_.print_list(rows_, {"check", "state", "found", "to_do"});
    if (problems_ == 0) return 0;
    return c_.fail({Code::kUnavailable,
                    std::to_string(problems_) + (problems_ == 1 ? " check" : " checks") + " failed",
                    {}},
                   "see the rows above, column to_do");
  }

 private:
  void row(const char* check, const char* state, std::string found, std::string to_do = {}) {
    problems_ += std::string_view(state) == "problem";
    rows_.push_back({{"check", check},
                     {"state", state},
                     {"found", std::move(found)},
                     {"to_do", to_do.empty() ? json::value(nullptr) : json::value(to_do)}});
  }
  // Mends, says what it would do, or says how.
  void mend(const char* check, const std::string& found, const std::string& action,
            const std::function<bool()>& act) {
    if (!fix_) return row(check, "problem", found, action + ": `soma doctor --fix`");
    if (c_.dry_run) return row(check, "problem", found, "would " + action);
    if (act()) return row(check, "fixed", found, {});
    row(check, "problem", found, "could not " + action);
  }

  void settings() {
    auto loaded = runtime::config::load_config({{"--data-dir", folder_}});
    if (!loaded) return row("settings", "problem", loaded.error().message, "mend that setting");
    mode_ = loaded->mode;
    slm_remote_ = loaded->slm_openai_base_url;
    postgres_url_ = loaded->postgres_url;
    row("settings", "ok", "mode " + mode_);
    certificate("http.tls.cert_file", loaded->http_tls_cert_file);
    certificate("cluster.tls.cert_file", loaded->cluster_tls_cert_file);
  }

  void certificate(const std::string& setting, const std::string& file) {
    if (file.empty()) return;
    const std::string check = "certificate: " + setting;
    const auto end = runtime::http::certificate_end(file);
    if (!end) return row(check.c_str(), "problem", end.error().message, "name a PEM file");
    const std::int64_t days = (*end - std::time(nullptr)) / kDayS;
    const std::string found = file + " ends " + iso_time(*end * 1000);
    if (*end <= std::time(nullptr))
      row(check.c_str(), "problem", found, "replace it: clients refuse the node");
    else if (days < kRenewDays)
      row(check.c_str(), "warning", found, "replace it within " + std::to_string(days) + " days");
    else
      row(check.c_str(), "ok", found);
  }

  void machine() {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
      row("processor", "problem", "no AVX2 or FMA: the local model cannot run",
          "give a model server with --slm-openai-base-url");
    else
      row("processor", "ok", "AVX2, FMA");
#endif
    std::error_code error;
    fs::path at = fs::absolute(folder_);
    while (!fs::exists(at, error) && at.has_parent_path() && at != at.parent_path())
      at = at.parent_path();
    const auto space = fs::space(at, error);
    const std::string free = std::to_string(space.available >> 20) + " MiB free";
    if (error)
      row("disk", "problem", "cannot see " + at.string() + ": " + error.message(),
          "check the path");
    else if (space.available < kLeastFreeBytes)
      row("disk", "warning", free, "free some space: at 0 the node refuses writes");
    else
      row("disk", "ok", free);
  }

  void models() {
    if (!slm_remote_.empty()) return row("model", "ok", "remote: " + slm_remote_);
    const fs::path cache = runtime::model_cache_folder();
    for (const auto& [name, path] :
         {std::pair{"model server", cache / "bin" / "llama-server"},
          std::pair{"chat model", cache / "models" / "smollm2-135m-instruct-q4_1.gguf"},
          std::pair{"embedding model", cache / "models" / "all-minilm-l6-v2-f16.gguf"}}) {
      std::error_code error;
      if (fs::exists(path, error))
        row(name, "ok", path.string());
      else
        row(name, "problem", path.string() + " is missing",
            "run tools/setup, or give --slm-openai-base-url");
    }
  }

  void postgres() {
    if (!postgres_url_.empty()) return row("postgresql", "ok", "yours: from the settings");
    for (const char* path :
         {"/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/16/bin/initdb",
          "/usr/lib/postgresql/17/bin/initdb"})
      if (::access(path, X_OK) == 0) return row("postgresql", "ok", path);
    row("postgresql", "problem", "no initdb under /usr/lib/postgresql",
        "run tools/setup, or give --postgres");
  }

  void folder() {
    std::error_code error;
    if (!fs::exists(folder_, error))
      return row("data folder", "ok", folder_ + " is not there yet; `soma dev` makes it");
    if (::access(folder_.c_str(), W_OK | X_OK) != 0)
      return row("data folder", "problem", folder_ + " is not writable",
                 "run as its owner, or name another with --data-dir");
    row("data folder", "ok", fs::absolute(folder_, error).lexically_normal().string());
    keys();
    leftovers();
    journal();
  }

  void keys() {
    std::error_code error;
    bool all_private = true;
    for (const auto& e : fs::recursive_directory_iterator(folder_ + "/keys", error)) {
      struct stat st {};
      if (!e.is_regular_file(error) || e.path().extension() == ".pub" ||
          ::stat(e.path().c_str(), &st) != 0 || (st.st_mode & 077) == 0)
        continue;
      all_private = false;
      mend("keys", e.path().string() + " can be read by others", "make it private",
           [&] { return ::chmod(e.path().c_str(), 0600) == 0; });
    }
    if (all_private)
      row("keys", "ok",
          fs::exists(folder_ + "/keys", error) ? "private" : "made at the first start");
  }

  void leftovers() {
    const auto endpoints = endpoints_of(folder_);
    if (!endpoints || endpoints->alive) return;
    mend("run folder",
         "endpoints.json of pid " + std::to_string(endpoints->pid) + ", which has ended",
         "remove it", [&] {
           std::error_code error;
           return fs::remove(folder_ + "/run/endpoints.json", error);
         });
  }

  void journal() {
    std::error_code error;
    if (!fs::is_directory(folder_ + "/log", error)) return row("journal", "ok", "not begun yet");
    auto scanned = events::verify_segments(folder_ + "/log");
    const bool live = events::lock_holder(folder_ + "/log").has_value();
    if (!scanned) return row("journal", "problem", scanned.error().message, "see `soma verify`");
    if (scanned->damage && !live)
      return row("journal", "problem", events::to_string(*scanned->damage),
                 "keep the folder as it is, and restore from a backup");
    row("journal", "ok",
        std::to_string(scanned->partition_count) + " partitions, " +
            std::to_string(scanned->last_round) + " commit rounds" +
            (scanned->torn && !live ? ", a torn write behind them that nobody was told of" : ""));
  }

  void node() {
    auto url = c_.url();
    if (!url) return row("node", "warning", url.error().message, "start one with `soma dev`");
    auto ready = c_.call("GET", "/health/ready");
    if (!ready) return row("node", "problem", *url + ": " + ready.error().message, "see its log");
    row("node", "ok", *url + " is " + text_of(*ready, "status"));
    const auto status = c_.call("GET", "/v1/admin/status");  // reasons, for who may see them
    const auto* reasons = status ? member(*status, "dependencies") : nullptr;
    if (const auto* all = member(*ready, "dependencies"); all && all->is_object())
      for (const auto& [name, state] : all->get_object()) {
        const auto* reason = reasons ? member(*reasons, name) : nullptr;
        const std::string text = cell(reason ? reason : &state);
        const std::string check = "node: " + std::string(name);
        if (text == "ok")
          row(check.c_str(), "ok", "ok");
        else if (name == "guardrails")
          row(check.c_str(), "warning", text, "see `Settings and modes` in docs/governance.md");
        else
          row(check.c_str(), "problem", text, "see the node's log on its stderr");
      }
  }

  const Context& c_;
  const bool fix_;
  const std::string folder_;
  std::string mode_, slm_remote_, postgres_url_;
  json::array rows_;
  int problems_ = 0;
};

}  // namespace

int run_doctor(const Context& context, bool fix) { return Doctor(context, fix).run(); }

}  // namespace soma::cli
