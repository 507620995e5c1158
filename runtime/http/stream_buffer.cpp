// Event formatting and the buffer's bounds.
#include "runtime/http/stream_buffer.h"

#include <algorithm>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include "runtime/http/guarded.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::http {
namespace {

bool one_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == text.npos;
}

// CR, LF and CRLF all end a line of server-sent events, so each makes a data line.
void append_data(std::string& out, std::string_view data) {
  do {
    const auto end = std::min(data.find_first_of("\r\n"), data.size());
    out += "data: ";
    out += data.substr(0, end);
    out += '\n';
    if (end == data.size()) return;
    const bool crlf = data[end] == '\r' && end + 1 < data.size() && data[end + 1] == '\n';
    data.remove_prefix(end + (crlf ? 2 : 1));
  } while (true);
}

}  // namespace

bool StreamBuffer::append(std::string text) {
  bool wake = false;
  bool accepted = true;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || cut_ || gone_) return false;
    if (pending_.size() + in_flight_ + text.size() > kMaxBuffered) {
      cut_ = true;
      accepted = false;
      pending_.clear();
      messages_.clear();
    } else {
      pending_ += text;
      if (form_ == Form::kMessages) messages_.push_back(text.size());
    }
    wake = !std::exchange(woken_, true);
  }
  if (wake) wake_();
  return accepted;
}

bool StreamBuffer::event(std::string_view id, std::string_view name, std::string_view data) {
  if (form_ == Form::kBytes || !one_line(id) || !one_line(name)) return false;
  std::string text;
  if (form_ == Form::kMessages) {
    const auto quoted = [](std::string_view s) {
      return json_text(boost::json::value(boost::json::string_view(s.data(), s.size())));
    };
    text = "{\"event\":" + quoted(name) + ",\"id\":" + (id.empty() ? "null" : quoted(id)) +
           ",\"data\":" + std::string(data) + "}";
    return append(std::move(text));
  }
  text.reserve(id.size() + name.size() + data.size() + 32);
  if (!id.empty()) ((text += "id: ") += id) += '\n';
  if (!name.empty()) ((text += "event: ") += name) += '\n';
  append_data(text, data);
  text += '\n';
  return append(std::move(text));
}

bool StreamBuffer::raw(std::string_view data) {
  return form_ == Form::kEvents ? event({}, {}, data) : append(std::string(data));
}

bool StreamBuffer::comment(std::string_view text) {
  if (!one_line(text)) return false;
  if (form_ != Form::kEvents) return open();  // a socket has its own pings; bytes have none
  return append(": " + std::string(text) + "\n\n");
}

void StreamBuffer::close() {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || gone_) return;
    closed_ = true;
    on_disconnect_ = nullptr;
    on_writable_ = nullptr;
    wake = !std::exchange(woken_, true);
  }
  if (wake) wake_();
}

void StreamBuffer::abort() {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || cut_ || gone_) return;
    cut_ = true;
    pending_.clear();
    messages_.clear();
    wake = !std::exchange(woken_, true);
  }
  if (wake) wake_();
}

bool StreamBuffer::open() const {
  const std::lock_guard lock(mutex_);
  return !closed_ && !cut_ && !gone_;
}

std::size_t StreamBuffer::buffered() const {
  const std::lock_guard lock(mutex_);
  return pending_.size() + in_flight_;
}

void StreamBuffer::on_disconnect(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    if (!gone_) {
      on_disconnect_ = std::move(callback);
      return;
    }
  }
  callback();
}

void StreamBuffer::on_writable(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || cut_ || gone_) return;
    if (pending_.size() + in_flight_ > kMaxBuffered / 2) {
      on_writable_ = std::move(callback);
      return;
    }
  }
  callback();
}

StreamBuffer::Batch StreamBuffer::take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  Batch batch;
  batch.data.swap(pending_);
  batch.messages.swap(messages_);
  batch.finished = closed_;
  batch.cut = cut_;
  in_flight_ = batch.data.size();
  return batch;
}

void StreamBuffer::written() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    in_flight_ = 0;
    if (pending_.size() <= kMaxBuffered / 2) callback = std::exchange(on_writable_, nullptr);
  }
  if (callback && !guarded(callback)) abort();
}

void StreamBuffer::gone() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return;
    gone_ = true;
    pending_.clear();
    messages_.clear();
    callback = std::exchange(on_disconnect_, nullptr);
    on_writable_ = nullptr;
  }
  if (callback) callback();
}

}  // namespace soma::runtime::http
