// Rounds: commands are decided by their actors, gathered into frames, and answered when those are
// valid.
#include <algorithm>
#include <chrono>

#include "runtime/host/partition.h"
#include "runtime/host/stored_state.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

namespace {

constexpr std::uint64_t kNumberLater =
    ~0ULL;  // a send to another partition, until the round closes
constexpr std::size_t kFrameTargetBytes = 512 * 1024;
constexpr std::uint32_t kMaxCascade = 64;

constexpr std::size_t kQuickCommandBytes = 64 * 1024;

// decide and evolve take microseconds whatever the state: no thread of its own is worth its cost.
bool is_quick(const actors::ActorType& type, const std::string& command) {
  return command.size() <= kQuickCommandBytes &&
         (type.name() == "idempotency" || type.name() == "memory" || type.name() == "counter");
}

// It has no event before those of the tail: the store would know where the first one stands.
bool is_new(const Entity& entity, PartitionId id, const StateStore& store) {
  return !store.begins(id, entity.key(), Sequence{1});
}

std::int64_t steady_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Partition::pump() {
  if (phase_ != Phase::kServing && phase_ != Phase::kDraining && phase_ != Phase::kReadOnly) return;
  if (round_) return;
  if (want_checkpoint_ && !checkpointing_) {
    if (!in_flight_.empty()) return;  // states then are what the log holds
    write_checkpoint();
  }
  if (in_flight_.size() >= w_.parts.limits.frames_in_flight) return;
  if (!retry_.empty() || again_) {
    if (!in_flight_.empty()) return;  // they are recovered from what the log holds
    try_again();
  }
  if (queue_.empty()) {
    if (in_flight_.empty()) outcomes_.clear();  // what is asked for now, the ledger says
    if (phase_ == Phase::kDraining && in_flight_.empty() && !checkpointing_ && !want_checkpoint_) {
      std::vector<std::function<void()>> drained;
      drained.swap(drained_);
      for (auto& done : drained) done();
    }
    return;
  }
  round_ = true;
  ++rounds_;
  ++outstanding_;  // held while the round is being filled
  for (std::size_t n = 0; n < w_.parts.limits.frame_max_entries && !queue_.empty(); ++n) {
    Input input = std::move(queue_.front());
    queue_.pop_front();
    waits_no_more(input);
    dispatch(std::move(input));
  }
  if (--outstanding_ == 0) close_round();
}

std::shared_ptr<Entity> Partition::entity(const ActorKey& key) {
  auto it = entities_.find(key);
  if (it == entities_.end()) {
    const auto* type = w_.parts.catalog->find(key.type);
    if (!type) return nullptr;
    it = entities_.emplace(key, std::make_shared<Entity>(key, *type)).first;
  }
  it->second->last_used = ++use_clock_;
  it->second->used_ms = tick_ms_;
  return it->second;
}

void Partition::dispatch(Input input) {
  if (input.kind == Input::Kind::kRelay && input.position.source_partition() == id_.value)
    own_sends_.arrived(input.position.source_number(), input.actor);
  // To restore a parked actor is to report once more what its state still waits for.
  if (input.kind == Input::Kind::kEffect && outcomes_.contains(input.context.command_id())) return;
  if (auto parked = parked_.find(input.actor); parked != parked_.end() &&
                                               input.kind != Input::Kind::kRead &&
                                               input.kind != Input::Kind::kRestore) {
    if (parked->second.again && input.kind == Input::Kind::kClient)
      return retry_.push_back(std::move(input));  // what is parked runs first
    input.retried = true;
    return threw(std::move(input), "the actor is parked");
  }
  auto target = entity(input.actor);
  if (!target) {
    auto unknown = std::make_shared<Work>();
    unknown->decided.rejection = {Code::kInvalidArgument, "unknown actor type " + input.actor.type,
                                  "actor.type"};
    unknown->input = std::move(input);
    ++outstanding_;
    return decided(unknown);
  }
  ++outstanding_;
  input.order = ++next_order_;
  input.context.set_now_ms(w_.parts.clock->now_ms());
  input.context.set_partition(id_.value);
  auto work = std::make_shared<Work>(Work{std::move(input), {}});
  std::vector<StateStore::HistoryRow> tail;
  if (!std::exchange(target->asked, true)) tail = tail_history(target->key());
  // What is folded from the log is read from it, and that may take its time.
  if (is_quick(target->type(), work->input.command) && target->out == 0 &&
      (target->loaded || (tail.empty() && is_new(*target, id_, *w_.parts.store)))) {
    target->loaded = true;
    attend(*target, *work, w_);
    return decided(std::move(work));
  }
  ++target->out;
  target->executor(*w_.executors)
      .post([self = shared_from_this(), target, work, tail = std::move(tail),
             generation = generation_] {
        if (!target->loaded) {
          load_entity(*target, self->id_, *self->w_.entries, *self->w_.parts.store, tail,
                      &self->w_.metrics->restored_frames);
          // Of one that could not be restored nobody knows what it wants: what runs, runs on.
          if (work->decided.restored = !target->broken; work->decided.restored)
            work->decided.restored_effects = target->type().effects(target->key(), target->state());
        }
        attend(*target, *work, self->w_);
        self->post([self, target, work, generation] {
          --target->out;
          if (generation == self->generation_)
            self->decided(work);
          else
            self->abandon(work->input, self->decided_in_vain());
        });
      });
}

void Partition::decided(WorkPtr work) {
  Input& input = work->input;
  Decided& d = work->decided;
  if (d.restored && phase_ != Phase::kReadOnly)
    update_effects(input.actor, std::move(d.restored_effects), true);
  if (!d.thrown.empty()) forget_broken(input.actor);
  if (input.kind == Input::Kind::kRead) {
    if (!d.thrown.empty()) {
      input.on_state(fail(Code::kParked, "the actor could not be restored: " + d.thrown));
    } else {
      auto done = std::make_shared<Host::OnState>(std::move(input.on_state));
      aside_.push_back({[done, state = d.state, sequence = d.sequence](Position p) {
                          (*done)(StateView{state, sequence, p});
                        },
                        [this, done, actor = std::move(input.actor)](const Error& e) {
                          read_in_vain(actor, std::move(*done), e);
                        }});
    }
  } else if (input.kind == Input::Kind::kRestore) {
    if (!d.thrown.empty()) restore_later(input.actor);
  } else {
    if (!d.thrown.empty())
      threw(std::move(input), d.thrown);
    else
      take_entry(std::move(work));
  }
  if (--outstanding_ == 0) close_round();
}

void Partition::take_entry(WorkPtr work) {
  Input& input = work->input;
  Decided& d = work->decided;
  if (!d.entry) {
    w_.metrics->rejections.fetch_add(1, std::memory_order_relaxed);
    w_.metrics->refuse(d.rejection.code);
    if (input.kind == Input::Kind::kClient) {
      // What it saw must be durable before it is refused because of it.
      std::vector<Host::OnAccepted> all{std::move(input.done)};
      if (auto it = deciding_.find(input.context.command_id()); it != deciding_.end()) {
        for (auto& [hash, done] : it->second.waiting) all.push_back(std::move(done));
        deciding_.erase(it);
      }
      auto shared = std::make_shared<std::vector<Host::OnAccepted>>(std::move(all));
      aside_.push_back({[shared, e = d.rejection](Position) {
                          for (auto& done : *shared) done(tl::unexpected(e));
                        },
                        [shared](const Error& e) {
                          for (auto& done : *shared) done(tl::unexpected(e));
                        }});
      return;
    }
    log_warn("command refused by its actor", {{"actor", to_string(input.actor)},
                                              {"code", std::string(code_name(d.rejection.code))},
                                              {"reason", d.rejection.message}});
    d.entry = std::make_unique<v1::Entry>();
    *d.entry->mutable_actor() = actors::to_ref(input.actor);
    *d.entry->mutable_context() = std::move(input.context);
    d.entry->set_command(std::move(input.command));
    d.entry->set_rejected(d.rejection.message);
  }
  if (input.kind == Input::Kind::kRelay) *d.entry->mutable_input() = input.position;
  d.entry->set_request_hash(input.request_hash);
  const std::uint32_t count = w_.parts.log->partition_count();
  for (std::size_t i = 0; i < d.sends.size(); ++i) {
    auto& send = d.sends[i];
    auto* recorded = d.entry->add_sends();
    *recorded->mutable_to() = actors::to_ref(send.to);
    recorded->set_command(send.command);
    recorded->set_command_id(d.entry->context().command_id() + ">" + std::to_string(i));
    const PartitionId target = partition_of(send.to, count);
    // Nor does it go ahead of what was parked and is about to run, or of an earlier such send.
    if (target != id_ || input.depth >= kMaxCascade || redriven_.contains(send.to) ||
        own_sends_.under_way(send.to)) {
      if (target == id_) own_sends_.sent(send.to);
      recorded->set_number(kNumberLater);
      continue;
    }
    Input next;
    next.kind = Input::Kind::kLocal;
    next.actor = send.to;
    next.command = std::move(send.command);
    next.context = d.entry->context();
    next.context.set_command_id(recorded->command_id());
    next.context.set_causation_id(d.entry->events_size()
                                      ? d.entry->events(d.entry->events_size() - 1).event_id()
                                      : d.entry->context().command_id());
    next.depth = input.depth + 1;
    dispatch(std::move(next));
  }
  entries_.push_back(std::move(work));
}

// What could not be restored has decided nothing; the next command or read tries to restore it
// anew.
void Partition::forget_broken(const ActorKey& actor) {
  auto it = entities_.find(actor);
  if (it != entities_.end() && it->second->loaded && it->second->broken) entities_.erase(it);
}

// Tried once more on recovered state; then the actor is parked: its commands wait in order, others
// run on. What a client asked waits in memory, as nobody was told it is kept. What another actor
// sent is recorded as parked at once, so that it keeps its place and outlives a crash.
void Partition::threw(Input input, const std::string& what) {
  const bool ours = input.kind == Input::Kind::kClient || input.kind == Input::Kind::kEffect;
  if (ours && !input.retried) {
    input.retried = true;
    return retry_.push_back(std::move(input));
  }
  auto [parked, fresh] = parked_.try_emplace(input.actor);
  parked_changed_ = true;
  if (fresh) {
    parked->second.reason = what;
    w_.metrics->parked.fetch_add(1, std::memory_order_relaxed);
    log_error("actor parked", {{"actor", to_string(input.actor)}, {"reason", what}});
  }
  if (input.kind != Input::Kind::kClient) {
    if (!input.retried) parked->second.again = again_ = true;
    return park(std::move(input), what);
  }
  std::vector<std::pair<std::string, Host::OnAccepted>> duplicates;
  if (auto it = deciding_.find(input.context.command_id()); it != deciding_.end()) {
    duplicates = std::move(it->second.waiting);
    deciding_.erase(it);
  }
  const Error error{
      Code::kParked, "the actor is parked after a failure; an operator must redrive it", {}};
  publish_status();  // before anyone is told
  for (auto& [hash, done] : duplicates) done(tl::unexpected(error));
  input.done(tl::unexpected(error));
}

void Partition::park(Input input, const std::string& what) {
  auto& inputs = parked_[input.actor].inputs;
  const auto same = [&](const Input& i) {
    return i.context.command_id() == input.context.command_id();
  };
  if (input.kind == Input::Kind::kEffect && std::any_of(inputs.begin(), inputs.end(), same))
    return;  // the outcome of an earlier life of this node waits already
  if (input.order == 0) input.order = ++next_order_;
  if (!input.recorded) {
    auto work = std::make_shared<Work>();
    Decided& d = work->decided;
    d.entry = std::make_unique<v1::Entry>();
    *d.entry->mutable_actor() = actors::to_ref(input.actor);
    *d.entry->mutable_context() = input.context;
    d.entry->set_command(input.command);
    d.entry->set_parked(what);
    if (input.kind == Input::Kind::kRelay) *d.entry->mutable_input() = input.position;
    work->input = input;
    entries_.push_back(std::move(work));
  }
  input.kind = Input::Kind::kLocal;  // its place in the inbox is recorded
  input.recorded = true;
  // In the order of the log, though an earlier one may still have been with its actor.
  auto place = std::upper_bound(inputs.begin(), inputs.end(), input.order,
                                [](std::uint64_t o, const Input& i) { return o < i.order; });
  inputs.insert(place, std::move(input));
  ++parked_inputs_;
}

// Nothing is in flight and no round is open. In front of the queue: the parked, then those that
// threw once.
void Partition::try_again() {
  const bool had_no_room = parked_inputs_ >= kMaxParked;
  std::vector<Input> first;
  for (auto it = parked_.begin(); it != parked_.end();) {
    if (!it->second.again) {
      ++it;
      continue;
    }
    entities_.erase(it->first);  // recovered afresh
    parked_inputs_ -= it->second.inputs.size();
    for (Input& input : it->second.inputs) first.push_back(std::move(input));
    it = parked_.erase(it);
  }
  again_ = false;
  parked_changed_ = true;
  for (Input& input : retry_) {
    entities_.erase(input.actor);
    first.push_back(std::move(input));
  }
  retry_.clear();
  for (Input& input : first) {
    if (input.recorded) {
      input.retried = true;
      ++redriven_[input.actor];
      if (input.context.command_id().starts_with("effect:"))
        outcomes_.insert(input.context.command_id());
    }
    input.order = 0;
  }
  queue_.insert(queue_.begin(), std::make_move_iterator(first.begin()),
                std::make_move_iterator(first.end()));
  if (had_no_room) w_.ask_resend(id_);
}

// `appended`: the newest frame in flight was, after what the completion tells of was read. Then its
// validity proves both that memory is what the log holds and that nobody had taken the partition by
// then. An earlier frame proves only the first: another may have claimed behind it since.
void Partition::complete_later(Completion completion, bool appended) {
  const bool alone = !w_.parts.shared && !w_.parts.contested;
  if (!in_flight_.empty()) {
    auto& newest = *in_flight_.back();
    return (appended || alone ? newest.completions : newest.to_prove)
        .push_back(std::move(completion));
  }
  if (alone)
    return completion.valid(Position{id_, Offset{next_offset_.value ? next_offset_.value - 1 : 0}});
  to_prove_.push_back(std::move(completion));
  start_proof();
}

void Partition::close_round() {
  // What this round was decided on may lack what the store held.
  if (store_lost()) return fail_partition({Code::kUnknownOutcome, kStoreLost, {}});
  round_ = false;
  auto entries = std::move(entries_);
  auto aside = std::move(aside_);
  entries_.clear();
  aside_.clear();
  // Actors answer in any order. In the order of dispatch, what came first from a source also stands
  // first, whichever frame of the round it is in, and so do sends: a lost frame never leaves a hole
  // behind.
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a->input.order < b->input.order; });
  std::shared_ptr<PendingFrame> pending;
  v1::Frame frame;
  std::size_t bytes = 0;
  for (const auto& work : entries) {
    const std::size_t size = work->decided.entry->ByteSizeLong();
    if (pending && bytes + size > kFrameTargetBytes) {
      append_frame(std::move(pending), std::move(frame));
      frame = {};
      pending = nullptr;
      bytes = 0;
    }
    if (!pending) pending = std::make_shared<PendingFrame>();
    bytes += size;
    put_entry(*work, frame, *pending);
  }
  if (pending) append_frame(std::move(pending), std::move(frame));
  for (auto& completion : aside) complete_later(std::move(completion), !entries.empty());
  pump();
}

