// One line from a person: editing, history, Ctrl-C and Ctrl-D told apart.
#pragma once

#include <memory>
#include <string>

namespace soma::cli {

// Takes the terminal only while it reads a line. Not thread-safe; one a process.
class LineEditor {
 public:
  // `history_file` empty: nothing is kept beyond this process.
  explicit LineEditor(const std::string& history_file);
  ~LineEditor();
  enum class Outcome { kLine, kInterrupted, kEnd };  // Enter, Ctrl-C, Ctrl-D
  Outcome read(const std::string& prompt, std::string& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soma::cli
