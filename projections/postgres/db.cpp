// libpq. The only source that includes it.
#include "projections/postgres/db.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace soma::projections {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kCopyPiece = 256 << 10;
constexpr std::chrono::seconds kSilence{2};  // a refusal comes sooner
// What the URL may say otherwise: a server whose host is gone is given up after 25 s at most.
constexpr std::array<const char*, 5> kNames = {"connect_timeout", "keepalives_idle",
                                               "keepalives_interval", "keepalives_count",
                                               "tcp_user_timeout"};
constexpr std::array<const char*, 5> kValues = {"5", "10", "5", "3", "25000"};

struct Clear {
  void operator()(PGresult* r) const { PQclear(r); }
};
using ResultPtr = std::unique_ptr<PGresult, Clear>;

std::string first_line(const char* text) {
  const std::string all = text ? text : "";
  return all.substr(0, all.find('\n'));
}

// https://www.postgresql.org/docs/15/errcodes-appendix.html
Code code_of(std::string_view state) {
  if (state.empty() || state.starts_with("08") || state.starts_with("57") ||
      state.starts_with("25006"))
    return Code::kUnavailable;
  if (state == "XX001" || state == "XX002") return Code::kCorrupt;
  if (state.starts_with("22") || state.starts_with("23") || state.starts_with("54"))
    return Code::kInvalidArgument;
  if (state.starts_with("53")) return Code::kUnavailable;  // no memory, no disk, no connections
  return Code::kInternal;
}

void unescape(std::string_view in, Field& out) {
  if (in == "\\N") {
    out.reset();
    return;
  }
  if (!out) out.emplace();
  out->clear();
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] != '\\' || i + 1 == in.size()) {
      out->push_back(in[i]);
      continue;
    }
    const char c = in[++i];
    out->push_back(c == 'n'   ? '\n'
                   : c == 't' ? '\t'
                   : c == 'r' ? '\r'
                   : c == 'b' ? '\b'
                   : c == 'f' ? '\f'
                   : c == 'v' ? '\v'
                              : c);
  }
}

class Connection final : public Db {
 public:
  // Statements are sent and answers awaited without blocking: libpq itself waits for ever.
  explicit Connection(PGconn* c) : c_(c) { PQsetnonblocking(c_, 1); }
  ~Connection() override { PQfinish(c_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status run(const std::string& sql) override {
    begin();
    return check(answer(PQsendQuery(c_, sql.c_str())), PGRES_COMMAND_OK);
  }

  Result<std::vector<Record>> query(const std::string& sql, const Record& parameters) override {
    std::vector<const char*> values;
    for (const auto& p : parameters) values.push_back(p ? p->c_str() : nullptr);
    begin();
    const ResultPtr r = answer(PQsendQueryParams(c_, sql.c_str(), static_cast<int>(values.size()),
                                                 nullptr, values.data(), nullptr, nullptr, 0));
    const auto status = PQresultStatus(r.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
      return tl::unexpected(error_of(r.get()));
    std::vector<Record> rows(static_cast<std::size_t>(PQntuples(r.get())));
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (int k = 0; k < PQnfields(r.get()); ++k) {
        const int at = static_cast<int>(i);
        if (PQgetisnull(r.get(), at, k))
          rows[i].emplace_back();
        else
          rows[i].emplace_back(std::string(PQgetvalue(r.get(), at, k),
                                           static_cast<std::size_t>(PQgetlength(r.get(), at, k))));
      }
    return rows;
  }

  Status copy_in(const std::string& sql, std::string_view text) override {
    begin();
    if (auto ok = check(answer(PQsendQuery(c_, sql.c_str())), PGRES_COPY_IN); !ok) return ok;
    for (std::size_t at = 0; at < text.size(); at += kCopyPiece) {
      const auto piece = text.substr(at, kCopyPiece);
      begin();
      int taken = 0;
      while ((taken = PQputCopyData(c_, piece.data(), static_cast<int>(piece.size()))) == 0 &&
             wait(POLLOUT)) {
      }
      if (taken != 1) return tl::unexpected(error_of(nullptr));
    }
    int ended = 0;
    while ((ended = PQputCopyEnd(c_, nullptr)) == 0 && wait(POLLOUT)) {
    }
    if (ended != 1) return tl::unexpected(error_of(nullptr));
    return end_copy();
  }

  Status copy_out(const std::string& sql,
                  const std::function<void(const Record& row)>& each) override {
    begin();
    if (auto ok = check(answer(PQsendQuery(c_, sql.c_str())), PGRES_COPY_OUT); !ok) return ok;
    Record row;
    char* line = nullptr;
    int length = 0;
    while ((length = PQgetCopyData(c_, &line, 1)) >= 0) {
      if (length == 0) {
        if (!wait(POLLIN)) return tl::unexpected(error_of(nullptr));
        continue;
      }
      begin();
      const std::unique_ptr<char, decltype(&PQfreemem)> owned(line, &PQfreemem);
      std::string_view left(line, static_cast<std::size_t>(length));
      if (left.ends_with('\n')) left.remove_suffix(1);
      std::size_t column = 0;
      for (bool more = true; more; ++column) {
        const auto tab = left.find('\t');
        more = tab != std::string_view::npos;
        if (row.size() <= column) row.emplace_back();
        unescape(left.substr(0, tab), row[column]);
        if (more) left.remove_prefix(tab + 1);
      }
      row.resize(column);
      each(row);
    }
    if (length == -2) return tl::unexpected(error_of(nullptr));
    return end_copy();
  }

  bool usable() const override { return PQstatus(c_) == CONNECTION_OK; }
  void interrupt() override { ::shutdown(PQsocket(c_), SHUT_RDWR); }
  void set_patience(std::chrono::milliseconds patience) override { patience_ = patience; }
  void set_deadline(Clock::time_point deadline) override { all_until_ = deadline; }

 private:
  void begin() { deadline_ = all_until_ ? *all_until_ : Clock::now() + patience_; }

  // For the socket, at most until the deadline; then the connection is broken off. False when it
  // is: libpq's next answer says so.
  bool wait(short events) {
    pollfd p{PQsocket(c_), static_cast<short>(events | POLLIN), 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
    if (left.count() <= 0 ||
        (::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000))) == 0 &&
         Clock::now() >= deadline_)) {
      silent_ = true;
      interrupt();
    }
    return (p.revents & ~POLLOUT) == 0 && !silent_ ? true : PQconsumeInput(c_) == 1;
  }

  ResultPtr next_result() {
    while (PQflush(c_) == 1 && wait(POLLOUT)) {
    }
    while (PQisBusy(c_) && wait(POLLIN)) {
    }
    return ResultPtr(PQgetResult(c_));
  }

  // Of what was just sent: the first error, else the last result. Nothing: it could not be sent.
  ResultPtr answer(int sent) {
    ResultPtr out;
    if (sent != 1) return out;
    for (ResultPtr r = next_result(); r; r = next_result()) {
      const auto status = PQresultStatus(r.get());
      if (PQresultStatus(out.get()) != PGRES_FATAL_ERROR || !out) out = std::move(r);
      if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) break;
    }
    return out;
  }

