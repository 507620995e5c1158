// One override: a new file gets its blocks, or is not made.
#include "runtime/snapshots/reserving_files.h"

#include <rocksdb/file_system.h>

namespace soma::runtime {

namespace {

// More than a memory table of 8 MiB makes; what is left over is cut off when the file is closed.
constexpr std::uint64_t kTableBytes = 16 << 20;
constexpr std::uint64_t kOtherBytes = 1 << 20;

class ReservingFiles final : public rocksdb::FileSystemWrapper {
 public:
  explicit ReservingFiles(const std::shared_ptr<rocksdb::FileSystem>& base)
      : rocksdb::FileSystemWrapper(base) {}

  const char* Name() const override { return "ReservingFiles"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    auto made = target()->NewWritableFile(name, options, file, debug);
    if (!made.ok()) return made;
    const bool table = name.size() > 4 && name.compare(name.size() - 4, 4, ".sst") == 0;
    auto reserved = (*file)->Allocate(0, table ? kTableBytes : kOtherBytes, {}, debug);
    if (!reserved.IsNoSpace()) return made;  // a file system that reserves nothing is no error
    file->reset();
    target()->DeleteFile(name, {}, debug).PermitUncheckedError();
    return reserved;
  }
};

}  // namespace

std::unique_ptr<rocksdb::Env> make_reserving_env() {
  return rocksdb::NewCompositeEnv(std::make_shared<ReservingFiles>(rocksdb::FileSystem::Default()));
}

}  // namespace soma::runtime
