// What model routes share: bodies to requests, recorded answers to JSON.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "runtime/api/inference_wait.h"

namespace soma::runtime::api {

// {prompt|input|messages, model?, provider?, …}; kInvalidArgument names the field, also where the
// provider is not the one that the node has for such calls.
Result<v1::ModelRequest> chat_request(const Node& node, const boost::json::object& body);
// {text|input, model?, provider?}: one text or up to kMaxEmbedTexts.
inline constexpr std::size_t kMaxEmbedTexts = 32;
Result<v1::ModelRequest> embed_request(const Node& node, const boost::json::object& body);

boost::json::object usage_view(const v1::TokenUsage& usage);
boost::json::object infer_view(const v1::ModelAnswer& answer);  // as infer_sync answers
// {model, embedding, dim} of the first text.
boost::json::object embedding_view(const v1::EmbedResult& result);
boost::json::array vector_view(const v1::Embedding& embedding);

// Sends what the call ended with: `view` of a state that is done, else its failure.
void answer_with(const http::Responder& responder, const Result<Finished>& finished,
                 const std::function<boost::json::object(const v1::InferenceState&)>& view);

}  // namespace soma::runtime::api
