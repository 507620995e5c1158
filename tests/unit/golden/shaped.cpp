// Every field by its type; few words, so that ids meet.
#include "tests/unit/golden/shaped.h"

#include <google/protobuf/descriptor.h>

namespace soma::golden {

namespace {

using actors::Message;
using google::protobuf::FieldDescriptor;

constexpr int kDeepest = 4;

class Shaper {
 public:
  Shaper(unsigned round, unsigned seed) : round_(round), at_(round * 977 + seed * 65537) {}

  void fill(Message& m, int depth) {
    const auto* type = m.GetDescriptor();
    for (int i = 0; i < type->real_oneof_decl_count(); ++i) {
      const auto* of = type->oneof_decl(i);
      set(m, of->field(static_cast<int>(next() % static_cast<unsigned>(of->field_count()))), depth);
    }
    for (int i = 0; i < type->field_count(); ++i) {
      const auto* f = type->field(i);
      if (f->real_containing_oneof() || (round_ > 0 && next() % 2 == 0)) continue;
      set(m, f, depth);
      if (f->is_repeated()) set(m, f, depth);
    }
  }

  // Of `f`: one more element when it is repeated.
  void set(Message& m, const FieldDescriptor* f, int depth) {
    using R = google::protobuf::Reflection;
    const auto* r = m.GetReflection();
    const auto put = [&](auto add, auto set_one, auto value) {
      f->is_repeated() ? (r->*add)(&m, f, value) : (r->*set_one)(&m, f, value);
    };
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return put(&R::AddInt32, &R::SetInt32, static_cast<std::int32_t>(next() % 100) - 10);
      case FieldDescriptor::CPPTYPE_INT64:
        return put(&R::AddInt64, &R::SetInt64, static_cast<std::int64_t>(next() % 5000) - 100);
      case FieldDescriptor::CPPTYPE_UINT32:
        return put(&R::AddUInt32, &R::SetUInt32, next() % 200 + 1);
      case FieldDescriptor::CPPTYPE_UINT64:
        return put(&R::AddUInt64, &R::SetUInt64, std::uint64_t{next()} + 1);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return put(&R::AddDouble, &R::SetDouble, (next() % 1000 + 1) / 16.0);
      case FieldDescriptor::CPPTYPE_FLOAT:
        return put(&R::AddFloat, &R::SetFloat, static_cast<float>(next() % 1000 + 1) / 16.0F);
      case FieldDescriptor::CPPTYPE_BOOL:
        return put(&R::AddBool, &R::SetBool, true);
      case FieldDescriptor::CPPTYPE_ENUM: {
        const auto values = static_cast<unsigned>(f->enum_type()->value_count());
        const int at = static_cast<int>(values > 1 ? 1 + next() % (values - 1) : 0);
        return put(&R::AddEnumValue, &R::SetEnumValue, f->enum_type()->value(at)->number());
      }
      case FieldDescriptor::CPPTYPE_STRING: {
        const std::string word = text(f->name());
        return f->is_repeated() ? r->AddString(&m, f, word) : r->SetString(&m, f, word);
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (depth >= kDeepest) return;
        return fill(f->is_repeated() ? *r->AddMessage(&m, f) : *r->MutableMessage(&m, f),
                    depth + 1);
    }
  }

 private:
  unsigned next() {
    at_ = at_ * 1664525U + 1013904223U;
    return at_ >> 8;
  }
  std::string text(const std::string& field) {
    if (field.ends_with("_json")) return R"({"a":1})";
    return field.substr(0, 8) + static_cast<char>('a' + next() % 2);
  }

  const unsigned round_;
  unsigned at_;
};

}  // namespace

void shape(Message& message, int number, unsigned round, unsigned seed) {
  Shaper shaper(round, seed);
  shaper.set(message, message.GetDescriptor()->FindFieldByNumber(number), 0);
}

}  // namespace soma::golden
