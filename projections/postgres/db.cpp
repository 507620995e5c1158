// libpq. The only source that includes it.
#include "projections/postgres/db.h"

#include <libpq-fe.h>
#include <sys/socket.h>

namespace soma::projections {

namespace {

constexpr std::size_t kCopyPiece = 256 << 10;

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
  explicit Connection(PGconn* c) : c_(c) {}
  ~Connection() override { PQfinish(c_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status run(const std::string& sql) override {
    return check(ResultPtr(PQexec(c_, sql.c_str())), PGRES_COMMAND_OK);
  }

  Result<std::vector<Record>> query(const std::string& sql, const Record& parameters) override {
    std::vector<const char*> values;
    for (const auto& p : parameters) values.push_back(p ? p->c_str() : nullptr);
    ResultPtr r(PQexecParams(c_, sql.c_str(), static_cast<int>(values.size()), nullptr,
                             values.data(), nullptr, nullptr, 0));
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
    if (auto ok = check(ResultPtr(PQexec(c_, sql.c_str())), PGRES_COPY_IN); !ok) return ok;
    for (std::size_t at = 0; at < text.size(); at += kCopyPiece) {
      const auto piece = text.substr(at, kCopyPiece);
      if (PQputCopyData(c_, piece.data(), static_cast<int>(piece.size())) != 1)
        return tl::unexpected(error_of(nullptr));
    }
    if (PQputCopyEnd(c_, nullptr) != 1) return tl::unexpected(error_of(nullptr));
    return end_copy();
  }

  Status copy_out(const std::string& sql,
                  const std::function<void(const Record& row)>& each) override {
    if (auto ok = check(ResultPtr(PQexec(c_, sql.c_str())), PGRES_COPY_OUT); !ok) return ok;
    Record row;
    char* line = nullptr;
    int length = 0;
    while ((length = PQgetCopyData(c_, &line, 0)) > 0) {
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

 private:
  Status end_copy() {
    Status out;
    while (PGresult* raw = PQgetResult(c_)) {
      const ResultPtr r(raw);
      if (PQresultStatus(r.get()) != PGRES_COMMAND_OK && out) out = tl::unexpected(error_of(raw));
    }
    return out;
  }

  Status check(ResultPtr r, ExecStatusType wanted) {
    const auto status = PQresultStatus(r.get());
    if (status == wanted || (wanted == PGRES_COMMAND_OK && status == PGRES_TUPLES_OK)) return {};
    return tl::unexpected(error_of(r.get()));
  }

  Error error_of(const PGresult* r) const {
    const char* state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : nullptr;
    const char* text = r ? PQresultErrorMessage(r) : nullptr;
    if (!text || !*text) text = PQerrorMessage(c_);
    const Code code = usable() ? code_of(state ? state : "") : Code::kUnavailable;
    return {code, "PostgreSQL: " + first_line(text), {}};
  }

  PGconn* const c_;
};

}  // namespace

Result<std::unique_ptr<Db>> Db::open(const std::string& url) {
  PGconn* c = PQconnectdb(url.c_str());
  if (!c) return fail(Code::kUnavailable, "PostgreSQL: no memory for a connection");
  auto db = std::make_unique<Connection>(c);
  if (PQstatus(c) != CONNECTION_OK)
    return fail(Code::kUnavailable, "PostgreSQL: " + first_line(PQerrorMessage(c)));
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
