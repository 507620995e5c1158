// A window of records for each partition; what is done leaves it, and what stands before the oldest
// that is not is committed.
#include "runtime/integration/inbox.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <mutex>
#include <unordered_set>

#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime::integration {

namespace json = boost::json;

namespace {

constexpr auto kCommitEvery = std::chrono::milliseconds(100);
constexpr auto kLongestPause = std::chrono::seconds(60);
constexpr auto kNodePause = std::chrono::milliseconds(500);  // while the node is in trouble
constexpr auto kCloseWait = std::chrono::seconds(2);
constexpr auto kLongestWait = std::chrono::milliseconds(100);
constexpr int kRecordsATurn = 1000;
constexpr std::size_t kLetterBytes = 16 << 20;  // of letters in flight, or one

std::size_t weight(const events::TopicRecord& record) {
  std::size_t bytes = record.key.size() + record.value.size();
  for (const auto& [name, value] : record.headers) bytes += name.size() + value.size();
  return bytes;
}

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

// Outlives the inbox where a route answers late.
struct Inbox::Answers {
  std::mutex mutex;
  std::vector<std::pair<std::shared_ptr<Item>, http::Response>> all;
  events::TopicReceiver* receiver = nullptr;  // to wake
  bool stopping = false;

  template <typename Act>
  void change(const Act& act) {
    std::lock_guard lock(mutex);
    act();
    if (receiver) receiver->wake();
  }
};

Inbox::Inbox(InboxParts parts) : parts_(std::move(parts)), answers_(std::make_shared<Answers>()) {
  thread_ = std::thread([this] {
    name_thread("soma-inbox");
    run();
  });
}

Inbox::~Inbox() {
  answers_->change([this] { answers_->stopping = true; });
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

void Inbox::refuse(const std::shared_ptr<Item>& item, std::string type, std::string message) {
  item->refusal = {std::move(type), std::move(message), item->attempts};
  item->stage = Item::Stage::kRefused;
  refused_.push_back(item);
}

void Inbox::take(events::TopicRecord record) {
  const Place place{record.topic, record.partition};
  auto [it, fresh] = lines_.try_emplace(place);
  Line& line = it->second;
  if (fresh) line.committed = record.offset;
  line.taken = record.offset.next();
  if (is_ours(record)) return;
  auto item = std::make_shared<Item>();
  item->record = std::move(record);
  line.items.push_back(item);
  weigh(line, weight(item->record), 0);
  line.look_at = {};
  if (auto command = decode_command(item->record); !command) {
    refuse(item, std::string(code_name(command.error().code)), command.error().message);
  } else if (!command->token && !parts_.trusted_producers) {
    refuse(item, std::string(code_name(Code::kUnauthenticated)),
           "ce_somatoken is missing: send a token of the tenant as this header");
  } else {
    item->command = std::move(*command);
  }
  hold(place, line);
}

// The other lines are looked at only when the whole becomes full, or is so no more.
void Inbox::weigh(Line& line, std::size_t more, std::size_t less) {
  const bool was_full = bytes_ >= kAllBytes;
  line.bytes += more - less;
  bytes_ += more - less;
  if (was_full == (bytes_ >= kAllBytes)) return;
  for (auto& [place, other] : lines_) hold(place, other);
}

// Costs nothing: what was fetched stays where it is.
void Inbox::hold(const Place& place, Line& line) {
  if (line.held == line.full(bytes_)) return;
  line.held = !line.held;
  receiver_->hold(place, line.held);
}

void Inbox::begin(const std::shared_ptr<Item>& item) {
  item->stage = Item::Stage::kRunning;
  parts_.apply(*item->command, [answers = answers_, item](http::Response response) {
    answers->change([&] { answers->all.emplace_back(item, std::move(response)); });
  });
}

Inbox::Line* Inbox::line_of(const Item& item) {
  const auto line = lines_.find({item.record.topic, item.record.partition});
  if (line == lines_.end()) return nullptr;
  for (const auto& i : line->second.items)
    if (i.get() == &item) return &line->second;
  return nullptr;
}

void Inbox::done(const Item& item) {
  Line* line = line_of(item);
  if (!line) return;
  const Place place{item.record.topic, item.record.partition};
  const std::size_t less = weight(item.record);
  std::erase_if(line->items, [&](const auto& i) { return i.get() == &item; });
  weigh(*line, 0, less);
  line->look_at = {};
  hold(place, *line);
}

void Inbox::answered() {
  std::vector<std::pair<std::shared_ptr<Item>, http::Response>> answers;
  {
    std::lock_guard lock(answers_->mutex);
    answers.swap(answers_->all);
  }
  for (auto& [item, response] : answers) end(item, response);
}

void Inbox::end(const std::shared_ptr<Item>& item, const http::Response& response) {
  Line* line = line_of(*item);
  if (!line) return;
  line->look_at = {};
  if (response.status < 300) {
    const bool again = std::any_of(response.headers.begin(), response.headers.end(),
                                   [](const auto& h) { return h.first == "Idempotent-Replayed"; });
    count(*item, again ? "duplicate" : "applied");
    return done(*item);
  }
  auto [code, message] = problem_in(response);
  if (!may_be_tried_again(response)) return refuse(item, std::move(code), std::move(message));
  item->stage = Item::Stage::kWaiting;
  if (!parts_.ready()) {
    item->not_before = Clock::now() + kNodePause;
    return;
  }
  if (++item->attempts >= kMaxAttempts) return refuse(item, std::move(code), std::move(message));
  const auto pause = std::min<std::chrono::milliseconds>(
      parts_.first_pause * (1 << (item->attempts - 1)), kLongestPause);
  item->not_before = Clock::now() + pause;
}

void Inbox::start_what_may() {
  const auto now = Clock::now();
  for (auto& [place, line] : lines_) {
    if (line.look_at > now) continue;
    line.look_at = Clock::time_point::max();
    std::unordered_set<std::string_view> busy;  // keys of which an earlier record is not done
    // An answer may come within begin(), but it is taken later.
    for (const auto& item : line.items) {
      if (item->stage == Item::Stage::kRefused || !busy.insert(item->record.key).second) continue;
      if (item->stage != Item::Stage::kWaiting) continue;
      if (item->not_before > now)
        line.look_at = std::min(line.look_at, item->not_before);
      else
        begin(item);
    }
  }
}

bool Inbox::anything_runs() const {
  for (const auto& [place, line] : lines_)
    for (const auto& item : line.items)
      if (item->stage == Item::Stage::kRunning) return true;
  return false;
}

// One batch at a time, and nothing waits for it.
void Inbox::bury() {
  if (refused_.empty() || !burying_.empty() || Clock::now() < dead_until_) return;
  std::vector<events::TopicRecord> letters;
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  std::size_t bytes = 0;
  for (const auto& item : refused_) {
    auto letter =
        dead_letter(item->record, dead_letters_of(item->record.topic), item->refusal, now_ms);
    bytes += weight(letter);
    if (!letters.empty() && bytes > kLetterBytes) break;
    letters.push_back(std::move(letter));
  }
  const auto end = refused_.begin() + static_cast<std::ptrdiff_t>(letters.size());
  burying_.assign(refused_.begin(), end);
  refused_.erase(refused_.begin(), end);
  parts_.sender->send_soon(letters, [this](const Status& sent) { buried(sent); });
}

void Inbox::buried(const Status& sent) {
  const auto items = std::exchange(burying_, {});
  if (!sent) {
    log_warn("dead letters wait", {{"reason", sent.error().message}});
    dead_until_ = Clock::now() + kNodePause;
    std::vector<std::shared_ptr<Item>> again;
    for (const auto& item : items)
      if (line_of(*item)) again.push_back(item);
    refused_.insert(refused_.begin(), again.begin(), again.end());
    return;
  }
  for (const auto& item : items) {
    count(*item, "dead_letter");
    log_info("record refused", {{"topic", item->record.topic},
                                {"partition", item->record.partition.value},
                                {"offset", item->record.offset.value},
                                {"code", item->refusal.type},
                                {"reason", item->refusal.message}});
    done(*item);
  }
}

std::vector<events::TopicPlace> Inbox::to_commit() const {
  std::vector<events::TopicPlace> places;
  for (const auto& [place, line] : lines_)
    if (line.done() > line.committed) places.push_back({place, line.done()});
  return places;
}

void Inbox::told(const std::vector<events::TopicPlace>& places, const Status& committed) {
  const std::string problem = committed ? "" : committed.error().message;
  if (problem != commit_problem_ && !committed)
    log_warn("offsets of commands wait", {{"reason", problem}});
  commit_problem_ = problem;
  if (!committed) return;
  for (const auto& p : places)
    if (const auto line = lines_.find(p.part); line != lines_.end())
      line->second.committed = std::max(line->second.committed, p.next);
}

void Inbox::commit_soon() {
  if (committing_ || Clock::now() < commit_at_) return;
  auto places = to_commit();
  if (places.empty()) return;
  commit_at_ = Clock::now() + kCommitEvery;
  committing_ = true;
  receiver_->commit_soon(places, [this, places](const Status& committed) {
    committing_ = false;
    told(places, committed);
  });
}

void Inbox::revoked(const std::vector<Place>& places) {
  std::vector<events::TopicPlace> last;
  for (auto& place : to_commit())
    if (std::find(places.begin(), places.end(), place.part) != places.end())
      last.push_back(std::move(place));
  if (receiver_) told({}, receiver_->commit(last));  // not while it is being closed
  // What still runs ends unheard; the next owner applies it again, and gets the first answer.
  for (const auto& place : places)
    if (const auto line = lines_.find(place); line != lines_.end()) {
      bytes_ -= line->second.bytes;
      lines_.erase(line);
    }
  for (auto& [place, line] : lines_) hold(place, line);
  std::erase_if(refused_, [this](const auto& item) { return !line_of(*item); });
}

std::chrono::milliseconds Inbox::until_due() const {
  const auto now = Clock::now();
  auto due = now + kLongestWait;
  for (const auto& [place, line] : lines_) due = std::min(due, line.look_at);
  if (!refused_.empty() && burying_.empty()) due = std::min(due, dead_until_);
  if (!committing_ && due > commit_at_ && !to_commit().empty()) due = commit_at_;
  return std::chrono::ceil<std::chrono::milliseconds>(std::max(due, now) - now);
}

void Inbox::receive(std::chrono::milliseconds wait, bool stopping) {
  auto record = receiver_->poll(static_cast<int>(wait.count()));
  for (int n = 0; record && !stopping && n < kRecordsATurn; ++n) {
    take(std::move(*record));
    record = receiver_->poll(0);
  }
  if (record && !stopping) take(std::move(*record));
}

Status Inbox::serve(const Gauge& up) {
  std::optional<Clock::time_point> until;
  for (;;) {
    if (auto ok = receiver_->health(); !ok) return ok;
    up.set(receiver_->assigned() ? 1 : 0);
    answered();
    parts_.sender->poll(0);
    {
      std::lock_guard lock(answers_->mutex);
      if (answers_->stopping && !until) until = Clock::now() + kCloseWait;
    }
    if (until && ((!anything_runs() && burying_.empty()) || Clock::now() >= *until)) break;
    bury();
    if (!until) start_what_may();
    commit_soon();
    receive(until ? kLongestWait : until_due(), until.has_value());
  }
  told({}, receiver_->commit(to_commit()));
  return {};
}

void Inbox::run() {
  const auto up = parts_.metrics->gauge(
      "soma_inbox_up", "1 while this node is a member of the group that reads commands");
  up.set(0);
  auto receiver = parts_.receiver([this](const std::vector<Place>& places) { revoked(places); });
  if (!receiver) return log_error("commands are not taken", {{"reason", receiver.error().message}});
  receiver_ = std::move(*receiver);
  const auto wake = [this](events::TopicReceiver* who) {
    answers_->change([&] { answers_->receiver = who; });
  };
  wake(receiver_.get());
  // Under librdkafka's locks: it raises a signal and no more.
  parts_.sender->wake_with([answers = answers_] { answers->change([] {}); });
  if (auto ok = serve(up); !ok)
    log_error("commands are not taken any more", {{"reason", ok.error().message}});
  up.set(0);
  wake(nullptr);
  lines_.clear();
  bytes_ = 0;
  receiver_.reset();
}

}  // namespace soma::runtime::integration
