// Wiring a host, and tearing it down as a kill does.
#include "runtime/sim/process.h"

#include <algorithm>

namespace soma::sim {

Process::Process(ProcessParts parts)
    : parts_(std::move(parts)),
      life_(std::make_shared<Life>(*parts_.ground, parts_.name)),
      log_(std::make_unique<WireLog>(life_, *parts_.log,
                                     Rng(parts_.ground->seed, "wire " + parts_.name))),
      clock_(std::make_unique<SimClock>(life_)),
      store_(make_store_face(life_, *parts_.disk)),
      runner_(make_runner(life_, *parts_.outside, memories_)) {
  for (std::uint32_t p = 0; p < parts_.log->partition_count(); ++p)
    cursor_.next[p] = parts_.log->end(PartitionId{p});
}

std::unique_ptr<Process> Process::start(const ProcessParts& parts) {
  std::unique_ptr<Process> p(new Process(parts));
  auto executors =
      make_executors(parts.order, p->life_, Rng(parts.ground->seed, "tasks " + parts.name));
  p->tasks_ = executors.tasks;
  runtime::HostParts host;
  host.log = p->log_.get();
  host.catalog = parts.catalog;
  host.clock = p->clock_.get();
  host.effects = p->runner_.get();
  host.store = p->store_.get();
  host.node_id = parts.name;
  host.limits = parts.limits;
  if (parts.group) {
    p->member_ = std::make_unique<Member>(Member::Parts{
        p->life_, p->log_.get(), p->clock_.get(), parts.catalog, parts.network, parts.group,
        parts.stands_by,
        [raw = p.get()](const events::ValidFrame& frame) { raw->memories_->take(frame); }});
    host.address = parts.name;
    host.shared = p->member_->shared();
  }
  host.contested = !parts.group;
  host.observers.push_back([raw = p.get()](const events::ValidFrame& frame) {
    if (!raw->life_->enter()) return;
    raw->life_->serving = true;
    raw->parts_.oracle->observed(raw->cursor_, frame);
    if (!raw->member_) raw->memories_->take(frame);
  });
  auto started = runtime::start_host_on(std::move(host), std::move(executors.factory));
  if (!started) {
    parts.ground->note(parts.name + " does not start: " + started.error().message);
    p->life_->alive = false;
    return nullptr;
  }
  p->host_ = std::move(*started);
  if (p->member_) p->member_->serve(*p->host_);
  if (parts.views) {
    p->feed_ = std::make_shared<ViewFeed>(p->life_, *p->log_, *parts.views, *parts.oracle);
    p->feed_->start();
  }
  parts.ground->note(parts.name + " starts");
  return p;
}

bool Process::serves_all() const {
  const auto open = host_->status();
  return open.size() == parts_.log->partition_count() &&
         std::all_of(open.begin(), open.end(), [](const auto& s) { return s.serving; });
}

void Process::stop() {
  stopping = true;
  if (member_)
    member_->leave();
  else
    host_->drain(0);
}

Process::~Process() {
  life_->alive = false;
  feed_.reset();
  if (member_) member_->close();
  log_->die();
  if (tasks_) tasks_->drop();
  host_.reset();
}

}  // namespace soma::sim
