// The fence, verdict by verdict: I1 order, I2 fence, I13 chain.
#include "events/fence.h"

#include <gtest/gtest.h>

#include "tests/unit/events/frame_builder.h"

namespace soma::events {
namespace {

using test::claim;
using test::frame;
using test::kZeroHash;
using test::Stored;

Verdict admit(Fence& fence, const Stored& s) { return fence.admit(s.frame, s.hash); }

// A fence that has read claim 1 and two frames of it.
struct Chain {
  Stored c1 = claim(1, kZeroHash);
  Stored f1 = frame(1, 1, c1.hash);
  Stored f2 = frame(1, 2, f1.hash);
  Fence fence;
  Chain() {
    EXPECT_EQ(admit(fence, c1), Verdict::kValid);
    EXPECT_EQ(admit(fence, f1), Verdict::kValid);
    EXPECT_EQ(admit(fence, f2), Verdict::kValid);
  }
};

TEST(Fence, ConsecutiveFramesOfAnEpochAreValid) {
  Chain chain;
  EXPECT_EQ(chain.fence.epoch(), Epoch{1});
  EXPECT_EQ(chain.fence.last_number(), FrameNumber{2});
  EXPECT_EQ(chain.fence.head(), chain.f2.hash);
}

TEST(Fence, NothingIsValidBeforeAClaim) {
  Fence fence;
  EXPECT_EQ(admit(fence, frame(0, 1, kZeroHash)), Verdict::kOutOfOrder);
  EXPECT_EQ(admit(fence, frame(1, 1, kZeroHash)), Verdict::kOutOfOrder);
  EXPECT_EQ(admit(fence, claim(0, kZeroHash)), Verdict::kStaleEpoch);
  EXPECT_EQ(fence.epoch(), Epoch{0});
}

struct Case {
  const char* name;
  Stored (*next)(const Chain&);
  Verdict verdict;
};

class FenceTable : public testing::TestWithParam<Case> {};

TEST_P(FenceTable, JudgesAndChangesOnlyWhenValid) {
  Chain chain;
  const Fence before = chain.fence;
  EXPECT_EQ(admit(chain.fence, GetParam().next(chain)), GetParam().verdict) << GetParam().name;
  if (GetParam().verdict == Verdict::kValid) return;
  EXPECT_EQ(chain.fence.epoch(), before.epoch());
  EXPECT_EQ(chain.fence.last_number(), before.last_number());
  EXPECT_EQ(chain.fence.head(), before.head());
}

INSTANTIATE_TEST_SUITE_P(
    Rules, FenceTable,
    testing::Values(
        Case{"next", [](const Chain& c) { return frame(1, 3, c.f2.hash); }, Verdict::kValid},
        Case{"number skipped", [](const Chain& c) { return frame(1, 4, c.f2.hash); },
             Verdict::kOutOfOrder},
        Case{"wrong previous", [](const Chain& c) { return frame(1, 3, c.f1.hash); },
             Verdict::kOutOfOrder},
        Case{"no previous", [](const Chain&) { return frame(1, 3, ""); }, Verdict::kOutOfOrder},
        Case{"last one again", [](const Chain& c) { return c.f2; }, Verdict::kDuplicate},
        Case{"older one again", [](const Chain& c) { return c.f1; }, Verdict::kDuplicate},
        Case{"same number, other bytes", [](const Chain& c) { return frame(1, 2, c.f1.hash, 7); },
             Verdict::kOutOfOrder},
        Case{"the claim again", [](const Chain& c) { return c.c1; }, Verdict::kStaleEpoch},
        Case{"another claim of the epoch", [](const Chain& c) { return claim(1, c.f2.hash, "n2"); },
             Verdict::kStaleEpoch},
        Case{"next claim", [](const Chain& c) { return claim(2, c.f2.hash); }, Verdict::kValid},
        Case{"claim that skips epochs", [](const Chain& c) { return claim(9, c.f2.hash); },
             Verdict::kValid},
        Case{"claim that missed the last frame", [](const Chain& c) { return claim(2, c.f1.hash); },
             Verdict::kValid},
        Case{"frame of an epoch without claim",
             [](const Chain& c) { return frame(2, 1, c.f2.hash); }, Verdict::kOutOfOrder}),
    [](const auto& param) {
      std::string name = param.param.name;
      for (char& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      return name;
    });

TEST(Fence, AHigherClaimVoidsWhatTheOldOwnerStillWrites) {
  Chain chain;
  const Stored c2 = claim(2, chain.f2.hash);
  ASSERT_EQ(admit(chain.fence, c2), Verdict::kValid);
  EXPECT_EQ(admit(chain.fence, frame(1, 3, chain.f2.hash)), Verdict::kStaleEpoch);
  EXPECT_EQ(admit(chain.fence, frame(2, 1, c2.hash)), Verdict::kValid);
  EXPECT_EQ(admit(chain.fence, claim(1, c2.hash)), Verdict::kStaleEpoch);
}

TEST(Fence, ALostFrameVoidsThoseInFlightBehindIt) {
  Chain chain;
  const Stored lost = frame(1, 3, chain.f2.hash);
  const Stored behind = frame(1, 4, lost.hash);
  EXPECT_EQ(admit(chain.fence, behind), Verdict::kOutOfOrder);
  EXPECT_EQ(admit(chain.fence, frame(1, 5, behind.hash)), Verdict::kOutOfOrder);
  EXPECT_EQ(chain.fence.head(), chain.f2.hash);
}

// A new owner's claim names the head it had read; a frame that landed meanwhile must not drop out
// of the chain.
TEST(Fence, AClaimCommitsToFramesItHadNotSeen) {
  Chain a, b;
  const Stored c2 = claim(2, a.f2.hash);
  const Stored late = frame(1, 3, a.f2.hash), other = frame(1, 3, a.f2.hash, 1);
  ASSERT_EQ(admit(a.fence, late), Verdict::kValid);
  ASSERT_EQ(admit(b.fence, other), Verdict::kValid);
  ASSERT_EQ(admit(a.fence, c2), Verdict::kValid);
  ASSERT_EQ(admit(b.fence, c2), Verdict::kValid);
  EXPECT_NE(a.fence.head(), b.fence.head());
}

TEST(Fence, AChangedByteAnywhereBreaksTheChainBehindIt) {
  Chain honest;
  const std::vector<const Stored*> all = {&honest.c1, &honest.f1, &honest.f2};
  const Stored next = frame(1, 3, honest.f2.hash);
  for (std::size_t changed = 0; changed < all.size(); ++changed) {
    for (std::size_t byte = 0; byte < all[changed]->bytes.size(); ++byte) {
      Fence fence;
      for (std::size_t i = 0; i < all.size(); ++i) {
        std::string bytes = all[i]->bytes;
        if (i == changed) bytes[byte] = static_cast<char>(bytes[byte] ^ 0x10);
        const auto decoded = decode_frame(bytes);
        if (decoded) fence.admit(**decoded, sha256(bytes));
      }
      EXPECT_NE(admit(fence, next), Verdict::kValid) << "record " << changed << " byte " << byte;
    }
  }
}

TEST(Fence, ContinuesFromACheckpoint) {
  Chain chain;
  Fence resumed(Epoch{1}, FrameNumber{2}, chain.f2.hash);
  EXPECT_EQ(admit(resumed, chain.f1), Verdict::kDuplicate);
  EXPECT_EQ(admit(resumed, frame(1, 3, chain.f2.hash)), Verdict::kValid);
}

}  // namespace
}  // namespace soma::events
