// The generator's arithmetic.
#include "runtime/sim/rng.h"

namespace soma::sim {

Rng::Rng(std::uint64_t seed, std::string_view stream) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a of the stream's name
  for (unsigned char c : stream) hash = (hash ^ c) * 1099511628211ULL;
  increment_ = hash << 1 | 1;
  next();
  state_ += seed;
  next();
}

std::uint32_t Rng::next() {
  const std::uint64_t old = state_;
  state_ = old * 6364136223846793005ULL + increment_;
  const auto shifted = static_cast<std::uint32_t>(((old >> 18) ^ old) >> 27);
  const auto turn = static_cast<std::uint32_t>(old >> 59);
  return shifted >> turn | shifted << ((32 - turn) & 31);
}

std::uint64_t Rng::below(std::uint64_t n) {
  if (n <= 1) return 0;
  const std::uint64_t wide = static_cast<std::uint64_t>(next()) << 32 | next();
  return wide % n;  // the bias is below 2^-32 for the small ranges used here
}

std::int64_t Rng::between(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
}

bool Rng::chance(std::uint32_t per_million) {
  return per_million > 0 && below(1'000'000) < per_million;
}

}  // namespace soma::sim
