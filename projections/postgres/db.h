// One connection to PostgreSQL: statements with parameters, and COPY in both directions.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::projections {

// One field as text; nothing for NULL.
using Field = std::optional<std::string>;
using Record = std::vector<Field>;

// Used by one thread. Errors: kUnavailable when the connection is gone (what became of a statement
// in flight, a COMMIT above all, is then not known); kDeadlineExceeded when it was silent for too
// long, and the same holds; kCorrupt when PostgreSQL found damaged data; kInvalidArgument when it
// refuses a value, never to take it on a retry; kInternal for the rest.
class Db {
 public:
  static Result<std::unique_ptr<Db>> open(const std::string& url);
  virtual ~Db() = default;

  // Several statements apart by semicolons; no parameters, no rows.
  virtual Status run(const std::string& sql) = 0;
  virtual Result<std::vector<Record>> query(const std::string& sql, const Record& parameters) = 0;
  // `sql` is COPY ... FROM STDIN, `text` its lines in COPY's text format.
  virtual Status copy_in(const std::string& sql, std::string_view text) = 0;
  // `sql` is COPY ... TO STDOUT; each row's fields, unescaped, valid during the call.
  virtual Status copy_out(const std::string& sql,
                          const std::function<void(const Record& row)>& each) = 0;
  virtual bool usable() const = 0;
  // Longest wait for the answer to a statement, or for a COPY to go on; then the connection is
  // given up. kPatience until it is told.
  virtual void set_patience(std::chrono::milliseconds patience) = 0;
  static constexpr std::chrono::milliseconds kPatience{30'000};
  // The end of all that is asked from now on, instead of the patience for each.
  virtual void set_deadline(std::chrono::steady_clock::time_point deadline) = 0;
  // From any thread: what runs now, and later, fails soon.
  virtual void interrupt() = 0;
};

// Appends a field in COPY's text format, without the tab before or the newline after it.
void copy_escape(std::string& out, std::string_view field);
// An array literal's element: "…" with escapes, or NULL.
void array_element(std::string& out, const Field& field);

}  // namespace soma::projections
