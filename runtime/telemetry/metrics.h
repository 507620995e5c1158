// Counters, gauges and histograms in the Prometheus text format; a facade over prometheus-cpp.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace soma::runtime {

// Handles are cheap to copy, valid as long as their Metrics, and thread-safe (one atomic
// operation). A default-made handle does nothing, so that a part can run without metrics.
class Counter {
 public:
  void add(double n = 1) const;
  void reach(double total) const;  // for what is counted elsewhere; one caller at a time

 private:
  friend class Metrics;
  void* impl_ = nullptr;
};
class Gauge {
 public:
  void set(double value) const;
  void add(double n) const;

 private:
  friend class Metrics;
  void* impl_ = nullptr;
};
class Histogram {
 public:
  void observe(double value) const;
  // For what is counted elsewhere: observations per bucket and their sum, since start. One caller
  // at a time.
  void reach(const std::vector<double>& counts, double sum) const;

 private:
  friend class Metrics;
  void* impl_ = nullptr;
};

using Labels = std::map<std::string, std::string>;

// Seconds, 0.1 ms to 30 s.
const std::vector<double>& latency_buckets();
// Powers of four, 1 to 1 Mi: batch sizes, bytes.
const std::vector<double>& size_buckets();

// Owns all series of one node. Asking again for the same name and labels gives the same series.
// At most kMaxSeries series; beyond that the handle does nothing and `soma_metrics_dropped_series`
// counts. Look handles up once, not per event: the look-up takes a lock.
class Metrics {
 public:
  static constexpr std::size_t kMaxSeries = 10000;
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram histogram(const std::string& name, const std::string& help,
                      const std::vector<double>& buckets = latency_buckets(),
                      const Labels& labels = {});

  // Text format 0.0.4 for GET /metrics.
  std::string render() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soma::runtime