void Partition::put_entry(Work& work, v1::Frame& frame, PendingFrame& pending) {
  Input& input = work.input;
  Decided& d = work.decided;
  auto* touch = frame.add_touched();
  *touch->mutable_actor() = d.entry->actor();
  touch->set_events(static_cast<std::uint32_t>(d.entry->events_size()));
  touch->set_first_sequence(d.entry->events_size() ? d.entry->events(0).sequence()
                                                   : d.sequence.value);
  if (input.kind == Input::Kind::kRelay) {
    *frame.add_inputs() = input.position;
    pending.inputs.push_back(input.position);
  }
  for (auto& send : *d.entry->mutable_sends()) {
    if (send.number() == 0) continue;
    send.set_number(
        ++last_sent_[partition_of(actors::to_key(send.to()), w_.parts.log->partition_count())
                         .value]);
    v1::OutboxItem item;
    *item.mutable_send() = send;
    *item.mutable_cause() = d.entry->context();
    item.mutable_cause()->set_causation_id(
        d.entry->events_size() ? d.entry->events(d.entry->events_size() - 1).event_id()
                               : d.entry->context().command_id());
    *item.mutable_from() = d.entry->actor();
    pending.outbox.push_back(std::move(item));
  }
  if (d.entry->events_size() > 0) pending.effects.emplace_back(input.actor, std::move(d.effects));
  pending.events += static_cast<std::size_t>(d.entry->events_size()) + 1;
  if (input.kind == Input::Kind::kClient) {
    auto& answer = pending.answers.emplace_back();
    answer.done = std::move(input.done);
    answer.once = input.once;
    answer.row.sequence = d.sequence;
    answer.row.reply = d.entry->reply();
    if (!input.once) {
      answer.row.command_id = d.entry->context().command_id();
      answer.row.request_hash = std::move(input.request_hash);
      answer.row.actor = std::move(input.actor);
      answer.row.at_ms = d.entry->context().now_ms();
    }
  }
  frame.mutable_entries()->AddAllocated(d.entry.release());
}

