// On editline, with plain reading where stdin is no terminal.
#include "tools/cli/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>

namespace soma::cli {

namespace {
constexpr int kHistoryLines = 1000;
}

struct LineEditor::Impl {
  EditLine* line = nullptr;
  History* history = nullptr;
  std::string file, prompt;

  static char* prompt_of(EditLine* e) {
    Impl* self = nullptr;
    el_get(e, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }
};

LineEditor::LineEditor(const std::string& history_file) : impl_(std::make_unique<Impl>()) {
  if (::isatty(0) == 0 || ::isatty(1) == 0) return;
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(::nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
  auto& i = *impl_;
  i.line = el_init("soma", stdin, stdout, stderr);
  if (!i.line) return;
  i.history = history_init();
  HistEvent event;
  history(i.history, &event, H_SETSIZE, kHistoryLines);
  history(i.history, &event, H_SETUNIQUE, 1);
  i.file = history_file;
  if (!i.file.empty()) {
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(i.file).parent_path(), ignored);
    history(i.history, &event, H_LOAD, i.file.c_str());
  }
  el_set(i.line, EL_CLIENTDATA, &i);
  el_set(i.line, EL_PROMPT, &Impl::prompt_of);
  el_set(i.line, EL_EDITOR, "emacs");
  el_set(i.line, EL_HIST, history, i.history);
  el_set(i.line, EL_SIGNAL, 0);
  el_set(i.line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_source(i.line, nullptr);
}

LineEditor::~LineEditor() {
  if (impl_->history) history_end(impl_->history);
  if (impl_->line) el_end(impl_->line);
}

LineEditor::Outcome LineEditor::read(const std::string& prompt, std::string& out) {
  auto& i = *impl_;
  out.clear();
  if (!i.line) {
    if (!std::getline(std::cin, out)) return out.empty() ? Outcome::kEnd : Outcome::kLine;
    return Outcome::kLine;
  }
  i.prompt = prompt;
  int count = 0;
  errno = 0;
  const char* text = el_gets(i.line, &count);
  if (!text || count <= 0) {
    const bool interrupted = errno == EINTR || count < 0;
    el_reset(i.line);
    return interrupted ? Outcome::kInterrupted : Outcome::kEnd;
  }
  out.assign(text, static_cast<std::size_t>(count));
  while (!out.empty() && (out.back() == '\n' || out.back() == '\r')) out.pop_back();
  if (out.find_first_not_of(' ') == out.npos) return Outcome::kLine;
  HistEvent event;
  history(i.history, &event, H_ENTER, text);
  if (!i.file.empty()) {
    const mode_t before = ::umask(077);  // what was said is nobody else's business
    history(i.history, &event, H_SAVE, i.file.c_str());
    ::umask(before);
  }
  return Outcome::kLine;
}

}  // namespace soma::cli