  Status end_copy() {
    Status out;
    begin();
    for (ResultPtr r = next_result(); r; r = next_result())
      if (PQresultStatus(r.get()) != PGRES_COMMAND_OK && out)
        out = tl::unexpected(error_of(r.get()));
    return out;
  }

  Status check(ResultPtr r, ExecStatusType wanted) {
    const auto status = PQresultStatus(r.get());
    if (status == wanted || (wanted == PGRES_COMMAND_OK && status == PGRES_TUPLES_OK)) return {};
    return tl::unexpected(error_of(r.get()));
  }

  Error error_of(const PGresult* r) const {
    if (silent_) return {Code::kDeadlineExceeded, "PostgreSQL: no answer in time", {}};
    const char* state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : nullptr;
    const char* text = r ? PQresultErrorMessage(r) : nullptr;
    if (!text || !*text) text = PQerrorMessage(c_);
    const Code code = usable() ? code_of(state ? state : "") : Code::kUnavailable;
    return {code, "PostgreSQL: " + first_line(text), {}};
  }

  PGconn* const c_;
  std::chrono::milliseconds patience_ = kPatience;
  std::optional<Clock::time_point> all_until_;
  Clock::time_point deadline_;
  bool silent_ = false;
};

}  // namespace

Result<std::unique_ptr<Db>> Db::open(const std::string& url) {
  std::array<const char*, kNames.size() + 2> names{}, values{};
  std::copy(kNames.begin(), kNames.end(), names.begin());
  std::copy(kValues.begin(), kValues.end(), values.begin());
  names[kNames.size()] = "dbname";  // a whole URL, too; the last to name a thing is heard
  values[kNames.size()] = url.c_str();
  const auto began = Clock::now();
  PGconn* c = PQconnectdbParams(names.data(), values.data(), 1);
  if (!c) return fail(Code::kUnavailable, "PostgreSQL: no memory for a connection");
  auto db = std::make_unique<Connection>(c);
  if (PQstatus(c) != CONNECTION_OK)
    return fail(Clock::now() - began < kSilence ? Code::kUnavailable : Code::kDeadlineExceeded,
                "PostgreSQL: " + first_line(PQerrorMessage(c)));
  PQsetNoticeProcessor(
      c, [](void*, const char*) {}, nullptr);
  return std::unique_ptr<Db>(std::move(db));
}

void copy_escape(std::string& out, std::string_view field) {
  std::size_t from = 0;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const char c = field[i];
    if (c != '\\' && c != '\n' && c != '\r' && c != '\t') continue;
    out.append(field, from, i - from);
    out.push_back('\\');
    out.push_back(c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\\');
    from = i + 1;
  }
  out.append(field, from);
}

void array_element(std::string& out, const Field& field) {
  if (!field) {
    out += "NULL";
    return;
  }
  out.push_back('"');
  for (const char c : *field) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

}  // namespace soma::projections
