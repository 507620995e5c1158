// A host whose log holds commands that an earlier build parked.
#pragma once

#include <string>

#include "events/frames.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime {

class Parked : public HostFixture {
 protected:
  // The log as a build left it that could not decide this command; the host starts on it.
  void park(const std::string& id, const v1::CounterCommand& command,
            const std::string& command_id) {
    crash();
    events::EmbeddedOptions o;
    o.folder = folder_.string();
    o.segment_bytes = 4 << 20;
    auto log = events::open_embedded_log(std::move(o));
    ASSERT_TRUE(log) << log.error().message;
    events::FrameReader reader(**log, partition_of(counter(id), (*log)->partition_count()));
    while (!reader.next()->empty()) {
    }
    v1::Claim claim;
    claim.set_node_id("old");
    auto writer = events::FrameWriter::claim(**log, reader, claim, 1, [](const auto&) {});
    ASSERT_TRUE(writer) << writer.error().message;
    v1::Frame frame;
    auto* entry = frame.add_entries();
    *entry->mutable_actor() = actors::to_ref(counter(id));
    entry->mutable_context()->set_command_id(command_id);
    entry->mutable_context()->set_causation_id("evt_of_another");
    entry->set_command(command.SerializeAsString());
    entry->set_parked("an old build could not");
    *frame.add_touched()->mutable_actor() = entry->actor();
    std::promise<bool> valid;
    (*writer)->append(std::move(frame),
                      [&](const auto& outcome) { valid.set_value(outcome.valid); });
    ASSERT_TRUE(valid.get_future().get());
    writer->reset();
    log->reset();
    start();
  }
  void park(const std::string& id, std::int64_t amount, const std::string& command_id) {
    v1::CounterCommand command;
    command.mutable_add()->set_amount(amount);
    park(id, command, command_id);
  }
  std::vector<Host::ParkedActor> parked() {
    all_serve();
    return host_->parked().value();
  }
  static v1::CounterCommand transfer(std::int64_t amount, const std::string& to) {
    v1::CounterCommand command;
    command.mutable_transfer()->set_amount(amount);
    *command.mutable_transfer()->mutable_to() = actors::to_ref(counter(to));
    return command;
  }
};

}  // namespace soma::runtime
