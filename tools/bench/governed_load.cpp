// Sessions of one turn over an instant model.
#include "tools/bench/governed_load.h"

#include <boost/json.hpp>

namespace soma::bench {

namespace json = boost::json;

namespace {

std::string text_of(std::string_view body, const char* name) {
  boost::system::error_code bad;
  const json::value v = json::parse(body, bad);
  if (bad || !v.is_object()) return {};
  const auto* m = v.get_object().if_contains(name);
  return m && m->is_string() ? std::string(m->get_string()) : std::string();
}

}  // namespace

HttpScript script_of(const Options& o, std::uint16_t port) {
  HttpScript s;
  s.port = port;
  s.clients = o.clients;
  s.seconds = o.seconds;
  s.good = [](const HttpAnswer& a) { return a.status == 200; };
  return s;
}

HttpScript session_script(const Options& o, std::uint16_t port, const Tenants& tenants) {
  HttpScript s = script_of(o, port);
  struct Client {
    std::uint64_t turns = 0;
    bool following = false;
  };
  auto clients = std::make_shared<std::vector<Client>>(o.clients);
  s.begin = [clients, tenants](std::size_t i) {
    Client& c = (*clients)[i];
    c.following = false;
    const std::string n = std::to_string(i) + " asks for the " + std::to_string(++c.turns);
    return http_request("POST", "/v1/sessions/start",
                        "{\"prompt\":\"Client " + n + "th time: what is new?\"}",
                        tenants[i % tenants.size()]);
  };
  s.next = [clients, tenants](std::size_t i, const HttpAnswer& a) -> std::optional<std::string> {
    Client& c = (*clients)[i];
    if (c.following || a.status != 202) return {};
    c.following = true;
    return http_request("GET", "/v1/sessions/" + text_of(a.body, "session_id") + "/stream", {},
                        tenants[i % tenants.size()]);
  };
  s.good = [](const HttpAnswer& a) {
    return a.status == 200 && a.body.find("event: session.completed") != std::string_view::npos;
  };
  return s;
}

Result<Setting> set_up(const Options& o) {
  Setting s;
  auto upstream = UpstreamServer::start(o);
  if (!upstream) return tl::unexpected(upstream.error());
  s.upstream = std::move(*upstream);
  auto soma = SomaServer::start(o, s.upstream->base_url());
  if (!soma) return tl::unexpected(soma.error());
  s.soma = std::move(*soma);
  for (std::size_t i = 0; i < std::max<std::size_t>(1, o.tenants); ++i) {
    auto headers = s.soma->add_tenant("bench-" + std::to_string(i));
    if (!headers) return tl::unexpected(headers.error());
    s.tenants.push_back(std::move(*headers));
  }
  return s;
}

}  // namespace soma::bench
