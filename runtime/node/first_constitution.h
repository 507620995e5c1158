// What lets a first start in a developer mode serve governed sessions: a demo key and constitution.
#pragma once

#include <functional>
#include <string>

#include "runtime/host/host.h"
#include "runtime/security/keys.h"

namespace soma::runtime {

// DATA_DIR/keys/constitution_demo, made at first start. Trusted in developer modes only.
Result<security::Key> demo_constitution_key(const std::string& data_dir);

// Loads the demo constitution as the global one when there is none. Blocking, up to a minute and a
// request while it cannot be read or recorded; off host threads.
Status load_first_constitution(Host& host, const std::string& data_dir,
                               const std::function<bool()>& stopping);

}  // namespace soma::runtime
