// Where entries lie comes from the frame's list of touched actors, which names that of each entry.
#include "events/entry_reader.h"

#include <algorithm>
#include <functional>

#include "events/sealer.h"
#include "schemas/base/wire.h"

namespace soma::events {

namespace {

constexpr std::size_t kMostPlaces = 512 * 1024;

std::size_t hash_of(std::string_view tenant, std::string_view type, std::string_view id) {
  const std::hash<std::string_view> hash;
  return hash(id) ^ (hash(type) << 1) ^ (hash(tenant) << 2);
}

bool is(const v1::ActorRef& ref, const ActorKey& actor) {
  return ref.id() == actor.id && ref.type() == actor.type && ref.tenant() == actor.tenant;
}

// On serialized bytes: a frame may name a thousand actors, and none of them needs to be made.
std::size_t actor_of(std::string_view touch) {
  std::string_view ref, tenant, type, id;
  WireReader outer(touch);
  while (const auto field = outer.next())
    if (field->number == v1::ActorTouch::kActorFieldNumber) ref = field->value;
  WireReader inner(ref);
  while (const auto field = inner.next()) {
    if (field->number == v1::ActorRef::kTenantFieldNumber) tenant = field->value;
    if (field->number == v1::ActorRef::kTypeFieldNumber) type = field->value;
    if (field->number == v1::ActorRef::kIdFieldNumber) id = field->value;
  }
  return hash_of(tenant, type, id);
}

}  // namespace

std::optional<EntryReader::Index> EntryReader::index_of(std::string_view record) {
  Index out;
  WireReader frame(record);
  for (std::size_t entry = 0; const auto field = frame.next();) {
    if (field->number == v1::Frame::kTouchedFieldNumber) {
      out.push_back({actor_of(field->value), 0, 0});
    } else if (field->number == v1::Frame::kEntriesFieldNumber) {
      if (entry == out.size()) return {};
      out[entry].at = static_cast<std::uint32_t>(field->value.data() - record.data());
      out[entry++].size = static_cast<std::uint32_t>(field->value.size());
    }
  }
  if (!frame.ok()) return {};
  std::stable_sort(out.begin(), out.end(),
                   [](const Place& a, const Place& b) { return a.actor < b.actor; });
  return out;
}

Result<std::vector<v1::Entry>> EntryReader::take(std::string_view record, const Index& index,
                                                 const ActorKey& actor) const {
  std::vector<v1::Entry> out;
  const std::size_t wanted = hash_of(actor.tenant, actor.type, actor.id);
  auto place = std::lower_bound(index.begin(), index.end(), wanted,
                                [](const Place& p, std::size_t hash) { return p.actor < hash; });
  for (; place != index.end() && place->actor == wanted; ++place) {
    v1::Entry entry;
    const bool inside = std::size_t{place->at} + place->size <= record.size();
    if (!inside || !entry.ParseFromArray(record.data() + place->at, static_cast<int>(place->size)))
      return fail(Code::kCorrupt, "record is not a frame");
    if (!is(entry.actor(), actor)) continue;  // of the same hash
    if (log_.sealer() && entry.sealed_size() > 0)
      if (auto opened = log_.sealer()->open(entry); !opened) return tl::unexpected(opened.error());
    out.push_back(std::move(entry));
  }
  return out;
}

Result<std::vector<v1::Entry>> EntryReader::read(Position position, const ActorKey& actor) const {
  auto records = log_.read(position.partition, position.offset, 1);
  if (!records) return tl::unexpected(records.error());
  if (records->empty() || records->front().offset != position.offset)
    return fail(Code::kNotFound, "no record at position " + to_string(position));
  const std::string& record = records->front().bytes;
  if (const auto index = kept(position)) {
    auto found = take(record, *index, actor);
    if (found && !found->empty()) return found;  // else it is of another record, perhaps
  }
  auto index = index_of(record);
  auto found = index ? take(record, *index, actor) : fail(Code::kCorrupt, "record is not a frame");
  if (!found)
    return fail(found.error().code,
                "position " + to_string(position) + ": " + found.error().message);
  keep(position, std::make_shared<const Index>(std::move(*index)));
  return found;
}

std::shared_ptr<const EntryReader::Index> EntryReader::kept(Position at) const {
  std::lock_guard lock(mutex_);
  const auto it = kept_.find(at);
  return it == kept_.end() ? nullptr : it->second;
}

void EntryReader::keep(Position at, std::shared_ptr<const Index> index) const {
  std::lock_guard lock(mutex_);
  auto [it, fresh] = kept_.try_emplace(at);
  if (!fresh) places_ -= it->second->size();
  if (fresh) age_.push_back(at);
  places_ += index->size();
  it->second = std::move(index);
  for (; places_ > kMostPlaces && age_.size() > 1; age_.pop_front()) {
    const auto oldest = kept_.find(age_.front());
    places_ -= oldest->second->size();
    kept_.erase(oldest);
  }
}

}  // namespace soma::events
