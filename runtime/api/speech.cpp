// Speech: the routes as they will be, checked as they will be; no provider is built in.
#include <boost/json/object.hpp>
#include <cctype>

#include "runtime/api/submit.h"

namespace soma::runtime::api {

using http::Field;
using http::Responder;

namespace {

constexpr std::size_t kBodyLimit = 32 << 20;
constexpr std::size_t kMaxText = 64 * 1024;

// RFC 4648, section 4, with padding.
bool is_base64(const std::string& text) {
  if (text.empty() || text.size() % 4 != 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  for (std::size_t i = 0; i + padding < text.size(); ++i)
    if (!std::isalnum(static_cast<unsigned char>(text[i])) && text[i] != '+' && text[i] != '/')
      return false;
  return true;
}

void missing(const Responder& responder, const char* what) {
  responder.send(http::problem_retry(
      {Code::kUnavailable, std::string(what) + " provider not configured", {}}, 60));
}

}  // namespace

void register_speech(http::Router& router, const Node&) {
  const Field format{.name = "format", .one_of = {"wav", "mp3", "flac", "ogg", "opus", "webm"}};
  router.add({.method = "POST",
              .pattern = "/v1/audio/transcribe",
              .capability = "speech:transcribe",
              .summary = "Speech to text",
              .tag = "speech",
              .request = http::make_schema(
                  "Transcribe", {{.name = "audio_base64", .required = true, .min_length = 1},
                                 format,
                                 {.name = "language", .max_length = 35},
                                 {.name = "model", .max_length = 200}}),
              .body_limit = kBodyLimit},
             [](auto r, auto responder) {
               if (!is_base64(text_member(r->json, "audio_base64")))
                 return responder.send(http::field_error({"body", "audio_base64"},
                                                         "must be base64 with padding", "base64"));
               missing(responder, "ASR");
             });
  router.add({.method = "POST",
              .pattern = "/v1/audio/synthesize",
              .capability = "speech:synthesize",
              .summary = "Text to speech",
              .tag = "speech",
              .request = http::make_schema(
                  "Synthesize",
                  {{.name = "text", .required = true, .min_length = 1, .max_length = kMaxText},
                   {.name = "voice", .max_length = 200},
                   format,
                   {.name = "model", .max_length = 200}})},
             [](auto, auto responder) { missing(responder, "TTS"); });
}

}  // namespace soma::runtime::api
