// A window of records for each partition; what is done at its front is committed.
#include "runtime/integration/inbox.h"

#include <algorithm>
#include <boost/json/parse.hpp>

#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime::integration {

namespace json = boost::json;

namespace {

constexpr auto kCommitEvery = std::chrono::milliseconds(100);
constexpr auto kLongestPause = std::chrono::seconds(60);
constexpr auto kNodePause = std::chrono::milliseconds(500);  // while the node is in trouble
constexpr auto kCloseWait = std::chrono::seconds(2);
constexpr int kBusyPollMs = 2;
constexpr int kIdlePollMs = 100;

// Code and sentence of a problem answer.
std::pair<std::string, std::string> problem_in(const http::Response& response) {
  boost::system::error_code bad;
  const auto parsed = json::parse(response.body, bad);
  const auto* o = bad ? nullptr : parsed.if_object();
  const auto text = [&](const char* name) {
    const auto* v = o ? o->if_contains(name) : nullptr;
    return v && v->is_string() ? std::string(v->get_string()) : std::string();
  };
  std::string code = text("code");
  if (code.empty()) code = "status_" + std::to_string(response.status);
  return {std::move(code), text("detail")};
}

bool may_be_tried_again(const http::Response& response) {
  if (response.status >= 500) return response.status != 501;
  if (response.status == 429) return true;
  // The same id is being applied at this moment.
  return response.status == 409 &&
         std::any_of(response.headers.begin(), response.headers.end(),
                     [](const auto& h) { return h.first == "Retry-After"; });
}

}  // namespace

struct Inbox::Answers {
  std::mutex mutex;
  std::vector<std::pair<std::shared_ptr<Item>, http::Response>> all;
};

Inbox::Inbox(InboxParts parts) : parts_(std::move(parts)), answers_(std::make_shared<Answers>()) {
  thread_ = std::thread([this] {
    name_thread("soma-inbox");
    run();
  });
}

Inbox::~Inbox() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  thread_.join();
}

std::string Inbox::dead_letters_of(const std::string& topic) const {
  for (const auto& t : inbound_topics())
    if (topic == parts_.topic_prefix + std::string(t.name))
      return parts_.topic_prefix + std::string(t.dead_letters);
  return parts_.topic_prefix + std::string(inbound_topics().front().dead_letters);
}

void Inbox::count(const Item& item, const char* outcome) {
  parts_.metrics
      ->counter("soma_inbox_records_total", "Records of integrators, by what became of them",
                {{"topic", item.record.topic}, {"outcome", outcome}})
      .add();
}

void Inbox::refuse(Item& item, std::string type, std::string message) {
  item.refusal = {std::move(type), std::move(message), item.attempts};
  item.stage = Item::Stage::kRefused;
}

void Inbox::take(events::TopicRecord record) {
  auto item = std::make_shared<Item>();
  item->record = std::move(record);
  if (is_ours(item->record)) {
    item->stage = Item::Stage::kDone;
  } else if (auto command = decode_command(item->record); !command) {
    refuse(*item, std::string(code_name(command.error().code)), command.error().message);
  } else if (!command->token && !parts_.trusted_producers) {
    refuse(*item, std::string(code_name(Code::kUnauthenticated)),
           "ce_somatoken is missing: send a token of the tenant as this header");
  } else {
    item->command = std::move(*command);
  }
  auto& line = lines_[{item->record.topic, item->record.partition.value}];
  line.items.push_back(item);
  if (!line.paused && line.items.size() >= kWindow) {
    line.paused = true;
    receiver_->pause(item->record.topic, item->record.partition, true);
  }
}

void Inbox::begin(const std::shared_ptr<Item>& item) {
  item->stage = Item::Stage::kRunning;
  parts_.apply(*item->command, [answers = answers_, item](http::Response response) {
    std::lock_guard lock(answers->mutex);
    answers->all.emplace_back(item, std::move(response));
  });
}

void Inbox::end(Item& item, const http::Response& response) {
  if (response.status < 300) {
    item.stage = Item::Stage::kDone;
    const bool again = std::any_of(response.headers.begin(), response.headers.end(),
                                   [](const auto& h) { return h.first == "Idempotent-Replayed"; });
    return count(item, again ? "duplicate" : "applied");
  }
  auto [code, message] = problem_in(response);
  if (!may_be_tried_again(response)) return refuse(item, std::move(code), std::move(message));
  item.stage = Item::Stage::kWaiting;
  if (!parts_.ready()) {
    item.not_before = Clock::now() + kNodePause;
    return;
  }
  if (++item.attempts >= kMaxAttempts) return refuse(item, std::move(code), std::move(message));
  const auto pause = std::min<std::chrono::milliseconds>(
      parts_.first_pause * (1 << (item.attempts - 1)), kLongestPause);
  item.not_before = Clock::now() + pause;
}

