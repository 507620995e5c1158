// A node's side of integrators, and the server's options, which commands from topics share.
#pragma once

#include <memory>

#include "runtime/api/deployment.h"
#include "runtime/api/gate.h"
#include "runtime/config/config.h"
#include "runtime/http/in_process.h"
#include "runtime/integration/integration.h"
#include "runtime/security/tickets.h"

namespace soma::runtime {

// Without the address. All that it is given outlives the server.
http::ServerOptions server_options(const config::Config& config, const std::string& service,
                                   const api::Deployment& deployment, Metrics& metrics,
                                   security::Tickets& tickets, api::Gate& gate);

// Null on the embedded log, and where kafka.integrators is off. All that it is given outlives it.
std::unique_ptr<integration::Integration> start_integrators(const config::Config& config,
                                                            const std::string& node_id,
                                                            const events::Log& log,
                                                            const actors::Catalog& catalog,
                                                            Metrics& metrics, PartitionHost& host,
                                                            const http::InProcess& door);

}  // namespace soma::runtime
