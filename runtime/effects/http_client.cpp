// One curl handle a call.
#include "runtime/effects/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

namespace soma::runtime {

namespace {

struct State {
  const BlockingCall* call;
  HttpReply reply;
  CURL* curl;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& s = *static_cast<State*>(self);
  const std::size_t n = size * count;
  curl_easy_getinfo(s.curl, CURLINFO_RESPONSE_CODE, &s.reply.status);
  if (s.call->on_bytes && s.reply.status == 200) return s.call->on_bytes({data, n}) ? n : 0;
  s.reply.body.append(data, n);
  return n;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
  std::string line(data, size * count);
  const auto colon = line.find(':');
  if (colon != std::string::npos) {
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    const auto from = line.find_first_not_of(' ', colon + 1), to = line.find_last_not_of("\r\n ");
    if (from != std::string::npos && to >= from)
      static_cast<State*>(self)->reply.headers[name] = line.substr(from, to - from + 1);
  }
  return size * count;
}

int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<State*>(self)->call->on_idle() ? 0 : 1;
}

}  // namespace

Result<HttpReply> http_call(const BlockingCall& call) {
  char why[CURL_ERROR_SIZE] = "";
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  State state{&call, {}, curl.get()};
  curl_slist* list = nullptr;
  for (const auto& h : call.headers) list = curl_slist_append(list, h.c_str());
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list, curl_slist_free_all);
  curl_easy_setopt(curl.get(), CURLOPT_URL, call.url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, call.method.c_str());
  if (!call.body.empty() || call.method == "POST" || call.method == "PUT") {
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, call.body.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(call.body.size()));
  }
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &state);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &state);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, call.timeout_ms);
  if (call.on_idle) {
    curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &state);
  }
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, why);
  use_tls(curl.get(), call.tls);
  const CURLcode result = curl_easy_perform(curl.get());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &state.reply.status);
  const bool ended_by_us = (result == CURLE_WRITE_ERROR && call.on_bytes) ||
                           (result == CURLE_ABORTED_BY_CALLBACK && call.on_idle);
  if (result != CURLE_OK && !ended_by_us)
    return fail(Code::kUnavailable,
                call.url + " cannot be reached: " + (*why ? why : curl_easy_strerror(result)));
  return std::move(state.reply);
}

}  // namespace soma::runtime