bool Inbox::start_what_may(bool stopping) {
  const auto now = Clock::now();
  bool running = false;
  for (auto& [place, line] : lines_) {
    std::set<std::string> held;  // keys of which an earlier record is not done
    // By index: an answer may come within begin(), but it is taken later.
    for (std::size_t i = 0; i < line.items.size(); ++i) {
      const auto& item = line.items[i];
      if (item->stage == Item::Stage::kDone || item->stage == Item::Stage::kRefused) continue;
      const bool first = held.insert(item->record.key).second;
      const bool may = first && !stopping && item->not_before <= now;
      if (may && item->stage == Item::Stage::kWaiting) begin(item);
      running |= item->stage == Item::Stage::kRunning;
    }
  }
  return running;
}

void Inbox::bury() {
  if (Clock::now() < dead_until_) return;
  std::vector<events::TopicRecord> letters;
  std::vector<Item*> items;
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  for (auto& [place, line] : lines_)
    for (auto& item : line.items)
      if (item->stage == Item::Stage::kRefused) {
        letters.push_back(
            dead_letter(item->record, dead_letters_of(item->record.topic), item->refusal, now_ms));
        items.push_back(item.get());
      }
  if (auto sent = parts_.sender->send(letters); !sent) {
    log_warn("dead letters wait", {{"reason", sent.error().message}});
    dead_until_ = Clock::now() + kNodePause;
    return;
  }
  for (auto* item : items) {
    item->stage = Item::Stage::kDone;
    count(*item, "dead_letter");
    log_info("record refused", {{"topic", item->record.topic},
                                {"partition", item->record.partition.value},
                                {"offset", item->record.offset.value},
                                {"code", item->refusal.type},
                                {"reason", item->refusal.message}});
  }
}

void Inbox::commit() {
  std::vector<events::TopicPlace> places;
  for (auto& [place, line] : lines_) {
    std::size_t done = 0;
    while (done < line.items.size() && line.items[done]->stage == Item::Stage::kDone) ++done;
    if (done == 0) continue;
    const auto next = line.items[done - 1]->record.offset.next();
    places.push_back({place.first, PartitionId{place.second}, next});
  }
  if (auto ok = receiver_->commit(places); !ok) {
    log_warn("offsets of commands wait", {{"reason", ok.error().message}});
    return;
  }
  for (const auto& p : places) {
    auto& line = lines_[{p.topic, p.partition.value}];
    while (!line.items.empty() && line.items.front()->record.offset < p.next)
      line.items.pop_front();
    if (line.paused && line.items.size() < kWindow / 2) {
      line.paused = false;
      receiver_->pause(p.topic, p.partition, false);
    }
  }
}

void Inbox::revoked(const std::string& topic, PartitionId partition) {
  if (receiver_) commit();  // not while it is being closed
  // What still runs ends unheard; the next owner applies it again, and gets the first answer.
  lines_.erase({topic, partition.value});
}

void Inbox::run() {
  auto receiver = parts_.receiver(
      [this](const std::string& topic, PartitionId partition) { revoked(topic, partition); });
  if (!receiver) return log_error("commands are not taken", {{"reason", receiver.error().message}});
  receiver_ = std::move(*receiver);
  auto committed = Clock::now();
  std::optional<Clock::time_point> until;
  bool running = false;
  for (;;) {
    std::vector<std::pair<std::shared_ptr<Item>, http::Response>> answers;
    {
      std::lock_guard lock(answers_->mutex);
      answers.swap(answers_->all);
    }
    for (auto& [item, response] : answers) end(*item, response);
    {
      std::lock_guard lock(mutex_);
      if (stopping_ && !until) until = Clock::now() + kCloseWait;
    }
    if (until && (!running || Clock::now() >= *until)) break;
    auto record = receiver_->poll(running || !answers.empty() ? kBusyPollMs : kIdlePollMs);
    while (record && !until) {
      take(std::move(*record));
      record = receiver_->poll(0);
    }
    bury();
    running = start_what_may(until.has_value());
    if (Clock::now() - committed >= kCommitEvery) {
      commit();
      committed = Clock::now();
    }
  }
  commit();
  receiver_.reset();
}

}  // namespace soma::runtime::integration
