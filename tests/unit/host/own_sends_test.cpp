// Sends of a partition to itself by its inbox: to whom they are under way, and until when.
#include "runtime/host/own_sends.h"

#include <gtest/gtest.h>

namespace soma::runtime {
namespace {

const ActorKey kTo{"demo", "counter", "to", {}}, kOther{"demo", "counter", "other", {}};

TEST(OwnSends, AreUnderWayUntilTheLastHasArrived) {
  OwnSends sends;
  EXPECT_FALSE(sends.under_way(kTo));
  sends.sent(kTo);
  sends.sent(kTo);
  EXPECT_TRUE(sends.under_way(kTo));
  EXPECT_FALSE(sends.under_way(kOther));
  sends.arrived(1, kTo);
  EXPECT_TRUE(sends.under_way(kTo));
  sends.arrived(2, kTo);
  EXPECT_FALSE(sends.under_way(kTo));
}

TEST(OwnSends, WhatArrivedCountsOnceThoughItIsAcknowledgedToo) {
  OwnSends sends;
  sends.sent(kTo);
  sends.sent(kTo);
  sends.arrived(1, kTo);
  sends.arrived(1, kTo);  // it was parked, or sent again
  sends.acknowledged(1, kTo);
  EXPECT_TRUE(sends.under_way(kTo)) << "the second has not come";
  sends.acknowledged(2, kTo);  // an earlier life had recorded it
  EXPECT_FALSE(sends.under_way(kTo));
}

TEST(OwnSends, AreAsTheLogHoldsThemAfterARecovery) {
  OwnSends sends;
  sends.found(7, kTo, true);  // recorded here, its acknowledgement got lost
  EXPECT_FALSE(sends.under_way(kTo));
  sends.found(8, kTo, false);
  sends.acknowledged(7, kTo);
  EXPECT_TRUE(sends.under_way(kTo));
  sends.arrived(8, kTo);
  EXPECT_FALSE(sends.under_way(kTo));
}

TEST(OwnSends, AreForgottenWithTheMemoryOfTheirPartition) {
  OwnSends sends;
  sends.sent(kTo);
  sends.arrived(1, kTo);
  sends.sent(kTo);
  sends.clear();
  EXPECT_FALSE(sends.under_way(kTo));
  sends.sent(kTo);
  sends.acknowledged(1, kTo);  // of the new numbering: nothing had arrived
  EXPECT_FALSE(sends.under_way(kTo));
}

}  // namespace
}  // namespace soma::runtime
