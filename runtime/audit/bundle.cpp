// A reading for the roots; then another for the lines, with a third a chunk ahead of it for their
// spines. So memory does not grow with the journal.
#include "runtime/audit/bundle.h"

#include <google/protobuf/descriptor.pb.h>
#include <openssl/evp.h>

#include <algorithm>
#include <boost/json.hpp>
#include <deque>
#include <set>

#include "runtime/security/base64url.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::audit {

namespace json = boost::json;

namespace {

using soma::audit::SparseTree;

Status shorter() { return fail(Code::kCorrupt, "the journal became shorter while it was read"); }

void add_file(const google::protobuf::FileDescriptor& file, std::set<std::string>& seen,
              google::protobuf::FileDescriptorSet& out) {
  if (!seen.insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) add_file(*file.dependency(i), seen, out);
  file.CopyTo(out.add_file());
}

std::string schemas_of(const actors::Catalog& catalog) {
  google::protobuf::FileDescriptorSet set;
  std::set<std::string> seen;
  add_file(*v1::Frame::descriptor()->file(), seen, set);
  for (const auto* type : catalog.all())
    add_file(*type->new_state()->GetDescriptor()->file(), seen, set);
  return set.SerializeAsString();
}

// Counts and hashes what goes out.
class Lines {
 public:
  explicit Lines(const std::function<Status(std::string_view)>& write) : write_(write) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void line(std::string text) {
    if (!status) return;
    text.push_back('\n');
    EVP_DigestUpdate(context_.get(), text.data(), text.size());
    ++lines;
    bytes += text.size();
    status = write_(text);
  }
  void line(const json::object& o) { line(json::serialize(o)); }
  std::string digest() const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> copy(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    unsigned char out[32];
    EVP_MD_CTX_copy_ex(copy.get(), context_.get());
    EVP_DigestFinal_ex(copy.get(), out, nullptr);
    return hex({reinterpret_cast<const char*>(out), sizeof out});
  }
  Status status;
  std::uint64_t lines = 0, bytes = 0;

 private:
  const std::function<Status(std::string_view)>& write_;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free};
};

void record_line(const Record& r, const std::vector<soma::audit::Hash>& spine, Lines& out) {
  std::string line = R"({"at":")" + r.at + R"(","entry":")" + security::base64url_encode(r.bytes) +
                     R"(","spine":[)";
  for (std::size_t i = 0; i < spine.size(); ++i) line += (i ? ",\"" : "\"") + hex(spine[i]) + "\"";
  out.line(line + "]}");
}

// Leaves of a partition a second time, a chunk ahead of the records that are written.
class ChunkReader {
 public:
  ChunkReader(const events::Log& log, const PartitionHead& head, const std::string& tenant)
      : reader_(log, head.partition), tenant_(tenant), records_(head.records) {
    reader_.as_stored();
  }
  // The next chunk, less than a whole one only at the end.
  Result<soma::audit::Tree> next() {
    soma::audit::Tree chunk;
    while (chunk.size() < SparseTree::kChunk) {
      if (ahead_.empty()) {
        if (index_ >= records_) break;
        if (auto ok = read(); !ok) return tl::unexpected(ok.error());
        continue;
      }
      chunk.add(std::move(ahead_.front()));
      ahead_.pop_front();
    }
    return chunk;
  }

 private:
  Status read() {
    auto frames = reader_.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) return shorter();
    for (const auto& frame : *frames)
      each_record(frame, tenant_, index_, [&](const Record& r) {
        if (r.index < records_) ahead_.push_back(soma::audit::leaf_hash(r.hashed()));
      });
    return {};
  }

  events::FrameReader reader_;
  const std::string& tenant_;
  const std::uint64_t records_;
  std::uint64_t index_ = 0;
  std::deque<soma::audit::Hash> ahead_;
};

Status write_partition(const events::Log& log, const std::string& tenant, const PartitionHead& head,
                       const SparseTree& tree, Lines& out,
                       const std::function<void(std::uint64_t)>& on_progress, const Stop& stop) {
  ChunkReader chunks(log, head, tenant);
  events::FrameReader reader(log, head.partition);
  reader.as_stored();
  soma::audit::Tree chunk;
  Status ok;
  for (std::uint64_t index = 0; index < head.records && ok && out.status;) {
    if (stop && stop()) return stopped();
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) return shorter();
    for (const auto& frame : *frames)
      each_record(frame, tenant, index, [&](const Record& r) {
        if (r.index >= head.records || !ok || !out.status) return;
        if (r.index % SparseTree::kChunk == 0) {
          auto next = chunks.next();
          if (!next) {
            ok = tl::unexpected(next.error());
            return;
          }
          chunk = std::move(*next);
        }
        record_line(r, tree.spine(r.index, chunk), out);
      });
    on_progress(std::min(index, head.records));
  }
  return ok;
}

}  // namespace

Result<BundleResult> write_bundle(
    const events::Log& log, const actors::Catalog& catalog, const security::Key& key,
    const std::string& tenant, const std::vector<std::string>& older_heads, std::int64_t now_ms,
    const std::function<Status(std::string_view)>& write,
    const std::function<void(std::uint64_t, std::uint64_t)>& on_progress, const Stop& stop) {
  std::vector<SparseTree> trees(log.partition_count());
  const auto add = [&](const Record& r, soma::audit::Hash leaf) {
    trees[r.position.partition.value].add(std::move(leaf));
    return Status{};
  };
  auto all = read_records(log, tenant, now_ms, add, stop);
  if (!all) return tl::unexpected(all.error());
  for (auto& p : all->partitions) {
    trees[p.partition.value].end();
    p.root = trees[p.partition.value].root();
  }
  auto head = sign_head(key, *all);
  auto jwk = security::public_jwk(key);
  if (!head) return tl::unexpected(head.error());
  if (!jwk) return tl::unexpected(jwk.error());
  Lines out(write);
  out.line(json::object{{"soma_audit_bundle", 1}, {"tenant", tenant}, {"time_ms", now_ms}});
  out.line(R"({"key":)" + *jwk + "}");
  out.line(json::object{{"schemas", security::base64url_encode(schemas_of(catalog))}});
  // The same key, the same header. A replaced key's heads cannot be checked with this one.
  const std::string header = head->substr(0, head->find('.') + 1);
  for (const auto& older : older_heads)
    if (older.starts_with(header)) out.line(json::object{{"older_head", older}});
  out.line(json::object{{"head", *head}});
  std::uint64_t done = 0;
  for (const auto& p : all->partitions) {
    const auto progress = [&](std::uint64_t n) {
      if (on_progress) on_progress(done + n, all->records());
    };
    auto ok = write_partition(log, tenant, p, trees[p.partition.value], out, progress, stop);
    if (!ok) return tl::unexpected(ok.error());
    done += p.records;
  }
  auto end = sign_document(key, kEndType, {{"lines", out.lines}, {"sha256", out.digest()}});
  if (!end) return tl::unexpected(end.error());
  out.line(json::object{{"end", *end}});
  if (!out.status) return tl::unexpected(out.status.error());
  return BundleResult{all->records(), out.bytes, out.lines, key.id};
}

}  // namespace soma::runtime::audit
