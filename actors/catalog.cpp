// The actor types of this build, deterministic bytes, derived ids.
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <set>

#include "actors/actor_types.h"
#include "actors/code_digests.h"
#include "actors/typed_actor.h"
#include "schemas/base/sha256.h"

namespace soma::actors {

namespace {

// The descriptors of every file that `file` imports, and its own, each once.
void collect(const google::protobuf::FileDescriptor* file, std::set<std::string>& seen,
             std::string& out) {
  if (!seen.insert(file->name()).second || file->package() != "soma.v1") return;
  for (int i = 0; i < file->dependency_count(); ++i) collect(file->dependency(i), seen, out);
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  out += deterministic_bytes(proto);
}

}  // namespace

std::string schema_hash_of(std::string_view name, const google::protobuf::Descriptor* state,
                           const google::protobuf::Descriptor* event) {
  std::set<std::string> seen;
  std::string bytes = state->full_name() + event->full_name();
  collect(state->file(), seen, bytes);
  collect(event->file(), seen, bytes);
  for (const auto& code : kCodeDigests)
    if (code.folder == name) bytes += code.digest;
  return sha256_hex(bytes);
}

std::string deterministic_bytes(const Message& message) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return out;
}

std::string derive_id(const v1::Context& context, std::string_view prefix, std::uint32_t index) {
  const std::string seed =
      context.command_id() + "\n" + std::string(prefix) + "\n" + std::to_string(index);
  return std::string(prefix) + "_" + sha256_hex(seed).substr(0, 24);
}

ActorKey to_key(const v1::ActorRef& ref) {
  return {ref.tenant(), ref.type(), ref.id(), ref.affinity()};
}

v1::ActorRef to_ref(const ActorKey& key) {
  v1::ActorRef ref;
  ref.set_tenant(key.tenant);
  ref.set_type(key.type);
  ref.set_id(key.id);
  ref.set_affinity(key.affinity);
  return ref;
}

Catalog::Catalog(std::vector<std::unique_ptr<ActorType>> types) : types_(std::move(types)) {
  std::sort(types_.begin(), types_.end(),
            [](const auto& a, const auto& b) { return a->name() < b->name(); });
}

const ActorType* Catalog::find(std::string_view name) const {
  for (const auto& type : types_)
    if (type->name() == name) return type.get();
  return nullptr;
}

std::vector<const ActorType*> Catalog::all() const {
  std::vector<const ActorType*> out;
  for (const auto& type : types_) out.push_back(type.get());
  return out;
}

std::unique_ptr<Catalog> standard_catalog() {
  std::vector<std::unique_ptr<ActorType>> types;
  add_actor_types(types);
  return std::make_unique<Catalog>(std::move(types));
}

}  // namespace soma::actors
