// A window of records for each partition; what is done leaves it, and what stands before the oldest
// that is not is committed.
#include "runtime/integration/inbox.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"
#include "schemas/json/json_read.h"

namespace soma::runtime::integration {

namespace json = boost::json;

namespace {

constexpr auto kCommitEvery = std::chrono::milliseconds(100);
constexpr auto kLongestPause = std::chrono::seconds(60);
constexpr auto kNodePause = std::chrono::milliseconds(500);  // while the node is in trouble
constexpr auto kCloseWait = std::chrono::seconds(2);
constexpr auto kJoinAgain = std::chrono::seconds(1);
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
  const auto parsed = read_json_object(response.body);
  const auto text = [&](const char* name) {
    const auto* v = parsed ? parsed->if_contains(name) : nullptr;
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
  std::vector<std::pair<ItemPtr, http::Response>> all;
  events::TopicReceiver* receiver = nullptr;  // to wake
  bool stopping = false;
  std::condition_variable changed;

  template <typename Act>
  void change(const Act& act) {
    std::lock_guard lock(mutex);
    act();
    if (receiver) receiver->wake();
    changed.notify_all();
  }
  bool stops_within(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, time, [this] { return stopping; });
  }
  void answer(ItemPtr item, http::Response response) {
    std::lock_guard lock(mutex);
    all.emplace_back(std::move(item), std::move(response));
    if (receiver && all.size() == 1) receiver->wake();  // the others are taken with the first
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
  auto [it, fresh] = counters_.try_emplace({item.record.topic, outcome});
  if (fresh)
    it->second = parts_.metrics->counter("soma_inbox_records_total",
                                         "Records of integrators, by what became of them",
                                         {{"topic", item.record.topic}, {"outcome", outcome}});
  it->second.add();
}

// A refused one holds up none of its key.
void Inbox::refuse(const ItemPtr& item, std::string type, std::string message) {
  item->refusal = {std::move(type), std::move(message), item->attempts};
  refused_.push_back(item);
}

void Inbox::take(events::TopicRecord record) {
  const Place place{record.topic, record.partition};
  auto it = lines_.find(place);
  if (it == lines_.end())
    it = lines_.emplace(place, Line{.place = place, .committed = record.offset}).first;
  Line& line = it->second;
  line.taken = record.offset.next();
  if (is_ours(record)) return;
  auto item = std::make_shared<Item>();
  item->line = &line;
  item->record = std::move(record);
  line.items.push_back(item);
  ++line.open;
  weigh(line, weight(item->record), 0);
  if (auto command = decode_command(item->record); !command) {
    refuse(item, std::string(code_name(command.error().code)), command.error().message);
  } else if (!command->token && !parts_.trusted_producers) {
    refuse(item, std::string(code_name(Code::kUnauthenticated)),
           "ce_somatoken is missing: send a token of the tenant as this header");
  } else {
    item->command = std::move(*command);
    auto& same_key = line.keys[item->record.key];
    same_key.push_back(item);
    if (same_key.size() == 1) may_start_.push_back(item);
  }
  hold(line);
}

// The other lines are looked at only when the whole becomes full, or is so no more.
void Inbox::weigh(Line& line, std::size_t more, std::size_t less) {
  const bool was_full = bytes_ >= kAllBytes;
  line.bytes += more - less;
  bytes_ += more - less;
  if (was_full == (bytes_ >= kAllBytes)) return;
  for (auto& [place, other] : lines_) hold(other);
}

// Costs nothing: what was fetched stays where it is.
void Inbox::hold(Line& line) {
  if (line.held == line.full(bytes_)) return;
  line.held = !line.held;
  receiver_->hold(line.place, line.held);
}

void Inbox::begin(const ItemPtr& item) {
  ++running_;
  parts_.apply(*item->command, [answers = answers_, item](http::Response response) {
    answers->answer(item, std::move(response));
  });
}

// The next of its key may start.
void Inbox::leave_key(const ItemPtr& item) {
  auto& keys = item->line->keys;
  const auto same_key = keys.find(item->record.key);
  same_key->second.pop_front();
  if (same_key->second.empty())
    keys.erase(same_key);
  else
    may_start_.push_back(same_key->second.front());
}

void Inbox::done(const ItemPtr& item) {
  if (!item->line) return;
  Line& line = *item->line;
  const std::size_t less = weight(item->record);
  item->done = true;
  item->command.reset();
  const Offset offset = item->record.offset;
  item->record = {};
  item->record.offset = offset;
  for (auto& items = line.items; !items.empty() && items.front()->done;) items.pop_front();
  --line.open;
  weigh(line, 0, less);
  hold(line);
}

void Inbox::answered() {
  std::vector<std::pair<ItemPtr, http::Response>> answers;
  {
    std::lock_guard lock(answers_->mutex);
    answers.swap(answers_->all);
  }
  for (auto& [item, response] : answers) end(item, response);
}

void Inbox::end(const ItemPtr& item, const http::Response& response) {
  --running_;
  if (!item->line) return;
  if (response.status < 300) {
    const bool again = std::any_of(response.headers.begin(), response.headers.end(),
                                   [](const auto& h) { return h.first == "Idempotent-Replayed"; });
    count(*item, again ? "duplicate" : "applied");
    leave_key(item);
    return done(item);
  }
  auto [code, message] = problem_in(response);
  const bool again = may_be_tried_again(response);
  const bool ready = again && parts_.ready();
  if (!again || (ready && ++item->attempts >= kMaxAttempts)) {
    leave_key(item);
    return refuse(item, std::move(code), std::move(message));
  }
  if (!ready) {
    later_.emplace(Clock::now() + kNodePause, item);
    return;
  }
  const auto pause = std::min<std::chrono::milliseconds>(
      parts_.first_pause * (1 << (item->attempts - 1)), kLongestPause);
  later_.emplace(Clock::now() + pause, item);
}

void Inbox::start_what_may() {
  const auto due = later_.upper_bound(Clock::now());
  for (auto it = later_.begin(); it != due; ++it) may_start_.push_back(std::move(it->second));
  later_.erase(later_.begin(), due);
  // An answer may come within begin(), but it is taken later.
  for (const auto& item : std::exchange(may_start_, {}))
    if (item->line) begin(item);
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
    std::vector<ItemPtr> again;
    for (const auto& item : items)
      if (item->line) again.push_back(item);
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
    done(item);
  }
}

bool Inbox::anything_to_commit() const {
  return std::any_of(lines_.begin(), lines_.end(),
                     [](const auto& l) { return l.second.done() > l.second.committed; });
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

// What still runs, or is being buried, ends unheard.
std::map<Inbox::Place, Inbox::Line>::iterator Inbox::forget(std::map<Place, Line>::iterator line) {
  bytes_ -= line->second.bytes;
  for (const auto& item : line->second.items) item->line = nullptr;
  return lines_.erase(line);
}

void Inbox::revoked(const std::vector<Place>& places) {
  std::vector<events::TopicPlace> last;
  for (auto& place : to_commit())
    if (std::find(places.begin(), places.end(), place.part) != places.end())
      last.push_back(std::move(place));
  if (receiver_) told({}, receiver_->commit(last));  // not while it is being closed
  // The next owner applies it again, and gets the first answer.
  for (const auto& place : places)
    if (const auto line = lines_.find(place); line != lines_.end()) forget(line);
  for (auto& [place, line] : lines_) hold(line);
  std::erase_if(refused_, [](const auto& item) { return !item->line; });
}

std::chrono::milliseconds Inbox::until_due() const {
  const auto now = Clock::now();
  auto due = may_start_.empty() ? now + kLongestWait : now;
  if (!later_.empty()) due = std::min(due, later_.begin()->first);
  if (!refused_.empty() && burying_.empty()) due = std::min(due, dead_until_);
  if (!committing_ && due > commit_at_ && anything_to_commit()) due = commit_at_;
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
    if (until && ((running_ == 0 && burying_.empty()) || Clock::now() >= *until)) break;
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
  // Under librdkafka's locks: it raises a signal and no more.
  parts_.sender->wake_with([answers = answers_] { answers->change([] {}); });
  for (;;) {
    const auto ok = serve_as_member(up);
    up.set(0);
    if (ok || answers_->stops_within(kJoinAgain)) return;
    log_warn("commands are not taken; the group is joined anew", {{"reason", ok.error().message}});
  }
}

// Until it is stopped, or the group takes it for replaced.
Status Inbox::serve_as_member(const Gauge& up) {
  auto receiver = parts_.receiver([this](const std::vector<Place>& places) { revoked(places); });
  if (!receiver) return tl::unexpected(receiver.error());
  receiver_ = std::move(*receiver);
  const auto wake = [this](events::TopicReceiver* who) {
    answers_->change([&] { answers_->receiver = who; });
  };
  wake(receiver_.get());
  auto ended = serve(up);
  wake(nullptr);
  may_start_.clear();
  later_.clear();
  for (auto line = lines_.begin(); line != lines_.end();) line = forget(line);
  std::erase_if(refused_, [](const auto& item) { return !item->line; });
  receiver_.reset();
  committing_ = false;  // nobody tells of it any more
  return ended;
}

}  // namespace soma::runtime::integration
