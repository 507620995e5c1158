// Files for their owner only (0600), complete or unchanged even after a crash.
#pragma once

#include <string>
#include <string_view>

#include "schemas/base/errors.h"

namespace soma::runtime::security {

struct File {  // closed with it
  int fd;
  explicit File(int descriptor) : fd(descriptor) {}
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

// Of errno, on the field `data_dir`.
tl::unexpected<Error> io_error(const std::string& what, const std::string& path);

// How the name of what a crash left half written ends.
constexpr std::string_view kUnfinished = ".tmp";

// `folder`/`name` in the place of what is there; durable on return. Fails with kIo or kStorageFull.
Status replace_private_file(const std::string& folder, const std::string& name,
                            const std::string& text);

// False: another process was first, and its file stays.
Result<bool> create_private_file(const std::string& folder, const std::string& name,
                                 const std::string& text);

// Makes names that were created, renamed or removed in it durable.
Status sync_folder(const std::string& folder);

}  // namespace soma::runtime::security
