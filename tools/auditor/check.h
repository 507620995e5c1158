// Checks bundles and proofs; finds the first bad line and record.
#pragma once

#include <openssl/types.h>

#include <boost/json/object.hpp>
#include <cstdint>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/audit/merkle.h"
#include "tools/auditor/documents.h"

namespace soma::auditor {

// What is wrong, where. `reason` is one word of a fixed list (docs/audit.md).
struct Bad {
  std::uint64_t line = 0;  // from 1; 0: of a proof, or of a head that the auditor kept
  std::optional<std::uint64_t> partition, index;  // the first bad record; absent: no record is
  std::string reason, detail;
};

struct Report {
  std::string kind;  // bundle, proof; empty: neither
  std::string tenant, key_id, event_id;
  std::uint64_t records = 0, partitions = 0, older_heads = 0, head_time_ms = 0;
  std::optional<Bad> bad;
  bool ok() const { return !bad; }
};
boost::json::object to_json(const Report& report);

struct HeadPart {
  std::uint64_t partition = 0, records = 0;
  std::string root;
};
struct SignedHead {
  std::string tenant;
  std::uint64_t time_ms = 0;
  std::vector<HeadPart> parts;
};
std::optional<SignedHead> read_head(std::string_view jws, const PublicKey& key);

// Fed with a bundle's lines in order. Memory: the older heads, and the logarithm of the records.
class BundleCheck {
 public:
  // `kept`: heads (JWS) that the auditor was given earlier; their records must still be there.
  BundleCheck(std::vector<std::string> trusted, std::vector<std::string> kept)
      : trusted_(std::move(trusted)), kept_(std::move(kept)) {}
  bool line(std::string_view text);   // without its line break; false: bad, or after the end
  void finish(bool whole_last_line);  // no more lines
  Report report;

 private:
  enum class Stage { kFirst, kKey, kSchemas, kHeads, kRecords, kEnded };
  struct Older {
    std::uint64_t line;
    std::string root;
  };
  bool fail(std::string reason, std::string detail, bool with_record = false);
  bool key_line(const boost::json::object& o);
  bool heads_line(const boost::json::object& o);
  bool record_line(std::string_view text);
  bool end_line(std::string_view text);
  bool index_older();  // by partition and number of records
  bool begin_part();   // moves to the next partition with records, checks older heads at its start
  bool check_older();  // heads of as many records as were read
  bool waiting() const { return part_ < head_.parts.size(); }

  const std::vector<std::string> trusted_, kept_;
  Stage stage_ = Stage::kFirst;
  std::uint64_t line_ = 0;
  PublicKey key_;
  SignedHead head_;
  std::size_t part_ = 0;
  std::unique_ptr<audit::SpineReader> reader_;
  audit::Frontier frontier_;
  std::vector<std::pair<std::uint64_t, SignedHead>> older_heads_;
  // By partition and number of records.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<Older>> older_;
  std::shared_ptr<EVP_MD_CTX> digest_;
};

// A bundle or a proof, whichever it is. `trusted`: thumbprints; none is trusted when empty.
Report check_stream(std::istream& in, const std::vector<std::string>& trusted,
                    const std::vector<std::string>& kept = {});
// The JWS in a file that holds one, or a JSON object with the member `head`; empty: neither.
std::string kept_head(const std::string& path);

}  // namespace soma::auditor
