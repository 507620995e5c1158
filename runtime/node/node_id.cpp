// Written beside, then renamed.
#include "runtime/node/node_id.h"

#include <openssl/rand.h>

#include <fstream>

#include "schemas/base/sha256.h"

namespace soma::runtime {

namespace fs = std::filesystem;

Status write_atomically(const fs::path& path, const std::string& text) {
  const fs::path temp = path.string() + ".new";
  std::ofstream out(temp);
  out << text;
  out.close();
  if (!out) return fail(Code::kIo, "cannot write " + temp.string());
  std::error_code error;
  fs::rename(temp, path, error);
  return error ? fail(Code::kIo, "cannot write " + path.string() + ": " + error.message())
               : Status{};
}

Result<std::string> node_id_of(const config::Config& c) {
  if (!c.node_id.empty()) return c.node_id;
  const fs::path file = fs::path(c.data_dir) / "node_id";
  std::string id;
  if (std::ifstream(file) >> id) return id;
  unsigned char random[8];
  if (RAND_bytes(random, sizeof random) != 1)
    return fail(Code::kInternal, "no randomness for a node id");
  id = "node-" + hex({reinterpret_cast<const char*>(random), sizeof random});
  if (auto ok = write_atomically(file, id + "\n"); !ok) return tl::unexpected(ok.error());
  return id;
}

}  // namespace soma::runtime
