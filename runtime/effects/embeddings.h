// The wire format of embeddings, and texts that are longer than a model can read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"
#include "soma/v1/memory.pb.h"

namespace soma::runtime {

std::string embeddings_body(const std::vector<std::string>& texts, const std::string& model);
// Unit vectors of an /embeddings answer, in order of the inputs.
Result<v1::EmbedResult> parse_embeddings(std::string_view body, std::size_t expected);

// Cuts at spaces where it can, never within a character; no piece is longer than `max_bytes` (0: no
// limit) or empty, unless the text is.
std::vector<std::string> cut_in_pieces(std::string_view text, std::size_t max_bytes);
// The unit vector of the sum; kModelUnavailable when the vectors cancel out or differ in size.
Result<v1::Embedding> mean_of(const std::vector<v1::Embedding>& pieces);

}  // namespace soma::runtime
