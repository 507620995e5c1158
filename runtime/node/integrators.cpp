// Joins topics with routes and the host.
#include "runtime/node/integrators.h"

#include "runtime/node/journal.h"

namespace soma::runtime {

http::ServerOptions server_options(const config::Config& c, const std::string& service,
                                   const api::Deployment& deployment, Metrics& metrics,
                                   security::Tickets& tickets, api::Gate& gate) {
  http::ServerOptions o;
  o.io_threads = static_cast<int>(c.http_threads);
  o.body_limit = c.http_body_limit_bytes;
  o.max_connections = c.http_max_connections;
  using Log = http::ServerOptions::AccessLog;
  o.access_log = c.http_access_log == "all"   ? Log::kAll
                 : c.http_access_log == "off" ? Log::kOff
                                              : Log::kErrors;
  o.cors_origins = c.http_cors_origins;
  o.tls = {c.http_tls_cert_file, c.http_tls_key_file, c.http_tls_client_ca_file,
           c.http_tls_client_crl_file, c.http_tls_client_names};
  o.strict_transport = o.tls.on() && !security::is_developer_mode(c.mode);
  o.refuse_unknown_fields = [&deployment] { return deployment.production(); };
  o.service = service;
  o.metrics = &metrics;
  o.ticket = [&tickets](std::string_view ticket) { return tickets.redeem(ticket); };
  o.gate = [&gate](const http::Route& route, const std::shared_ptr<http::Request>& request,
                   const http::Responder& responder) { gate.handle(route, request, responder); };
  return o;
}

std::unique_ptr<integration::Integration> start_integrators(const config::Config& c,
                                                            const std::string& node_id,
                                                            const events::Log& log,
                                                            const actors::Catalog& catalog,
                                                            Metrics& metrics, PartitionHost& host,
                                                            const http::InProcess& door) {
  if (c.kafka_brokers.empty() || !c.kafka_integrators) return nullptr;
  integration::IntegrationParts parts;
  parts.kafka = kafka_options(c);
  parts.node_id = node_id;
  parts.session_timeout_ms = static_cast<std::int64_t>(c.kafka_session_timeout_ms);
  parts.log = &log;
  parts.catalog = &catalog;
  parts.metrics = &metrics;
  parts.trusted_producers = c.kafka_trusted_producers;
  parts.served = [&host] {
    std::vector<PartitionId> out;
    for (const auto& p : host.status())
      if (host.here(p.partition) && p.serving) out.push_back(p.partition);
    return out;
  };
  parts.ready = [&host, &log] {
    for (const auto& p : host.status())
      if (host.here(p.partition) && !p.serving) return false;
    return log.health().has_value();
  };
  parts.watch = [&host](Host::OnFrame frames) {
    const auto id = host.on_frame(std::move(frames));
    return std::shared_ptr<void>(nullptr, [&host, id](void*) { host.remove_observer(id); });
  };
  parts.apply = [&door](const integration::Command& command, integration::OnAnswer done) {
    door.call(integration::request_head(command), command.body, std::move(done));
  };
  return std::make_unique<integration::Integration>(std::move(parts));
}

}  // namespace soma::runtime
