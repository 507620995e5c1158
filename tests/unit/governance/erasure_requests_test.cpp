// Erasures with two keys: asked for once, approved once, by another; nothing after a withdrawal.
#include "actors/erasure/erasure.h"
#include "soma/v1/approval.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Requests = Given<ErasureDecider>;
const std::string kRequest =
    "request_erasure { erasure_id: 'era_1' subject_hash: 'ab12' reason: 'asked for' }";

TEST(ErasureRequests, WaitForAnotherPersonAndNameNobody) {
  Requests requests(erasure_key("acme"));
  requests.when(kRequest).then({"erasure.requested"});
  const std::string id = requests.reply().approval_id();
  EXPECT_FALSE(id.empty());
  EXPECT_FALSE(requests.reply().approved());
  ASSERT_EQ(requests.sends().size(), 1u);
  EXPECT_EQ(requests.sends()[0].to.tenant, "acme") << "the tenant's own register";
  v1::ApprovalsCommand asked;
  ASSERT_TRUE(asked.ParseFromString(requests.sends()[0].command));
  const auto& approval = asked.request_approval().approval();
  EXPECT_EQ(approval.action(), "privacy.erase_subject");
  EXPECT_EQ(approval.requested_by(), "ana");
  EXPECT_EQ(approval.approval_id(), id);
  requests.when(kRequest).then({});
  EXPECT_EQ(requests.reply().approval_id(), id) << "the same again waits for the same";
  EXPECT_TRUE(requests.sends().empty());
}

TEST(ErasureRequests, AreApprovedOnce) {
  Requests requests(erasure_key("acme"));
  requests.when(kRequest).then({"erasure.requested"});
  const std::string id = requests.reply().approval_id();
  requests.when("approved { approval_id: 'another' approved_by: 'bob' }").then({});
  requests.when("approved { approval_id: '" + id + "' approved_by: 'bob' }")
      .then({"erasure.approved"});
  EXPECT_TRUE(requests.state().open().empty());
  ASSERT_EQ(requests.state().approved_size(), 1);
  EXPECT_EQ(requests.state().approved(0).approved_by(), "bob");
  requests.when("approved { approval_id: '" + id + "' approved_by: 'bob' }").then({});
  requests.when("rejected { approval_id: '" + id + "' rejected_by: 'bob' }").then({});
  requests.when(kRequest).then({});
  EXPECT_TRUE(requests.reply().approved()) << "a retry of the request learns what became of it";
}

TEST(ErasureRequests, AWithdrawnOneIsNeverApproved) {
  Requests requests(erasure_key("acme"));
  requests.when(kRequest).then({"erasure.requested"});
  const std::string id = requests.reply().approval_id();
  requests.when("rejected { approval_id: '" + id + "' rejected_by: 'bob' reason: 'no' }")
      .then({"erasure.withdrawn"});
  requests.when("approved { approval_id: '" + id + "' approved_by: 'bob' }").then({});
  EXPECT_EQ(requests.state().approved_size(), 0);
  EXPECT_TRUE(requests.state().open().empty());
}

TEST(ErasureRequests, NeedAnIdAndAHash) {
  Requests requests(erasure_key("acme"));
  requests.when("request_erasure { subject_hash: 'ab' }").refused(Code::kInvalidArgument);
  requests.when("request_erasure { erasure_id: 'era_1' }").refused(Code::kInvalidArgument);
  requests
      .when("request_erasure { erasure_id: 'e' subject_hash: 'a' reason: '" +
            std::string(1001, 'x') + "' }")
      .refused(Code::kInvalidArgument, "body.reason");
  requests.when("").refused(Code::kInvalidArgument, "command");
}

}  // namespace
}  // namespace soma::actors
