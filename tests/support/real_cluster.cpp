// Runs the script; its JSON line says where the brokers are.
#include "tests/support/real_cluster.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace soma::support {

namespace {

std::string output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) std::abort();
  std::string out;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
    out.append(buffer.data(), n);
  if (::pclose(pipe) != 0) {
    std::fprintf(stderr, "%s failed: %s\n", command.c_str(), out.c_str());
    std::abort();
  }
  return out;
}

}  // namespace

RealCluster::RealCluster(int brokers) {
  folder_ = (std::filesystem::temp_directory_path() / "soma-kafka-XXXXXX").string();
  if (!::mkdtemp(folder_.data())) std::abort();
  const std::string said =
      run("start --brokers " + std::to_string(brokers) + " --until " + std::to_string(::getpid()));
  const std::string key = "\"bootstrap\": \"";
  const auto begin = said.find(key);
  if (begin == std::string::npos) std::abort();
  const auto end = said.find('"', begin + key.size());
  bootstrap_ = said.substr(begin + key.size(), end - begin - key.size());
}

RealCluster::~RealCluster() { run("destroy"); }

events::KafkaOptions RealCluster::options(std::uint32_t partitions) {
  events::KafkaOptions o;
  o.brokers = bootstrap_;
  o.topic_prefix = "t" + std::to_string(++journals_) + ".";
  o.partition_count = partitions;
  return o;
}

void RealCluster::kill(int node) { run("kill --node " + std::to_string(node)); }
void RealCluster::resume(int node) { run("resume --node " + std::to_string(node)); }

std::string RealCluster::run(const std::string& command_and_arguments) {
  return output_of(std::string(SOMA_SOURCE_DIR) + "/tools/kafka/broker " + command_and_arguments +
                   " --dir " + folder_);
}

}  // namespace soma::support
