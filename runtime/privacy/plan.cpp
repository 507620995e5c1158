// Plans from descriptors.
#include "runtime/privacy/plan.h"

#include <google/protobuf/descriptor.h>

#include <set>

#include "soma/v1/frame.pb.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/model.pb.h"

namespace soma::runtime::privacy {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

const std::string& pii_of(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::pii);
}

// Of the effects' outcomes, which are bytes in the schema. Others are personal as a whole.
const Descriptor* result_of(std::string_view actor_type) {
  if (actor_type == "session") return v1::RecallResult::descriptor();
  if (actor_type == "model") return v1::ModelAnswer::descriptor();
  if (actor_type == "memory" || actor_type == "inference") return v1::EmbedResult::descriptor();
  return nullptr;
}

// A failure's text alone makes no type personal.
bool holds_personal(const Descriptor& message, std::set<const Descriptor*>& seen) {
  if (!seen.insert(&message).second) return false;
  if (&message == v1::EffectOutcome::descriptor() || &message == v1::Failure::descriptor())
    return false;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& f = *message.field(i);
    if (!pii_of(f).empty()) return true;
    if (f.message_type() && holds_personal(*f.message_type(), seen)) return true;
  }
  return false;
}

FieldPlan cut_of(const FieldDescriptor& f) {
  FieldPlan out;
  out.owner = pii_of(f);
  out.act = f.is_map() ? FieldPlan::Do::kCutValue : FieldPlan::Do::kCut;
  if (out.owner == "/") {
    out.leave = FieldPlan::Leave::kSuffix;
    out.owner = "user";
  } else if (out.owner == f.name()) {
    out.leave = FieldPlan::Leave::kAlias;
  } else if (f.name().ends_with("_json")) {
    out.leave = FieldPlan::Leave::kJson;
  } else if (!f.is_map() && f.type() != FieldDescriptor::TYPE_STRING) {
    out.leave = FieldPlan::Leave::kNothing;
  }
  return out;
}

}  // namespace

// Of one actor type: what its bytes hold depends on it.
class Plans::Builder {
 public:
  Builder(const actors::ActorType& type, std::vector<std::unique_ptr<Plan>>& all)
      : all_(all),
        command_(type.new_command()->GetDescriptor()),
        event_(type.new_event()->GetDescriptor()),
        reply_(type.new_reply()->GetDescriptor()),
        result_(result_of(type.name())) {}

  const Plan* command() { return of(*command_); }
  bool personal() const {
    std::set<const Descriptor*> seen;
    return holds_personal(*command_, seen) || holds_personal(*event_, seen) ||
           holds_personal(*reply_, seen);
  }
  Plan* of(const Descriptor& message) {
    auto& known = made_[&message];
    if (known) return known;
    Plan* plan = all_.emplace_back(std::make_unique<Plan>()).get();
    known = plan;
    for (int i = 0; i < message.field_count(); ++i) {
      const FieldDescriptor& f = *message.field(i);
      const auto number = static_cast<std::uint32_t>(f.number());
      if (f.type() == FieldDescriptor::TYPE_STRING) plan->names[f.name()] = number;
      if (!pii_of(f).empty()) {
        plan->fields[number] = cut_of(f);
      } else if (const Descriptor* inside = inside_of(f)) {
        plan->fields[number].nested = of(*inside);
      } else if (f.full_name() == "soma.v1.Send.command") {
        plan->fields[number].act = FieldPlan::Do::kSend;
      } else if (f.full_name() == "soma.v1.EffectOutcome.result") {
        plan->fields[number] = {FieldPlan::Do::kCut, FieldPlan::Leave::kNothing, "user", nullptr};
      }
    }
    return plan;
  }

  // Fields inside which nothing is personal are just copied.
  void prune() {
    const auto active = [](const Plan& plan) {
      for (const auto& [number, f] : plan.fields)
        if (f.act != FieldPlan::Do::kWalk || f.nested->active) return true;
      return false;
    };
    for (bool more = true; more;) {
      more = false;
      for (const auto& [message, plan] : made_)
        if (!plan->active && active(*plan)) plan->active = more = true;
    }
    for (const auto& [message, plan] : made_)
      std::erase_if(plan->fields, [](const auto& f) {
        return f.second.act == FieldPlan::Do::kWalk && !f.second.nested->active;
      });
  }

 private:
  const Descriptor* inside_of(const FieldDescriptor& f) const {
    if (f.message_type()) return f.message_type();
    const std::string& name = f.full_name();
    if (name == "soma.v1.Entry.command") return command_;
    if (name == "soma.v1.RecordedEvent.payload") return event_;
    if (name == "soma.v1.Entry.reply") return reply_;
    if (name == "soma.v1.EffectOutcome.result") return result_;
    return nullptr;
  }

  std::vector<std::unique_ptr<Plan>>& all_;
  const Descriptor *command_, *event_, *reply_, *result_;
  std::map<const Descriptor*, Plan*> made_;
};

Plans::Plans(const actors::Catalog& catalog) {
  for (const auto* type : catalog.all()) {
    Builder builder(*type, all_);
    if (!builder.personal()) continue;
    types_[std::string(type->name())] = {builder.of(*v1::Entry::descriptor()), builder.command()};
    builder.prune();
  }
}

const Plan* Plans::entry_of(std::string_view actor_type) const {
  const auto it = types_.find(actor_type);
  return it == types_.end() ? nullptr : it->second.entry;
}

const Plan* Plans::command_of(std::string_view actor_type) const {
  const auto it = types_.find(actor_type);
  return it == types_.end() ? nullptr : it->second.command;
}

}  // namespace soma::runtime::privacy
