// Written aside, synced, then linked or renamed into place.
#include "runtime/security/private_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/telemetry/trace.h"

namespace soma::runtime::security {

File::~File() {
  if (fd >= 0) ::close(fd);
}

tl::unexpected<Error> io_error(const std::string& what, const std::string& path) {
  return fail(errno == ENOSPC || errno == EDQUOT ? Code::kStorageFull : Code::kIo,
              what + " " + path + ": " + std::strerror(errno), "data_dir");
}

namespace {

Status write_all(int fd, const std::string& text, const std::string& path) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error("cannot write", path);
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(fd) != 0) return io_error("cannot sync", path);
  return {};
}

Status write_aside(const std::string& temporary, const std::string& text) {
  const File file(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.fd < 0) return io_error("cannot create", temporary);
  return write_all(file.fd, text, temporary);
}

std::string beside(const std::string& path) {
  return path + "." + random_hex(8) + std::string(kUnfinished);
}

}  // namespace

Status replace_private_file(const std::string& folder, const std::string& name,
                            const std::string& text) {
  const std::string path = folder + "/" + name, temporary = beside(path);
  Status written = write_aside(temporary, text);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0)
    written = io_error("cannot replace", path);
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_folder(folder);
}

Result<bool> create_private_file(const std::string& folder, const std::string& name,
                                 const std::string& text) {
  const std::string path = folder + "/" + name, temporary = beside(path);
  Status written = write_aside(temporary, text);
  // link, not rename: it refuses to replace the file of a process that was faster.
  bool made = false;
  if (written) {
    made = ::link(temporary.c_str(), path.c_str()) == 0;
    if (!made && errno != EEXIST) written = io_error("cannot create", path);
  }
  ::unlink(temporary.c_str());
  if (!written) return tl::unexpected(written.error());
  if (auto synced = sync_folder(folder); !synced) return tl::unexpected(synced.error());
  return made;
}

Status sync_folder(const std::string& folder) {
  const File opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.fd < 0 || ::fsync(opened.fd) != 0) return io_error("cannot sync", folder);
  return {};
}

}  // namespace soma::runtime::security
