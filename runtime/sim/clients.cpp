// Asking, waiting, asking again.
#include "runtime/sim/clients.h"

#include <algorithm>

namespace soma::sim {

namespace {

// Then the client asks again. Longer than a node tries to reach an owner (5 s, and a call of 2.5):
// else what it asked first may be carried out after it was refused what it asked last.
constexpr std::int64_t kPatienceUs = 8'000'000;
constexpr std::int64_t kNoAnswerAtAllUs = 90'000'000;  // then the host has forgotten it
constexpr std::int64_t kPace = 50;                     // commands a second, on the mean
constexpr std::int64_t kBurstUs = 3'000'000;           // by so much they may be ahead of it

v1::Principal principal_of(const Op& op) {
  v1::Principal p;
  if (op.subject.empty()) return p;
  p.set_subject(op.subject);
  p.set_tenant(op.actor.tenant);
  return p;
}

bool settles(const Error& error) { return code_disposition(error.code) == Disposition::kReply; }

std::string outcome(const Result<runtime::Accepted>& r) {
  if (!r) return std::string(code_name(r.error().code)) + ": " + r.error().message;
  return (r->replayed ? "replayed " : "accepted ") + to_string(r->position);
}

}  // namespace

Clients::Clients(Ground& ground, Oracle& oracle, Pick pick, std::vector<Workload*> workloads,
                 std::size_t count)
    : ground_(ground),
      oracle_(oracle),
      pick_(std::move(pick)),
      workloads_(std::move(workloads)),
      count_(count),
      rng_(ground.seed, "clients") {}

void Clients::start() {
  for (std::size_t i = 0; i < count_; ++i) think(i);
}

void Clients::think(std::size_t client) {
  if (!issuing_) return;
  const std::int64_t thought =
      rng_.chance(700'000) ? rng_.between(10, 2'000) : rng_.between(1'000, 60'000);
  ground_.time.after(rest() + thought, [this, client] {
    if (!issuing_) return;
    if (rng_.chance(120'000) && !all_.empty())
      read(client);
    else
      issue(client);
  });
}

// A burst, and then quiet until the mean is down to the pace: what is done faster is no more of a
// test, and in the quiet actors leave memory, checkpoints are made and timers fire.
std::int64_t Clients::rest() const {
  const auto due_us = static_cast<std::int64_t>(oracle_.decided()) * 1'000'000 / kPace;
  const std::int64_t ahead = due_us - ground_.time.now_us();
  return ahead > kBurstUs ? ahead : 0;
}

void Clients::issue(std::size_t client) {
  auto command = std::make_shared<Command>();
  command->workload = rng_.pick(workloads_);
  command->op = command->workload->next(rng_, ground_);
  command->id = command->op.actor.tenant + ":key-" + std::to_string(++issued_);
  all_.push_back(command);
  ++open_;
  if (command->op.reads) return prepare(client, command);
  send(client, command, false);
}

void Clients::close(Workload* workload, Op op) {
  auto command = std::make_shared<Command>();
  command->workload = workload;
  command->op = std::move(op);
  command->id = command->op.actor.tenant + ":key-" + std::to_string(++issued_);
  all_.push_back(command);
  ++open_;
  send(0, command, false);
}

// What the command needs is read at the process that will get it, until that answers.
void Clients::prepare(std::size_t client, const std::shared_ptr<Command>& command) {
  auto done = std::make_shared<bool>(false);
  const auto again = [this, client, command, done] {
    if (std::exchange(*done, true)) return;
    ground_.time.after(rng_.between(1'000, 50'000),
                       [this, client, command] { prepare(client, command); });
  };
  Process* process = pick_();
  if (!process) return again();
  process->host().read(*command->op.reads, [this, client, command, done, again,
                                            life = process->shared_life()](
                                               Result<runtime::StateView> view) {
    if (*done || !life->enter()) return;
    if (!view) return again();
    *done = true;
    auto made = view->state ? command->op.with_read(*view->state) : std::nullopt;
    ground_.time.after(rng_.between(10, 20'000), [this, client, command, made = std::move(made)] {
      if (made) {
        command->op.command = *made;
        return send(client, command, false);
      }
      command->dropped = true;
      --open_;
      think(client);
    });
  });
  ground_.time.after(kPatienceUs, again);
}

void Clients::read(std::size_t client) {
  Process* process = pick_();
  if (!process) return think(client);
  const ActorKey actor = rng_.pick(all_)->op.actor;
  const Sequence told = told_[actor];
  process->host().read(
      actor, [this, life = process->shared_life(), actor, told](Result<runtime::StateView> view) {
        if (!life->enter() || !view) return;
        ground_.note(life->name + " shows " + to_string(actor) + " at " +
                     std::to_string(view->sequence.value));
        oracle_.showed(actor, *view, told);
        told_[actor] = std::max(told_[actor], view->sequence);
      });
  think(client);
}

void Clients::send(std::size_t client, const std::shared_ptr<Command>& command, bool echo) {
  Process* process = pick_();
  if (!process) return later(client, command, echo);
  if (command->tries++ == 0) command->floor = told_[command->op.actor];
  auto attempt = std::make_shared<Attempt>();
  attempt->command = command;
  attempt->life = process->shared_life();
  attempt->echo = echo;
  attempts_.emplace_back(client, attempt);
  const int copies = ground_.faults.draw(Fault::kDoubleSubmit) ? 2 : 1;
  command->doubled |= copies > 1;
  for (int i = 0; i < copies; ++i)
    process->host().submit(
        {command->op.actor,
         command->op.command,
         command->id,
         "hash of " + command->id,
         principal_of(command->op),
         {},
         {}},
        [this, client, attempt](Result<runtime::Accepted> r) { answer(client, attempt, r); });
  watch(attempt);
  ground_.time.after(kPatienceUs, [this, client, attempt] {
    heard(client, attempt, fail(Code::kUnknownOutcome, "simulated: no answer in time"));
  });
}

// A process that runs and never answers has lost the request.
void Clients::watch(const std::shared_ptr<Attempt>& attempt) {
  sent_.push_back(attempt);
  const std::int64_t began = ground_.time.now_us();
  ground_.time.after(kNoAnswerAtAllUs, [this, attempt, began] {
    if (!attempt->answered && attempt->life->alive && attempt->life->paused_until_us < began)
      oracle_.complain("I17", {}, attempt->life->name + " never answered " + attempt->command->id);
  });
}

// On the host's stack: the process says so now, whatever the network makes of it.
void Clients::answer(std::size_t client, const std::shared_ptr<Attempt>& attempt,
                     const Result<runtime::Accepted>& result) {
  if (!attempt->life->enter()) return;
  attempt->answered = true;
  const auto& command = *attempt->command;
  ground_.note(attempt->life->name + " answers " + command.id + " " + outcome(result));
  if (result)
    oracle_.replied(command.id, *result);
  else if (settles(result.error()) && !attempt->ended)  // else its client has long asked again
    oracle_.refused(attempt->life->name, command.op.actor, command.id, result.error());
  if (!result && result.error().code == Code::kOverloaded) ground_.faults.count(Fault::kQueueFull);
  if (!result && result.error().code == Code::kParked) parked_.insert(command.op.actor);
  if (attempt->life->cut_off(attempt->life->unheard_until_us)) return;
  if (ground_.faults.draw(Fault::kLostReply)) return;
  ground_.time.after(rng_.between(10, 500),
                     [this, client, attempt, result] { heard(client, attempt, result); });
}

void Clients::heard(std::size_t client, const std::shared_ptr<Attempt>& attempt,
                    Result<runtime::Accepted> result) {
  if (attempt->ended) return;
  attempt->ended = true;
  std::erase_if(attempts_, [&](const auto& a) { return a.second == attempt; });
  const auto& command = attempt->command;
  if (result) {
    if (command->accepted && (command->accepted->reply != result->reply ||
                              command->accepted->position != result->position ||
                              command->accepted->sequence != result->sequence))
      oracle_.complain("I5", result->position, command->id + " got two different answers");
    Sequence& told = told_[command->op.actor];
    told = std::max(told, result->sequence);
    if (!command->accepted) {
      oracle_.in_real_time(command->id, command->floor, *result);
      command->accepted = *result;
      ++acknowledged_;
      command->workload->accepted(command->op);
    }
    return attempt->echo ? void() : settle(client, command);
  }
  const Error& error = result.error();
  const bool over = settles(error) || (command->op.poison && error.code == Code::kParked);
  if (!over) return later(client, command, attempt->echo);
  if (command->accepted && settles(error))
    oracle_.complain("I5", command->accepted->position,
                     command->id + " was acknowledged, and later refused");
  command->refused = error;
  if (!attempt->echo) settle(client, command);
}

void Clients::later(std::size_t client, const std::shared_ptr<Command>& command, bool echo) {
  if (echo && !issuing_) return;
  const std::int64_t back_off =
      std::min<std::int64_t>(500'000, 2'000LL << std::min(command->tries, 8u));
  ground_.time.after(rng_.between(back_off / 2, back_off),
                     [this, client, command, echo] { send(client, command, echo); });
}

void Clients::settle(std::size_t client, const std::shared_ptr<Command>& command) {
  --open_;
  if (command->accepted && rng_.chance(60'000))  // ask once more, much later
    ground_.time.after(rng_.between(10'000, 3'000'000), [this, client, command] {
      if (issuing_) send(client, command, true);
    });
  think(client);
}

void Clients::died(const Life* life) {
  std::vector<std::pair<std::size_t, std::shared_ptr<Attempt>>> cut;
  for (const auto& [client, attempt] : attempts_)
    if (attempt->life.get() == life && !attempt->answered) cut.emplace_back(client, attempt);
  for (const auto& [client, attempt] : cut)
    ground_.time.after(rng_.between(10, 5'000), [this, client = client, attempt = attempt] {
      heard(client, attempt, fail(Code::kUnknownOutcome, "simulated: connection lost"));
    });
}

void Clients::check_answered() {
  for (const auto& attempt : sent_)
    if (!attempt->answered && attempt->life->alive)
      return oracle_.complain("I17", {},
                              attempt->life->name + " never answered " + attempt->command->id);
}

void Clients::finish() {
  for (const auto& command : all_) {
    if (command->dropped) continue;
    if (command->accepted && !oracle_.holds(command->id))
      oracle_.complain("I3", command->accepted->position,
                       command->id + " was acknowledged and is lost");
    if (command->refused && !command->accepted && !command->doubled && oracle_.holds(command->id))
      oracle_.complain("I5", {}, command->id + " was refused and is recorded");
    if (!command->accepted && !command->refused)
      oracle_.complain("I17", {}, command->id + " never got an answer");
  }
}

}  // namespace soma::sim
