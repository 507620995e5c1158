// A tiny raw HTTP client over a blocking loopback socket: sends exactly the bytes it is given.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace soma::runtime::http {

struct RawResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

class RawClient {
 public:
  static constexpr int kTimeoutMs = 10000;

  explicit RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void finish() { ::shutdown(fd_, SHUT_WR); }  // nothing more is sent
  // False at the end of the connection, or after kTimeoutMs without a byte.
  bool fill() {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, kTimeoutMs) != 1) return false;
    char block[16384];
    const ssize_t n = ::recv(fd_, block, sizeof block, 0);
    if (n <= 0) return false;
    buffer_.append(block, static_cast<std::size_t>(n));
    return true;
  }
  std::string take() { return std::exchange(buffer_, {}); }  // what has come so far
  bool wait_for(std::string_view text) {
    while (buffer_.find(text) == buffer_.npos)
      if (!fill()) return false;
    return true;
  }
  // Everything up to the end of the connection.
  std::string rest() {
    while (fill()) {
    }
    return std::move(buffer_);
  }
  bool closed_by_peer() {
    while (true) {
      pollfd wait{fd_, POLLIN, 0};
      if (::poll(&wait, 1, kTimeoutMs) != 1) return false;
      char block[4096];
      if (::recv(fd_, block, sizeof block, 0) <= 0) return true;
    }
  }
  // One response with Content-Length (or none). Status 0: the connection ended first.
  RawResponse response(bool head = false) {
    RawResponse out;
    if (!wait_for("\r\n\r\n")) return out;
    const auto end = buffer_.find("\r\n\r\n");
    std::string_view text(buffer_.data(), end + 2);
    out.status = std::atoi(std::string(text.substr(9, 3)).c_str());
    text.remove_prefix(text.find("\r\n") + 2);
    while (!text.empty()) {
      const auto line = text.substr(0, text.find("\r\n"));
      text.remove_prefix(line.size() + 2);
      const auto colon = line.find(": ");
      std::string name(line.substr(0, colon));
      for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
      out.headers[name] = line.substr(colon + 2);
    }
    buffer_.erase(0, end + 4);
    const auto length = out.headers.find("content-length");
    if (length == out.headers.end() || head) return out;
    const auto size = static_cast<std::size_t>(std::atol(length->second.c_str()));
    while (buffer_.size() < size)
      if (!fill()) return {};
    out.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
  }
  RawResponse ask(std::string_view bytes, bool head = false) {
    send(bytes);
    return response(head);
  }
  std::string& buffer() { return buffer_; }

 private:
  int fd_;
  std::string buffer_;
};

}  // namespace soma::runtime::http
