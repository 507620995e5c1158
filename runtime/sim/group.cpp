// Sessions, shares, and turns in order for each member.
#include "runtime/sim/group.h"

#include <algorithm>
#include <utility>

namespace soma::sim {

namespace {
constexpr std::int64_t kReleaseUs = 3'000'000;  // then a partition is passed on though in use
}  // namespace

class Group::Seat final : public events::Membership {
 public:
  Seat(Group& group, MemberPtr member) : group_(group), member_(std::move(member)) {}
  ~Seat() override { member_->on_change = nullptr; }
  std::vector<PartitionId> given() const override {
    return {member_->given.begin(), member_->given.end()};
  }
  void released(PartitionId partition) override { group_.released(member_, partition); }
  void leave() override { member_->leaving = group_.changed_ = true; }
  bool left() const override { return member_->left; }
  Status health() const override { return {}; }

 private:
  Group& group_;
  MemberPtr member_;
};

Group::Group(Ground& ground, std::uint32_t partitions)
    : ground_(ground),
      rng_(ground.seed, "group"),
      session_us_(rng_.pick(std::vector<std::int64_t>{400'000, 2'000'000, 6'000'000})),
      places_(partitions) {}

void Group::start() { look(); }

void Group::shuffle() {
  ground_.note("the group shares out anew");
  share_out(true);
}

std::unique_ptr<events::Membership> Group::join(std::shared_ptr<Life> life,
                                                events::Membership::OnChange on_change) {
  auto member = std::make_shared<Member>();
  member->life = std::move(life);
  member->on_change = std::move(on_change);
  member->seen_us = ground_.time.now_us();
  members_.push_back(member);
  changed_ = true;
  return std::make_unique<Seat>(*this, member);
}

bool Group::sees(const Member& m) const {
  return m.life->alive && !m.life->paused() && !m.life->cut_off(m.life->log_cut_until_us);
}

void Group::look() {
  ground_.time.after(rng_.between(10'000, 100'000), [this] {
    if (watch() || std::exchange(changed_, false)) share_out(false);
    move();
    look();
  });
}

bool Group::watch() {
  const std::int64_t now = ground_.time.now_us();
  bool changed = false;
  for (const auto& m : members_) {
    if (sees(*m)) {
      m->seen_us = now;
      if (m->in || m->left) continue;
      m->in = changed = true;  // it learns of its loss, and begins with nothing
      for (const PartitionId p : std::exchange(m->given, {})) tell(m, p, Turn::kLost);
    } else if (m->in && now - m->seen_us > session_us_) {
      ground_.note("the group misses " + m->life->name);
      m->in = false;
      changed = true;
      ++m->stay;
      for (auto& place : places_)
        if (place.holder == m) place = {nullptr, place.wanted, -1};
    }
  }
  std::erase_if(members_, [](const auto& m) { return !m->in && !m->life->alive; });
  return changed;
}

// Who has a partition keeps it, as far as the shares allow.
void Group::share_out(bool anew) {
  std::vector<MemberPtr> may;
  for (const auto& m : members_)
    if (m->in && !m->leaving) may.push_back(m);
  if (may.empty()) {
    for (auto& place : places_) place.wanted = nullptr;
    return;
  }
  if (anew) {
    for (auto& place : places_) place.wanted = rng_.pick(may);
    return;
  }
  const auto share = [&](const MemberPtr& m) {
    return std::count_if(places_.begin(), places_.end(),
                         [&](const Place& place) { return place.wanted == m; });
  };
  const auto least = [&] {
    return *std::min_element(may.begin(), may.end(),
                             [&](const auto& a, const auto& b) { return share(a) < share(b); });
  };
  for (auto& place : places_)
    if (std::find(may.begin(), may.end(), place.wanted) == may.end()) place.wanted = nullptr;
  for (auto& place : places_)
    if (!place.wanted) place.wanted = least();
  for (auto& place : places_)
    if (const auto to = least(); share(place.wanted) > share(to) + 1) place.wanted = to;
}

void Group::move() {
  const std::int64_t now = ground_.time.now_us();
  for (std::uint32_t i = 0; i < places_.size(); ++i) {
    Place& place = places_[i];
    const PartitionId p{i};
    if (place.holder && place.holder != place.wanted) {
      if (place.asked_us < 0) {
        place.asked_us = now;
        tell(place.holder, p, Turn::kAskedBack);
      }
      if (now - place.asked_us > kReleaseUs) place.holder = nullptr;
    }
    if (place.holder || !place.wanted) continue;
    place = {place.wanted, place.wanted, -1};
    tell(place.holder, p, Turn::kGiven);
  }
  for (const auto& m : members_)
    if (m->leaving && std::none_of(places_.begin(), places_.end(),
                                   [&](const Place& place) { return place.holder == m; }))
      m->in = !(m->left = true);
}

void Group::tell(const MemberPtr& member, PartitionId partition, Turn turn) {
  member->next_turn_us =
      std::max(member->next_turn_us + 1, ground_.time.now_us() + rng_.between(100, 100'000));
  tell_at(member->next_turn_us, member, partition, turn, member->stay);
}

void Group::tell_at(std::int64_t when_us, const MemberPtr& member, PartitionId partition, Turn turn,
                    std::uint64_t stay) {
  ground_.time.at(when_us, [this, member, partition, turn, stay] {
    Life& life = *member->life;
    if (!life.alive || !member->on_change || member->stay != stay) return;
    if (!sees(*member))  // heard when it polls again
      return tell_at(
          std::max({life.paused_until_us, life.log_cut_until_us, ground_.time.now_us() + 1'000}),
          member, partition, turn, stay);
    if (turn == Turn::kGiven)
      member->given.insert(partition);
    else
      member->given.erase(partition);
    ground_.note(life.name +
                 (turn == Turn::kGiven  ? " is given p"
                  : turn == Turn::kLost ? " has lost p"
                                        : " is asked for p") +
                 std::to_string(partition.value));
    member->on_change(partition, turn);
  });
}

void Group::released(const MemberPtr& member, PartitionId partition) {
  Place& place = places_[partition.value];
  if (place.holder != member || place.asked_us < 0) return;
  place = {nullptr, place.wanted, -1};
}

}  // namespace soma::sim
