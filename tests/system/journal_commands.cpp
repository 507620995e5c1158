// Prints every client's command in the valid frames of a log: position, actor, command id. An
// oracle of the system tests, so it reads the log itself and asks no running node.
#include <iostream>

#include "events/embedded/embedded_log.h"
#include "events/kafka/kafka_log.h"
#include "tests/system/client_commands.h"

namespace {

soma::Result<std::unique_ptr<soma::events::Log>> open(int argc, char** argv) {
  if (argc == 2) return soma::events::open_embedded_log_readonly(argv[1]);
  soma::events::KafkaOptions o;
  o.brokers = argv[2];
  auto log = soma::events::open_kafka_log_readonly(std::move(o));
  if (!log) return tl::unexpected(log.error());
  return std::unique_ptr<soma::events::Log>(std::move(*log));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace soma;
  const bool kafka = argc == 3 && argv[1] == std::string_view("--kafka");
  if (argc != 2 && !kafka)
    return std::cerr << "usage: journal_commands LOG_FOLDER | --kafka BROKERS\n", 2;
  auto log = open(argc, argv);
  if (!log) return std::cerr << log.error().message << "\n", 9;
  const auto ok =
      test::each_client_command(**log, [](Position at, const ActorKey& actor, const auto& id) {
        std::cout << to_string(at) << "\t" << to_string(actor) << "\t" << id << "\n";
      });
  if (!ok) return std::cerr << ok.error().message << "\n", 9;
  return 0;
}
