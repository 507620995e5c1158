// The metrics facade over prometheus-cpp.
#include "runtime/telemetry/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>
#include <sstream>

#include "runtime/telemetry/log.h"

namespace soma::runtime {

void Counter::add(double n) const {
  if (impl_ != nullptr && n > 0) static_cast<prometheus::Counter*>(impl_)->Increment(n);
}
void Counter::reach(double total) const {
  if (impl_ != nullptr) add(total - static_cast<prometheus::Counter*>(impl_)->Value());
}
void Gauge::set(double value) const {
  if (impl_ != nullptr) static_cast<prometheus::Gauge*>(impl_)->Set(value);
}
void Gauge::add(double n) const {
  if (impl_ != nullptr) static_cast<prometheus::Gauge*>(impl_)->Increment(n);
}
void Histogram::observe(double value) const {
  if (impl_ != nullptr) static_cast<prometheus::Histogram*>(impl_)->Observe(value);
}

void Histogram::reach(const std::vector<double>& counts, double sum) const {
  if (impl_ == nullptr) return;
  auto* histogram = static_cast<prometheus::Histogram*>(impl_);
  const auto known = histogram->Collect().histogram;
  std::vector<double> more(counts.size());
  std::uint64_t below = 0;  // Prometheus' buckets count all that is smaller, too
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto upto = known.bucket.at(i).cumulative_count;
    more[i] = counts[i] - static_cast<double>(upto - below);
    below = upto;
  }
  histogram->ObserveMultiple(more, sum - known.sample_sum);
}

const std::vector<double>& latency_buckets() {
  static const std::vector<double> buckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                              0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                              1,      2.5,     5,      10,    30};
  return buckets;
}
const std::vector<double>& size_buckets() {
  static const std::vector<double> buckets = {1,    4,     16,    64,     256,    1024,
                                              4096, 16384, 65536, 262144, 1048576};
  return buckets;
}

struct Metrics::Impl {
  template <typename T>
  struct Kind {
    std::map<std::string, prometheus::Family<T>*> families;
    std::map<std::pair<std::string, Labels>, T*> series;
  };
  mutable std::mutex mutex;
  prometheus::Registry registry;
  Kind<prometheus::Counter> counters;
  Kind<prometheus::Gauge> gauges;
  Kind<prometheus::Histogram> histograms;
  std::size_t count = 0;
  prometheus::Counter* dropped = nullptr;

  template <typename T>
  bool taken_elsewhere(const Kind<T>& mine, const std::string& name) const {
    const auto other = [&](const auto& kind) {
      return static_cast<const void*>(&kind) != static_cast<const void*>(&mine) &&
             kind.families.contains(name);
    };
    return other(counters) || other(gauges) || other(histograms);
  }

  // Null when the series is refused: too many, or the name or a label breaks Prometheus' rules.
  template <typename T, typename Builder, typename... Args>
  T* find(Kind<T>& kind, Builder builder, const std::string& name, const std::string& help,
          const Labels& labels, const Args&... args) {
    const std::lock_guard lock(mutex);
    const auto key = std::pair(name, labels);
    if (const auto it = kind.series.find(key); it != kind.series.end()) return it->second;
    if (count >= kMaxSeries || taken_elsewhere(kind, name)) {
      dropped->Increment();
      return nullptr;
    }
    try {
      auto*& family = kind.families[name];
      if (family == nullptr) family = &builder().Name(name).Help(help).Register(registry);
      T* series = &family->Add(labels, args...);
      ++count;
      kind.series.emplace(key, series);
      return series;
    } catch (const std::exception& e) {
      kind.families.erase(name);
      dropped->Increment();
      log_error("metric_refused", {{"name", name}, {"reason", e.what()}});
      return nullptr;
    }
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
  impl_->dropped = &prometheus::BuildCounter()
                        .Name("soma_metrics_dropped_series")
                        .Help("Series that were refused: too many, or a bad name")
                        .Register(impl_->registry)
                        .Add({});
}
Metrics::~Metrics() = default;

Counter Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  Counter c;
  c.impl_ = impl_->find(impl_->counters, prometheus::BuildCounter, name, help, labels);
  return c;
}
Gauge Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  Gauge g;
  g.impl_ = impl_->find(impl_->gauges, prometheus::BuildGauge, name, help, labels);
  return g;
}
Histogram Metrics::histogram(const std::string& name, const std::string& help,
                             const std::vector<double>& buckets, const Labels& labels) {
  Histogram h;
  h.impl_ = impl_->find(impl_->histograms, prometheus::BuildHistogram, name, help, labels, buckets);
  return h;
}

std::string Metrics::render() const {
  // Collect copies under the registry's own lock; the text is made outside it.
  return prometheus::TextSerializer{}.Serialize(impl_->registry.Collect());
}

}  // namespace soma::runtime
