// Request smuggling (S8): whatever stands behind a request, a handler sees the requests that were
// meant and no other.
#include <cstdio>

#include "fixture.h"

namespace soma::runtime::http {
namespace {

// What an attacker wants to be taken for a request of its own.
const std::string kInner = "GET /seen?n=smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

std::string hex(std::size_t n) {
  char out[24];
  std::snprintf(out, sizeof out, "%zx", n);
  return out;
}
std::string post(const std::string& fields, const std::string& body) {
  return "POST /seen?n=outer HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body;
}
std::string length(std::size_t n) { return "Content-Length: " + std::to_string(n) + "\r\n"; }
std::string get(const std::string& target, const std::string& fields = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
}
std::string chunk(const std::string& text) { return hex(text.size()) + "\r\n" + text + "\r\n"; }

// `seen`: how many requests a handler sees. 0: refused, and the connection is closed.
struct Vector {
  std::string name, bytes;
  std::size_t seen;
};

// Two lengths, or a length and chunks: whichever a proxy before us goes by.
std::vector<Vector> two_lengths() {
  const std::string te = "Transfer-Encoding: chunked\r\n", end = "0\r\n\r\n";
  return {
      {"cl_te", post(length(end.size() + kInner.size()) + te, end + kInner), 0},
      {"te_cl", post(te + length(4), chunk(kInner) + end), 0},
      {"cl0_te", post(length(0) + te, chunk(kInner) + end), 0},
      {"te_cl0", post(te + length(0), end + kInner), 0},
      {"cl_cl_first", post(length(0) + length(kInner.size()), kInner), 0},
      {"cl_cl_second", post(length(kInner.size()) + length(0), kInner), 0},
      {"cl_cl_same", post(length(3) + length(3), "abc" + kInner), 0},
      {"cl_cl_case", post("Content-Length: 3\r\ncontent-length: 30\r\n", "abc" + kInner), 0},
      {"cl_list", post("Content-Length: 0, 47\r\n", kInner), 0},
      {"cl_list_same", post("Content-Length: 3, 3\r\n", "abc" + kInner), 0},
      {"cl_plus", post("Content-Length: +3\r\n", "abc" + kInner), 0},
      {"cl_minus", post("Content-Length: -3\r\n", kInner), 0},
      {"cl_hex", post("Content-Length: 0x3\r\n", "abc" + kInner), 0},
      {"cl_octal_is_decimal", post("Content-Length: 0010\r\n", "0123456789"), 1},
      {"cl_float", post("Content-Length: 3.0\r\n", "abc" + kInner), 0},
      {"cl_exponent", post("Content-Length: 3e0\r\n", "abc" + kInner), 0},
      {"cl_space_inside", post("Content-Length: 1 0\r\n", "0" + kInner), 0},
      {"cl_empty", post("Content-Length:\r\n", kInner), 0},
      {"cl_words", post("Content-Length: three\r\n", "abc" + kInner), 0},
      {"cl_semicolon", post("Content-Length: 3;x\r\n", "abc" + kInner), 0},
      {"cl_quoted", post("Content-Length: \"3\"\r\n", "abc" + kInner), 0},
      {"cl_overflow", post("Content-Length: 18446744073709551619\r\n", "abc" + kInner), 0},
      {"cl_overflow_far", post("Content-Length: 99999999999999999999999\r\n", "abc" + kInner), 0},
      {"cl_full_width", post("Content-Length: \xef\xbc\x93\r\n", "abc" + kInner), 0},
      {"cl_vertical_tab", post("Content-Length: \v3\r\n", "abc" + kInner), 0},
      {"cl_nul", post(std::string("Content-Length: 3\0\r\n", 20), "abc" + kInner), 0},
      {"cl_covers_the_inner", post(length(kInner.size()), kInner), 1},
  };
}

// Transfer-Encoding written so that one reader takes it for chunked and another does not.
std::vector<Vector> obscured_codings() {
  std::vector<Vector> out;
  const std::string body = chunk(kInner) + "0\r\n\r\n";
  const std::pair<const char*, std::string> fields[] = {
      {"te_space_before_colon", "Transfer-Encoding : chunked\r\n"},
      {"te_tab_before_colon", "Transfer-Encoding\t: chunked\r\n"},
      {"te_x_prefix_value", "Transfer-Encoding: xchunked\r\n"},
      {"te_suffix_value", "Transfer-Encoding: chunkedx\r\n"},
      {"te_quoted", "Transfer-Encoding: \"chunked\"\r\n"},
      {"te_single_quoted", "Transfer-Encoding: 'chunked'\r\n"},
      {"te_vertical_tab", "Transfer-Encoding: \vchunked\r\n"},
      {"te_form_feed", "Transfer-Encoding: \fchunked\r\n"},
      {"te_trailing_nul", std::string("Transfer-Encoding: chunked\0\r\n", 29)},
      {"te_bare_cr_in_name", "Foo: bar\rTransfer-Encoding: chunked\r\n"},
      {"te_bare_cr_in_value", "Transfer-Encoding: chunked\rfoo\r\n"},
      {"te_identity", "Transfer-Encoding: identity\r\n"},
      {"te_chunked_identity", "Transfer-Encoding: chunked, identity\r\n"},
      {"te_identity_chunked", "Transfer-Encoding: identity, chunked\r\n"},
      {"te_gzip_chunked", "Transfer-Encoding: gzip, chunked\r\n"},
      {"te_chunked_gzip", "Transfer-Encoding: chunked, gzip\r\n"},
      {"te_twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
      {"te_chunked_chunked", "Transfer-Encoding: chunked, chunked\r\n"},
      {"te_then_cow", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n"},
      {"te_cow_then", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n"},
      {"te_parameter", "Transfer-Encoding: chunked; q=1\r\n"},
      {"te_empty", "Transfer-Encoding:\r\n"},
      {"te_comma_only", "Transfer-Encoding: ,\r\n"},
      {"te_deflate", "Transfer-Encoding: deflate\r\n"},
      {"te_nbsp",
       "Transfer-Encoding: \xc2\xa0"
       "chunked\r\n"},
      {"te_name_with_nul", std::string("Transfer-Encoding\0: chunked\r\n", 29)},
      {"te_name_in_parentheses", "(Transfer-Encoding): chunked\r\n"},
      {"te_name_with_slash", "Transfer/Encoding: chunked\r\n"},
      {"te_line_without_colon", "Transfer-Encoding chunked\r\n"},
  };
  for (const auto& [name, field] : fields) out.push_back({name, post(field + length(0), body), 0});
  out.push_back({"te_alone_uppercase", post("TRANSFER-ENCODING: CHUNKED\r\n", body), 1});
  out.push_back({"te_alone_spaced", post("Transfer-Encoding:   chunked  \r\n", body), 1});
  return out;
}

std::vector<Vector> chunk_forms() {
  const std::string te = "Transfer-Encoding: chunked\r\n", size = hex(kInner.size());
  const auto chunked = [&](const std::string& body) { return post(te, body); };
  return {
      {"chunk_whole", chunked(chunk(kInner) + "0\r\n\r\n"), 1},
      {"chunk_upper_hex", chunked("A\r\n0123456789\r\n0\r\n\r\n"), 1},
      {"chunk_extension", chunked("3;a=b\r\nabc\r\n0\r\n\r\n"), 1},
      {"chunk_trailer", chunked("3\r\nabc\r\n0\r\nX: y\r\n\r\n"), 1},
      {"chunk_short", chunked("1\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_long", chunked("ff\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_0x", chunked("0x" + size + "\r\n" + kInner + "\r\n0\r\n\r\n"), 0},
      {"chunk_minus", chunked("-1\r\n" + kInner), 0},
      {"chunk_plus", chunked("+3\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_space_before", chunked(" 3\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_no_hex", chunked("g\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_empty_size", chunked("\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_overflow", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_lf_only", chunked("3\nabc\n0\n\n" + kInner), 0},
      {"chunk_lf_after_size", chunked("3\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_lf_after_data", chunked("3\r\nabc\n0\r\n\r\n" + kInner), 0},
      {"chunk_cr_only", chunked("3\rabc\r0\r\r" + kInner), 0},
      {"chunk_nul_in_size", chunked(std::string("3\0\r\nabc\r\n0\r\n\r\n", 14) + kInner), 0},
      {"chunk_lf_in_extension", chunked("3;a\nb\r\nabc\r\n0\r\n\r\n" + kInner), 0},
      {"chunk_end_lf", chunked("3\r\nabc\r\n0\n\n" + kInner), 0},
      {"chunk_trailer_without_colon", chunked("0\r\nnonsense\r\n\r\n" + kInner), 0},
  };
}

// What a parser must see whole before it can go on is bounded as the head is: a chunk's line with
// the end of the chunk before it, and the last chunk's line with the trailer.
std::vector<Vector> long_lines() {
  const std::size_t most = ServerOptions().header_limit;
  const auto line = [](const std::string& start, std::size_t size) {
    return start + std::string(size - start.size() - 2, 'a') + "\r\n";
  };
  const auto fields = [&](std::size_t size) {
    std::string out;
    while (size - out.size() > 200) out += line("X: ", 100);
    return out + line("X: ", size - out.size());
  };
  const std::string first = chunk("abc"), data = "abc\r\n", end = "0\r\n\r\n";
  const std::size_t framed = 2 + 3 + 2;  // first's end, the last chunk's line, the end of all
  const std::pair<const char*, std::pair<std::string, std::size_t>> bodies[] = {
      {"extension_at_the_bound", {line("3;", most) + data + end, 1}},
      {"extension_beyond", {line("3;", most + 1) + data + end + kInner, 0}},
      {"later_extension_at_the_bound", {first + line("3;", most - 2) + data + end, 1}},
      {"later_extension_beyond", {first + line("3;", most - 1) + data + end + kInner, 0}},
      {"last_extension_at_the_bound", {first + line("0;", most - 4) + "\r\n", 1}},
      {"last_extension_beyond", {first + line("0;", most - 3) + "\r\n" + kInner, 0}},
      {"extensions_many", {line("3;", most) + data + line("3;", most - 2) + data + end, 1}},
      {"size_of_zeros_beyond", {std::string(most, '0') + first + end + kInner, 0}},
      {"trailer_at_the_bound", {first + "0\r\n" + line("X: ", most - framed) + "\r\n", 1}},
      {"trailer_beyond", {first + "0\r\n" + line("X: ", most - framed + 1) + "\r\n" + kInner, 0}},
      {"trailers_at_the_bound", {first + "0\r\n" + fields(most - framed) + "\r\n", 1}},
      {"trailers_beyond", {first + "0\r\n" + fields(most - framed + 1) + "\r\n" + kInner, 0}},
      {"trailer_of_70_k", {first + "0\r\n" + line("X: ", 70'000) + "\r\n" + kInner, 0}},
      {"extension_without_end", {"1;" + std::string(200'000, 'a'), 0}},
      {"later_extension_without_end", {first + "1;" + std::string(200'000, 'a'), 0}},
      {"trailer_without_end", {"0\r\nX: " + std::string(200'000, 'a'), 0}},
      {"trailers_without_end", {first + "0\r\n" + fields(200'000), 0}},
  };
  const std::string te = "Transfer-Encoding: chunked\r\n";
  std::vector<Vector> out;
  for (const auto& [name, body] : bodies) {
    out.push_back({std::string("post_") + name, post(te, body.first), body.second});
    out.push_back({std::string("get_") + name, get("/seen?n=outer", te) + body.first, body.second});
  }
  return out;
}

std::vector<Vector> lines_and_targets() {
  const std::string nul("\0", 1);
  return {
      {"bare_lf_lines", "GET /seen?n=outer HTTP/1.1\nHost: x\n\n" + kInner, 0},
      {"bare_lf_one_field", "GET /seen?n=outer HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 0},
      {"bare_lf_end", "GET /seen?n=outer HTTP/1.1\r\nHost: x\r\n\n" + kInner, 0},
      {"bare_cr_end", "GET /seen?n=outer HTTP/1.1\r\nHost: x\r\r" + kInner, 0},
      {"obs_fold", get("/seen?n=outer", "A: b\r\n c\r\n"), 1},
      {"obs_fold_length", post("Content-Length:\r\n 3\r\n", "abc"), 1},
      {"fold_first_line", "GET /seen?n=outer HTTP/1.1\r\n Host: x\r\n\r\n", 0},
      {"nul_in_target", "GET /seen" + nul + "?n=outer HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"nul_in_name", get("/seen?n=outer", "A" + nul + ": b\r\n"), 0},
      {"nul_in_value", get("/seen?n=outer", "A: b" + nul + "c\r\n"), 0},
      {"tab_in_target", "GET /seen\t?n=outer HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"two_spaces", "GET  /seen?n=outer HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"space_in_target", "GET /seen ?n=outer HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"tab_as_separator", "GET\t/seen?n=outer\tHTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"http_0_9", "GET /seen?n=outer\r\n", 0},
      {"http_0_9_version", "GET /seen?n=outer HTTP/0.9\r\nHost: x\r\n\r\n", 0},
      {"http_1_2", "GET /seen?n=outer HTTP/1.2\r\nHost: x\r\n\r\n", 0},
      {"http_2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
      {"http_lower_case", "GET /seen?n=outer http/1.1\r\nHost: x\r\n\r\n", 0},
      {"method_with_colon", "GE:T /seen?n=outer HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"method_empty", " /seen?n=outer HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"connect", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + kInner, 0},
      {"star", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 0},
      {"no_host", "GET /seen?n=outer HTTP/1.1\r\n\r\n" + kInner, 0},
      {"two_hosts", get("/seen?n=outer", "Host: y\r\n") + kInner, 0},
      {"host_with_path", "GET /seen?n=outer HTTP/1.1\r\nHost: x/y\r\n\r\n" + kInner, 0},
      {"host_with_space", "GET /seen?n=outer HTTP/1.1\r\nHost: x y\r\n\r\n" + kInner, 0},
      {"colon_first", get("/seen?n=outer", ": b\r\n") + kInner, 0},
      {"encoded_crlf_in_target", get("/seen?n=outer%0d%0aX:%20y"), 0},
  };
}

// Requests behind one another: as many as were sent, in order.
std::vector<Vector> pipelines() {
  const std::string second = get("/seen?n=second");
  return {
      {"pipeline_two", get("/seen?n=outer") + second, 2},
      {"pipeline_after_body", post(length(3), "abc") + second, 2},
      {"pipeline_after_chunks",
       post("Transfer-Encoding: chunked\r\n", chunk("abc") + "0\r\n\r\n") + second, 2},
      {"pipeline_get_with_body", get("/seen?n=outer", length(3)) + "abc" + second, 2},
      {"close_ends_it", get("/seen?n=outer", "Connection: close\r\n") + kInner, 1},
      {"http_1_0_ends_it", "GET /seen?n=outer HTTP/1.0\r\n\r\n" + kInner, 1},
      {"upgrade_without_a_socket",
       get("/seen?n=outer",
           "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
       1},
      {"garbage_behind", get("/seen?n=outer") + "\x01\x02 nonsense\r\n\r\n", 1},
  };
}

struct Smuggling : ServerTest {
  std::vector<std::string> seen;  // the `n` of each request, and what else it brought
  Smuggling() {
    const auto note = [this](std::shared_ptr<Request> r, Responder responder) {
      {
        const std::lock_guard lock(mutex);
        seen.push_back(r->query_value("n").value_or("-"));
      }
      echo(r, responder);
    };
    add("GET", "/seen", "public", note);
    add("POST", "/seen", "public", note);
  }
  // The statuses of all answers up to the end of the connection.
  static std::vector<int> statuses(const std::string& all) {
    std::vector<int> out;
    for (auto at = all.find("HTTP/1."); at != all.npos; at = all.find("HTTP/1.", at + 1))
      if (at == 0 || all[at - 1] == '\n' || all[at - 1] == '}')
        out.push_back(std::atoi(all.substr(at + 9, 3).c_str()));
    return out;
  }
  // Sent in pieces of so many bytes.
  bool as_meant(std::uint16_t port, const Vector& v, std::size_t piece) {
    {
      const std::lock_guard lock(mutex);
      seen.clear();
    }
    RawClient client(port);
    for (std::size_t at = 0; at < v.bytes.size(); at += piece)
      if (!client.send(std::string_view(v.bytes).substr(at, piece))) break;  // it has closed
    client.finish();
    const auto answers = statuses(client.rest());
    const std::lock_guard lock(mutex);
    std::string all;
    for (const auto& n : seen) all += n + " ";
    bool ok = seen.size() == v.seen && all.find("smuggled") == all.npos;
    if (v.seen == 0) ok = ok && answers.size() <= 1 && (answers.empty() || answers[0] >= 400);
    EXPECT_TRUE(ok) << v.name << " by " << piece << ": a handler saw "
                    << (all.empty() ? "nothing" : all) << "; " << answers.size()
                    << " answers, first " << (answers.empty() ? 0 : answers[0]);
    return ok;
  }
};

TEST_F(Smuggling, NothingIsSeenThatWasNotMeant) {
  const auto port = start();
  std::size_t good = 0;
  for (const auto& group :
       {two_lengths(), obscured_codings(), chunk_forms(), lines_and_targets(), pipelines()})
    for (const Vector& v : group) good += as_meant(port, v, v.bytes.size());
  for (const Vector& v : long_lines())
    good += as_meant(port, v, v.bytes.size()) && as_meant(port, v, 97);
  std::printf("GATE S8 %zu vectors\n", good);
  RawClient after(port);
  EXPECT_EQ(after.ask(get("/echo")).status, 200);
}

}  // namespace
}  // namespace soma::runtime::http
