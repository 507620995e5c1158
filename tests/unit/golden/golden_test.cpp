// Every event type that was ever released: recorded bytes decode, and fold to the recorded state.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "tests/unit/golden/corpus.h"

namespace soma::golden {
namespace {

constexpr int kWanted = 3;
const std::filesystem::path kSources = SOMA_SOURCES;

// Names of the cases of each actor type's events by their numbers, by the name of the message.
using Cases = std::map<std::string, std::map<int, std::string>>;

Cases released() {
  google::protobuf::FileDescriptorSet set;
  std::ifstream in(kSources / "schemas/released.binpb", std::ios::binary);
  EXPECT_TRUE(set.ParseFromIstream(&in));
  Cases out;
  for (const auto& file : set.file())
    for (const auto& message : file.message_type()) {
      if (!message.name().ends_with("Event")) continue;
      for (const auto& field : message.field())
        if (field.has_oneof_index() && message.oneof_decl(field.oneof_index()).name() == "kind")
          out[message.name()][field.number()] = field.name();
    }
  return out;
}

class Golden : public ::testing::Test {
 protected:
  static std::filesystem::path file(const actors::ActorType& type) {
    return kSources / "tests/unit/golden/events" / (std::string(type.name()) + ".tsv");
  }
  static Corpus corpus(const actors::ActorType& type) {
    auto out = load(file(type));
    EXPECT_TRUE(out) << out.error().message;
    return out ? *out : Corpus{};
  }
  static std::string message_of(const actors::ActorType& type) {
    return type.new_event()->GetDescriptor()->name();
  }

  const std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
};

TEST_F(Golden, EventsFoldToTheRecordedStates) {
  for (const auto* type : catalog_->all()) {
    int n = 0;
    for (const auto& history : corpus(*type)) {
      SCOPED_TRACE(std::string(type->name()) + ", history " + std::to_string(++n));
      const auto digests = fold(*type, history);
      ASSERT_TRUE(digests) << digests.error().message;
      for (std::size_t i = 0; i < history.events.size(); ++i)
        ASSERT_EQ((*digests)[i], history.events[i].digest)
            << "event " << i + 1 << ", " << history.events[i].type;
    }
  }
}

// The gate's figure: event types that have enough of them.
TEST_F(Golden, EveryEventTypeEverReleasedIsThere) {
  Cases wanted = released();
  EXPECT_FALSE(wanted.empty());
  std::map<std::string, std::map<int, int>> samples;
  std::set<std::filesystem::path> files;
  for (const auto* type : catalog_->all()) {
    files.insert(file(*type));
    const auto message = message_of(*type);
    const auto* kind = type->new_event()->GetDescriptor()->FindOneofByName("kind");
    ASSERT_TRUE(kind) << message;
    for (int i = 0; i < kind->field_count(); ++i)
      wanted[message][kind->field(i)->number()] = kind->field(i)->name();
    for (const auto& history : corpus(*type))
      for (const auto& sample : history.events) {
        const auto event = decode(*type, sample);
        ASSERT_TRUE(event) << event.error().message;
        ++samples[message][case_of(**event)];
      }
  }
  for (const auto& entry :
       std::filesystem::directory_iterator(kSources / "tests/unit/golden/events"))
    EXPECT_TRUE(files.contains(entry.path())) << entry.path() << " is of no actor type";
  int types = 0, events = 0;
  for (const auto& [message, cases] : wanted)
    for (const auto& [number, name] : cases) {
      EXPECT_GE(samples[message][number], kWanted)
          << message << "." << name << ": see tests/unit/golden/README.md";
      types += samples[message][number] >= kWanted;
      events += samples[message][number];
    }
  if (!HasFailure())
    std::cout << "GATE R19 " << types << " event types, " << events << " recorded events\n";
}

}  // namespace
}  // namespace soma::golden
