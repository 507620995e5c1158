// Every field by its type.
#include "tests/fuzz/filler.h"

#include <google/protobuf/descriptor.h>

#include "actors/actor_type.h"
#include "tests/fuzz/check.h"

namespace soma::fuzz {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

namespace {

constexpr int kDeepest = 4;

// Of `field`: one more element when it is repeated.
void set(Message& m, const FieldDescriptor* f, Bytes& b, int depth) {
  const auto* r = m.GetReflection();
  const bool many = f->is_repeated();
  const auto put = [&](auto add, auto set_one, auto value) {
    many ? (r->*add)(&m, f, value) : (r->*set_one)(&m, f, value);
  };
  using R = google::protobuf::Reflection;
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return put(&R::AddInt32, &R::SetInt32, static_cast<std::int32_t>(b.number()));
    case FieldDescriptor::CPPTYPE_INT64:
      return put(&R::AddInt64, &R::SetInt64, b.number());
    case FieldDescriptor::CPPTYPE_UINT32:
      return put(&R::AddUInt32, &R::SetUInt32, static_cast<std::uint32_t>(b.number()));
    case FieldDescriptor::CPPTYPE_UINT64:
      return put(&R::AddUInt64, &R::SetUInt64, static_cast<std::uint64_t>(b.number()));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return put(&R::AddDouble, &R::SetDouble, static_cast<double>(b.number()) / 16);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return put(&R::AddFloat, &R::SetFloat, static_cast<float>(b.number()) / 16);
    case FieldDescriptor::CPPTYPE_BOOL:
      return put(&R::AddBool, &R::SetBool, b.next() % 2 == 1);
    case FieldDescriptor::CPPTYPE_ENUM:
      return put(
          &R::AddEnumValue, &R::SetEnumValue,
          static_cast<int>(b.below(static_cast<std::size_t>(f->enum_type()->value_count()) + 1)));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string word = b.word();
      return many ? r->AddString(&m, f, word) : r->SetString(&m, f, word);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return fill(many ? *r->AddMessage(&m, f) : *r->MutableMessage(&m, f), b, depth + 1);
  }
}

}  // namespace

std::unique_ptr<Message> stored_copy(const Message& message) {
  auto out = std::unique_ptr<Message>(message.New());
  check(out->ParseFromString(actors::deterministic_bytes(message)));
  return out;
}

void fill(Message& message, Bytes& bytes, int depth) {
  const auto* type = message.GetDescriptor();
  for (int i = 0; i < type->real_oneof_decl_count(); ++i) {
    const auto* of = type->oneof_decl(i);
    const auto member = bytes.below(static_cast<std::size_t>(of->field_count()) + (depth > 0));
    if (member < static_cast<std::size_t>(of->field_count()))
      set(message, of->field(static_cast<int>(member)), bytes, depth);
  }
  if (depth > kDeepest) return;
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* f = type->field(i);
    if (f->real_containing_oneof()) continue;
    std::size_t times = f->is_repeated() ? bytes.below(4) : bytes.next() % 8 < 6;
    if (f->is_repeated() && times == 3) times = 0;
    for (; times > 0; --times) set(message, f, bytes, depth);
  }
}

}  // namespace soma::fuzz
