// G3: what recall takes, and finds, of a hundred thousand vectors: of a hundred tenants, and of
// one.
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "runtime/memory/memory_index.h"
#include "runtime/memory/vector_index.h"
#include "tools/bench/figures.h"

namespace soma {
namespace {

using Clock = std::chrono::steady_clock;
using Vector = std::vector<float>;
constexpr std::size_t kDimension = 384, kTopK = 10, kQueries = 4000;
constexpr double kBarMs = 5, kBarRecall = 0.95;

// Texts lie in heaps, one a subject they are about.
class Texts {
 public:
  explicit Texts(std::size_t subjects) {
    for (std::size_t i = 0; i < subjects; ++i) subjects_.push_back(unit(random()));
  }
  Vector text() {
    const auto& about = subjects_[random_() % subjects_.size()];
    return near(about, 0.8F);
  }
  // A question about a text lies closer to it than another text of its subject.
  Vector question(const Vector& text) { return near(text, 0.4F); }

 private:
  Vector random() {
    Vector v(kDimension);
    for (auto& x : v) x = normal_(random_);
    return v;
  }
  static Vector unit(Vector v) {
    double sum = 0;
    for (const float x : v) sum += x * x;
    for (auto& x : v) x = static_cast<float>(x / std::sqrt(sum));
    return v;
  }
  Vector near(const Vector& to, float by) {
    Vector v = unit(random());
    for (std::size_t i = 0; i < kDimension; ++i) v[i] = to[i] + by * v[i];
    return unit(std::move(v));
  }

  std::mt19937 random_{20261127};
  std::normal_distribution<float> normal_;
  std::vector<Vector> subjects_;
};

float product(const Vector& a, const Vector& b) {
  float sum = 0;
  for (std::size_t i = 0; i < kDimension; ++i) sum += a[i] * b[i];
  return sum;
}

// Which of them are really the nearest.
std::set<std::size_t> exact(const std::vector<Vector>& all, const Vector& question) {
  std::vector<std::pair<float, std::size_t>> order;
  for (std::size_t i = 0; i < all.size(); ++i) order.emplace_back(-product(all[i], question), i);
  const std::size_t most = std::min(kTopK, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end());
  std::set<std::size_t> out;
  for (std::size_t i = 0; i < most; ++i) out.insert(order[i].second);
  return out;
}

struct Measured {
  std::vector<double> ms;
  std::size_t found = 0, wanted = 0, leaks = 0;
  double share() const {
    return wanted ? static_cast<double>(found) / static_cast<double>(wanted) : 0;
  }
  double at(double quantile) {
    std::sort(ms.begin(), ms.end());
    return ms[static_cast<std::size_t>(quantile * static_cast<double>(ms.size() - 1))];
  }
};

template <typename Work>
auto timed(Measured& m, const Work& work) {
  const auto began = Clock::now();
  auto out = work();
  m.ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - began).count());
  return out;
}

// Through the index of all tenants, as routes and sessions ask it.
Measured of_many(std::size_t tenants, std::size_t each) {
  Texts texts(tenants * 10);
  runtime::MemoryIndex index;
  std::vector<std::vector<Vector>> all(tenants);
  for (std::size_t t = 0; t < tenants; ++t) {
    const std::string tenant = "tenant-" + std::to_string(t);
    auto frame = std::make_shared<v1::Frame>();
    for (std::size_t i = 0; i < each; ++i) {
      all[t].push_back(texts.text());
      auto* entry = frame->add_entries();
      entry->mutable_actor()->set_tenant(tenant);
      entry->mutable_actor()->set_type("memory");
      entry->mutable_actor()->set_id(std::to_string(i));
      v1::MemoryEvent event;
      event.mutable_memory_remembered()->mutable_fact()->set_text(tenant);
      auto* values = event.mutable_memory_remembered()->mutable_embedding()->mutable_values();
      values->Add(all[t].back().begin(), all[t].back().end());
      entry->add_events()->set_payload(event.SerializeAsString());
    }
    index.on_frame({{PartitionId{0}, Offset{t}}, frame, {}});
  }
  std::mt19937 random(1);
  Measured m;
  for (std::size_t q = 0; q < kQueries; ++q) {
    const std::size_t t = random() % tenants;
    const std::string tenant = "tenant-" + std::to_string(t);
    const Vector question = texts.question(all[t][random() % each]);
    const auto answer = timed(m, [&] { return index.recall({tenant, {}, question, kTopK}); });
    const auto nearest = exact(all[t], question);
    m.wanted += nearest.size();
    for (const auto& memory : answer.memories()) {
      m.found += nearest.contains(std::stoul(memory.memory_id()));
      m.leaks += memory.text() != tenant;
    }
  }
  return m;
}

// More than are searched one by one: the graph.
Measured of_one(std::size_t count) {
  Texts texts(count / 100 + 1);
  runtime::VectorIndex index(kDimension);
  std::vector<Vector> all;
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back(texts.text());
    index.add(i, all.back());
  }
  while (index.index_some(1000)) {
  }
  std::mt19937 random(1);
  Measured m;
  for (std::size_t q = 0; q < kQueries / 10; ++q) {
    const Vector question = texts.question(all[random() % count]);
    auto answer = timed(m, [&] { return index.nearest(question, kTopK * 4); });  // as recall asks
    std::sort(answer.begin(), answer.end(), [](auto& a, auto& b) { return a.second > b.second; });
    answer.resize(std::min(answer.size(), kTopK));
    const auto nearest = exact(all, question);
    m.wanted += nearest.size();
    for (const auto& [label, near] : answer) m.found += nearest.contains(label);
  }
  return m;
}

void tell(const char* what, std::size_t vectors, Measured& m) {
  const boost::json::object out{
      {"bench", "recall"},       {"case", what},        {"vectors", vectors},
      {"dimension", kDimension}, {"p50_ms", m.at(0.5)}, {"p99_ms", m.at(0.99)},
      {"recall", m.share()},     {"leaks", m.leaks},    {"machine", bench::machine()}};
  std::printf("%s\n", boost::json::serialize(out).c_str());
}

int gate(const char* name, double figure, const char* bar, bool passed) {
  std::fprintf(stderr, "GATE %s %.4g %s %s\n", name, figure, bar, passed ? "PASS" : "FAIL");
  return passed ? 0 : 1;
}

int run(std::size_t tenants, std::size_t each, std::size_t one) {
  auto many = of_many(tenants, each);
  tell("tenants", tenants * each, many);
  double p99 = many.at(0.99), share = many.share();
  if (one > 0) {
    auto graph = of_one(one);
    tell("one tenant", one, graph);
    p99 = std::max(p99, graph.at(0.99));
    share = std::min(share, graph.share());
  }
  gate("G3", p99, "<=5", p99 <= kBarMs);
  gate("G3.recall", share, ">=0.95", share >= kBarRecall);
  return gate("G3.leaks", static_cast<double>(many.leaks), "=0", many.leaks == 0);
}

}  // namespace
}  // namespace soma

int main(int argc, char** argv) {
  const long tenants = argc > 1 ? std::atol(argv[1]) : 100;
  const long each = argc > 2 ? std::atol(argv[2]) : 1000;
  const long one = argc > 3 ? std::atol(argv[3]) : 0;
  if (tenants < 1 || tenants > 1000 || each < 1 || each > 100'000 || one < 0 || one > 200'000) {
    std::fprintf(stderr, "usage: recall_bench [TENANTS] [EACH] [OF_ONE]\n");
    return 2;
  }
  return soma::run(static_cast<std::size_t>(tenants), static_cast<std::size_t>(each),
                   static_cast<std::size_t>(one));
}
