// Parsing, cutting, averaging.
#include "runtime/effects/embeddings.h"

#include <boost/json.hpp>
#include <cmath>

#include "runtime/effects/json_reading.h"
#include "schemas/json/json_text.h"

namespace soma::runtime {

namespace json = boost::json;

namespace {

constexpr int kMaxDimensions = 8192;

tl::unexpected<Error> malformed(const char* what) {
  return fail(Code::kModelUnavailable,
              std::string("the embedding server's answer is malformed: ") + what);
}

Status make_unit(v1::Embedding& e) {
  double norm = 0;
  for (const float x : e.values()) norm += static_cast<double>(x) * x;
  if (!(norm > 0) || !std::isfinite(norm))
    return fail(Code::kModelUnavailable, "the embedding has no direction");
  const double scale = 1 / std::sqrt(norm);
  for (float& x : *e.mutable_values()) x = static_cast<float>(x * scale);
  return {};
}

}  // namespace

std::string embeddings_body(const std::vector<std::string>& texts, const std::string& model) {
  return json_text(
      json::object{{"model", model}, {"input", json::array(texts.begin(), texts.end())}});
}

Result<v1::EmbedResult> parse_embeddings(std::string_view body, std::size_t expected) {
  boost::system::error_code bad;
  const json::value v = json::parse(body, bad);
  if (bad) return malformed("not JSON");
  const auto* data = member(v, "data");
  if (!data || !data->is_array() || data->get_array().size() != expected)
    return malformed("not one vector per text");
  v1::EmbedResult out;
  for (std::size_t i = 0; i < expected; ++i) out.add_embeddings();
  std::size_t at = 0;
  for (const auto& item : data->get_array()) {
    const auto* index = member(item, "index");
    const std::size_t place = index ? number_of(index) : at;
    ++at;
    const auto* values = member(item, "embedding");
    if (place >= expected || out.embeddings(static_cast<int>(place)).values_size() > 0)
      return malformed("indexes");
    if (!values || !values->is_array() || values->get_array().empty() ||
        values->get_array().size() > kMaxDimensions)
      return malformed("no vector");
    auto* e = out.mutable_embeddings(static_cast<int>(place));
    e->set_model(text_of(member(v, "model")));
    e->mutable_values()->Reserve(static_cast<int>(values->get_array().size()));
    for (const auto& x : values->get_array()) {
      if (!x.is_number()) return malformed("a value is not a number");
      e->add_values(static_cast<float>(x.to_number<double>()));
    }
    if (auto unit = make_unit(*e); !unit) return tl::unexpected(unit.error());
  }
  if (const auto* usage = member(v, "usage"))
    out.set_prompt_tokens(tokens_of(member(*usage, "prompt_tokens")).value_or(0));
  return out;
}

std::vector<std::string> cut_in_pieces(std::string_view text, std::size_t max_bytes) {
  std::vector<std::string> out;
  while (max_bytes != 0 && text.size() > max_bytes) {
    std::size_t at = text.rfind(' ', max_bytes);
    if (at == std::string_view::npos || at == 0 || at < max_bytes / 2) {
      at = max_bytes;
      while (at > 1 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    }
    out.emplace_back(text.substr(0, at));
    text.remove_prefix(at);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  if (!text.empty() || out.empty()) out.emplace_back(text);
  return out;
}

Result<v1::Embedding> mean_of(const std::vector<v1::Embedding>& pieces) {
  v1::Embedding out = pieces.front();
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    if (pieces[i].values_size() != out.values_size())
      return malformed("vectors of different sizes");
    for (int k = 0; k < out.values_size(); ++k)
      out.set_values(k, out.values(k) + pieces[i].values(k));
  }
  if (pieces.size() > 1)
    if (auto unit = make_unit(out); !unit) return tl::unexpected(unit.error());
  return out;
}

}  // namespace soma::runtime
