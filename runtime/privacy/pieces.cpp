// One walk over the bytes each way.
#include "runtime/privacy/pieces.h"

#include <algorithm>

#include "schemas/base/wire.h"

namespace soma::runtime::privacy {

namespace {

using Do = FieldPlan::Do;
using Leave = FieldPlan::Leave;
constexpr std::uint32_t kMapValue = 2;

std::string_view first(std::string_view bytes, std::uint32_t number) {
  WireReader reader(bytes);
  while (const auto f = reader.next())
    if (f->number == number && f->delimited) return f->value;
  return {};
}

class Cutter {
 public:
  Cutter(const Plans& plans, const std::string& subject,
         const std::function<std::string(const std::string&)>& alias, Skeleton& out)
      : plans_(plans), subject_(subject), alias_(alias), out_(out) {}

  // False: the bytes are no message.
  bool walk(const Plan& plan, std::string_view bytes, std::string& to) {
    levels_.push_back({&plan, bytes});
    WireReader reader(bytes);
    while (const auto f = reader.next()) {
      const FieldPlan* todo = f->delimited ? plan.find(f->number) : nullptr;
      if (!todo) {
        to.append(f->whole);
        continue;
      }
      path_.insert(path_.end(), {f->number, f->occurrence});
      field(*todo, *f, to);
      path_.resize(path_.size() - 2);
    }
    levels_.pop_back();
    return reader.ok();
  }

 private:
  struct Level {
    const Plan* plan;
    std::string_view bytes;
  };

  void field(const FieldPlan& todo, const WireField& f, std::string& to) {
    switch (todo.act) {
      case Do::kCut:
        return put_delimited(to, f.number, cut(todo, f.value));
      case Do::kCutValue:
        return cut_value(todo, f, to);
      case Do::kWalk:
        return inside(todo.nested, f, to);
      case Do::kSend: {
        v1::ActorRef target;
        const auto ref = first(levels_.back().bytes, v1::Send::kToFieldNumber);
        target.ParseFromArray(ref.data(), static_cast<int>(ref.size()));
        const Plan* plan = plans_.command_of(target.type());
        if (!plan) {
          to.append(f.whole);
          return;
        }
        return inside(plan, f, to);
      }
    }
  }

  // What should be a message and is none is cut as a whole.
  void inside(const Plan* plan, const WireField& f, std::string& to) {
    std::string inner;
    const std::size_t depth = levels_.size(), at = path_.size();
    if (!walk(*plan, f.value, inner)) {
      levels_.resize(depth);
      path_.resize(at);
      forget_inside();
      inner = cut({Do::kCut, Leave::kNothing, {}, nullptr}, f.value);
    }
    put_delimited(to, f.number, inner);
  }

  // Pieces of the place where the walk stands.
  void forget_inside() {
    for (auto group = out_.cut.begin(); group != out_.cut.end();) {
      auto& pieces = *group->second.mutable_pieces();
      const auto here = [&](const v1::SealedPiece& p) {
        return static_cast<std::size_t>(p.path_size()) > path_.size() &&
               std::equal(path_.begin(), path_.end(), p.path().begin());
      };
      while (!pieces.empty() && here(pieces[pieces.size() - 1])) pieces.RemoveLast();
      group = pieces.empty() ? out_.cut.erase(group) : std::next(group);
    }
  }

  void cut_value(const FieldPlan& todo, const WireField& f, std::string& to) {
    std::string inner;
    WireReader reader(f.value);
    while (const auto part = reader.next()) {
      if (part->number != kMapValue || !part->delimited) {
        inner.append(part->whole);
        continue;
      }
      path_.insert(path_.end(), {part->number, part->occurrence});
      put_delimited(inner, part->number, cut(todo, part->value));
      path_.resize(path_.size() - 2);
    }
    put_delimited(to, f.number, inner);
  }