void Partition::append_frame(std::shared_ptr<PendingFrame> pending, v1::Frame frame) {
  frame.set_time_ms(w_.parts.clock->now_ms());
  pending->began_us = steady_us();
  in_flight_.push_back(pending);
  if (planted(Bug::kAckBeforeDurable))
    for (auto& a : pending->answers)
      a.done(Accepted{a.row.reply, {id_, next_offset_}, a.row.sequence, false});
  writer_->append(std::move(frame), [self = shared_from_this(), pending, generation = generation_](
                                        const events::FrameWriter::Outcome& outcome) {
    self->post([self, pending, generation, outcome] {
      if (generation == self->generation_) self->frame_done(pending, outcome);
    });
  });
}

void Partition::frame_done(const std::shared_ptr<PendingFrame>& pending,
                           const events::FrameWriter::Outcome& outcome) {
  if (!outcome.valid) return fail_partition(outcome.error);
  in_flight_.pop_front();
  const events::ValidFrame& valid = outcome.frame;
  fence_.admit(*valid.frame, valid.hash);
  next_offset_ = valid.position.offset.next();
  last_offset_ = valid.position.offset;
  last_hash_ = valid.hash;
  add_to_tail(valid);
  auto& m = *w_.metrics;
  m.frames.fetch_add(1, std::memory_order_relaxed);
  m.entries.fetch_add(static_cast<std::uint64_t>(valid.frame->entries_size()),
                      std::memory_order_relaxed);
  m.events.fetch_add(pending->events, std::memory_order_relaxed);
  m.observe_commit(static_cast<std::uint64_t>(steady_us() - pending->began_us));
  observe(valid);
  for (auto& [done, row, once] : pending->answers) {
    done(Accepted{row.reply, valid.position, row.sequence, false});
    if (once) continue;
    row.position = valid.position;
    if (auto it = deciding_.find(row.command_id); it != deciding_.end()) {
      for (auto& [hash, again] : it->second.waiting) answer_recorded(row, hash, again);
      deciding_.erase(it);
    }
    recent_[row.command_id] = std::move(row);
  }
  for (auto& completion : pending->completions) completion.valid(valid.position);
  for (auto& completion : pending->to_prove) complete_later(std::move(completion), true);
  for (auto& [actor, effects] : pending->effects) update_effects(actor, std::move(effects), false);
  for (auto& item : pending->outbox) {
    w_.relay(id_, item);
    const std::pair key{target_of(item).value, item.send().number()};
    outbox_[key] = std::move(item);
  }
  for (const auto& input : pending->inputs) {
    high_water_[input.source_partition()] = input.source_number();
    w_.acknowledge(PartitionId{input.source_partition()}, id_, input.source_number());
  }
  events_since_checkpoint_ += pending->events;
  if (events_since_checkpoint_ >= w_.parts.limits.checkpoint_every_events) want_checkpoint_ = true;
  publish_status();
  pump();
}

}  // namespace soma::runtime
