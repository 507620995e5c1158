// Cut, encrypt; decrypt, put back.
#include "runtime/privacy/seal.h"

#include <algorithm>

#include "events/entry_owner.h"
#include "runtime/privacy/cipher.h"
#include "runtime/privacy/data_subject.h"
#include "runtime/privacy/pieces.h"
#include "runtime/privacy/vault.h"

namespace soma::runtime::privacy {

namespace {

// Binds a ciphertext to its entry, so that it cannot be moved to another one.
std::string bound_to(const v1::Entry& entry) {
  const auto& a = entry.actor();
  return "soma-seal-1\n" + a.tenant() + "/" + a.type() + "/" + a.id() + "\n" +
         entry.context().command_id();
}

const std::string& subject_of(const v1::Context& context) {
  return context.data_subject().empty() ? context.principal().subject() : context.data_subject();
}

}  // namespace

SubjectSealer::SubjectSealer(const actors::Catalog& catalog, std::shared_ptr<SubjectKeys> keys)
    : plans_(catalog), keys_(std::move(keys)) {}

bool SubjectSealer::personal(std::string_view actor_type) const {
  return plans_.entry_of(actor_type) != nullptr;
}

void SubjectSealer::attribute(const v1::ActorRef& actor, const google::protobuf::Message& state,
                              const std::string& command, v1::Context& context) const {
  if (context.data_subject().empty())
    context.set_data_subject(data_subject(actor, state, command, context));
}

std::set<std::string> SubjectSealer::subjects_in(const v1::ActorRef& actor,
                                                 const std::string& command,
                                                 const std::string& subject) const {
  std::set<std::string> out;
  const Plan* plan = plans_.command_of(actor.type());
  if (!plan) return out;
  const auto skeleton =
      cut(plans_, *plan, command, subject, [](const std::string&) { return std::string(); });
  for (const auto& [subjects, pieces] : skeleton.cut)
    for (const auto& s : subjects)
      if (is_person(s)) out.insert(s);
  return out;
}

Status SubjectSealer::seal(const v1::Entry& entry, std::string& bytes) const {
  const Plan* plan = plans_.entry_of(entry.actor().type());
  if (!plan) return {};
  const std::string& tenant = events::tenant_of(entry);
  std::map<std::string, DataKeyPtr> keys;
  Status ok;
  const auto key_of = [&](const std::string& subject) -> const DataKeyPtr& {
    auto& key = keys[subject];
    if (key || !ok) return key;
    auto found = keys_->of(tenant, subject);
    if (found)
      key = std::move(*found);
    else
      ok = tl::unexpected(found.error());
    return key;
  };
  const auto skeleton =
      cut(plans_, *plan, bytes, subject_of(entry.context()), [&](const std::string& subject) {
        const auto& key = key_of(subject);
        return key ? alias_of(key->id) : std::string();
      });
  if (skeleton.cut.empty()) return ok;
  std::string sealed_parts;
  const std::string aad = bound_to(entry);
  for (const auto& [subjects, pieces] : skeleton.cut) {
    v1::Sealed sealed;
    std::string text = pieces.SerializeAsString();
    for (const auto& subject : subjects) {
      const auto& key = key_of(subject);
      if (!ok) return ok;
      sealed.add_key_ids(key->id);
      text = encrypt(key->secret, aad, text);
    }
    sealed.set_ciphertext(std::move(text));
    v1::Entry part;
    *part.add_sealed() = std::move(sealed);
    sealed_parts += part.SerializeAsString();
  }
  bytes = skeleton.bytes + sealed_parts;
  return ok;
}

Status SubjectSealer::open(v1::Entry& entry) const {
  google::protobuf::RepeatedPtrField<v1::Sealed> sealed, left;
  sealed.Swap(entry.mutable_sealed());
  std::string bytes;
  const std::string aad = bound_to(entry);
  for (auto& part : sealed) {
    std::optional<std::string> text = part.ciphertext();
    for (int i = part.key_ids_size() - 1; i >= 0 && text; --i) {
      auto key = keys_->find(part.key_ids(i));
      if (!key) return tl::unexpected(key.error());
      if (!*key) {
        text.reset();
      } else if (text = decrypt((*key)->secret, aad, *text); !text) {
        return fail(Code::kCorrupt, "sealed personal data does not check");
      }
    }
    if (!text) {
      left.Add(std::move(part));
      continue;
    }
    v1::SealedPieces pieces;
    if (!pieces.ParseFromString(*text))
      return fail(Code::kCorrupt, "sealed personal data does not parse");
    if (bytes.empty()) bytes = entry.SerializeAsString();
    auto whole = put_back(bytes, pieces);
    if (!whole) return tl::unexpected(whole.error());
    bytes = std::move(*whole);
  }
  if (!bytes.empty() && !entry.ParseFromString(bytes))
    return fail(Code::kCorrupt, "sealed personal data does not fit its entry");
  entry.mutable_sealed()->Swap(&left);
  return {};
}

std::map<std::string, std::uint64_t> SubjectSealer::in_clear(const v1::Entry& stored) const {
  std::map<std::string, std::uint64_t> out;
  const Plan* plan = plans_.entry_of(stored.actor().type());
  if (!plan) return out;
  // What a seal left in a value's place is nobody's.
  const auto left = [](const std::string& value) {
    return value == kErased || value == "{}" || value.starts_with("erased-") ||
           value.find("/erased-") != value.npos;
  };
  const auto skeleton = cut(plans_, *plan, stored.SerializeAsString(), subject_of(stored.context()),
                            [](const std::string&) { return std::string(); });
  for (const auto& [subjects, pieces] : skeleton.cut)
    for (const auto& piece : pieces.pieces())
      if (!left(piece.value()))
        for (const auto& subject : subjects) ++out[subject];
  return out;
}

Result<std::shared_ptr<SubjectSealer>> open_sealer(const actors::Catalog& catalog,
                                                   const std::string& data_dir,
                                                   const std::string& master, bool read_only) {
  auto vault = Vault::open(data_dir, master, read_only);
  if (!vault) return tl::unexpected(vault.error());
  return std::make_shared<SubjectSealer>(catalog, std::move(*vault));
}

}  // namespace soma::runtime::privacy