  // Keeps the value aside; what to leave in its place.
  std::string cut(const FieldPlan& todo, std::string_view value) {
    Subjects subjects = owners(todo, value);
    std::erase_if(subjects, [](const auto& s) { return !is_person(s); });
    const bool names = todo.leave == Leave::kAlias || todo.leave == Leave::kSuffix;
    if (subjects.empty() && !names) subjects.insert(is_person(subject_) ? subject_ : kUnknown);
    if (value.empty() || subjects.empty()) return std::string(value);
    std::string left;
    switch (todo.leave) {
      case Leave::kErased:
        left = kErased;
        break;
      case Leave::kJson:
        left = "{}";
        break;
      case Leave::kNothing:
        break;
      case Leave::kAlias:
        left = alias_(*subjects.begin());
        break;
      case Leave::kSuffix: {
        const std::string suffix = "/" + *subjects.begin();
        if (!value.ends_with(suffix)) return std::string(value);
        left = std::string(value.substr(0, value.size() - suffix.size() + 1)) +
               alias_(*subjects.begin());
        break;
      }
    }
    auto* piece = out_.cut[subjects].add_pieces();
    piece->mutable_path()->Add(path_.begin(), path_.end());
    piece->set_value(value.data(), value.size());
    return left;
  }

  Subjects owners(const FieldPlan& todo, std::string_view value) const {
    if (todo.leave == Leave::kAlias) return {std::string(value)};
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level)
      for (const auto& name : {todo.owner, todo.owner + "s"}) {
        const auto it = level->plan->names.find(name);
        if (it == level->plan->names.end()) continue;
        Subjects found;
        WireReader reader(level->bytes);
        while (const auto f = reader.next())
          if (f->number == it->second && f->delimited && !f->value.empty()) found.emplace(f->value);
        if (!found.empty()) return found;
      }
    return {subject_};
  }

  const Plans& plans_;
  const std::string& subject_;
  const std::function<std::string(const std::string&)>& alias_;
  Skeleton& out_;
  std::vector<Level> levels_;
  std::vector<std::uint32_t> path_;
};

class Mender {
 public:
  explicit Mender(const v1::SealedPieces& pieces) : pieces_(pieces) {}

  bool mend(std::string_view bytes, std::string& out) {
    const std::size_t at = path_.size();
    WireReader reader(bytes);
    while (const auto f = reader.next()) {
      path_.insert(path_.end(), {f->number, f->occurrence});
      if (!f->delimited || !leads_here()) {
        out.append(f->whole);
      } else if (static_cast<std::size_t>(pieces_.pieces(next_).path_size()) == path_.size()) {
        put_delimited(out, f->number, pieces_.pieces(next_++).value());
      } else {
        std::string inner;
        if (!mend(f->value, inner)) return false;
        put_delimited(out, f->number, inner);
      }
      path_.resize(at);
    }
    return reader.ok();
  }
  bool done() const { return next_ == pieces_.pieces_size(); }

 private:
  bool leads_here() const {
    if (next_ == pieces_.pieces_size()) return false;
    const auto& path = pieces_.pieces(next_).path();
    return static_cast<std::size_t>(path.size()) >= path_.size() &&
           std::equal(path_.begin(), path_.end(), path.begin());
  }

  const v1::SealedPieces& pieces_;
  int next_ = 0;  // in the order of the bytes
  std::vector<std::uint32_t> path_;
};

}  // namespace

std::string alias_of(const std::string& key_id) { return "erased-" + key_id.substr(0, 12); }

Skeleton cut(const Plans& plans, const Plan& entry, std::string_view bytes,
             const std::string& subject,
             const std::function<std::string(const std::string& subject)>& alias) {
  Skeleton out;
  std::string left;
  if (!Cutter(plans, subject, alias, out).walk(entry, bytes, left)) return {std::string(bytes), {}};
  out.bytes = std::move(left);
  return out;
}

Result<std::string> put_back(std::string_view bytes, const v1::SealedPieces& pieces) {
  Mender mender(pieces);
  std::string out;
  if (!mender.mend(bytes, out) || !mender.done())
    return fail(Code::kCorrupt, "sealed personal data does not fit its entry");
  return out;
}

}  // namespace soma::runtime::privacy
