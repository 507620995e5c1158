// Planted bugs: absent from every product build; the simulator's own test must find each of them.
#pragma once

namespace soma {

// What each breaks, and where it is planted. tests/simulation/canary_sim_test.cpp runs them all.
enum class Bug : unsigned char {
  kNone,
  kAckBeforeDurable,     // I3: a client is answered when its frame is handed to the log
  kFenceIgnored,         // I2: the writer calls a record its own place though another has claimed
  kDedupeSkipped,        // I5: a repeated command id is decided again
  kEffectNotRearmed,     // I17: recovery forgets what states call for
  kHighWaterForgotten,   // I7: a checkpoint leaves out how far other partitions' sends got
  kSequenceRepeats,      // I6: an actor read back numbers its next event as its last
  kStaleSnapshotWins,    // I8: after a snapshot the tail of the log is not folded in
  kTimerEarly,           // I11: a timer fires when it is armed
  kParkedForgotten,      // I12: recovery forgets commands that wait for a parked actor
  kObserverGap,          // I10: frames found in the log on recovery are not shown
  kOutboxForgotten,      // I7: recovery forgets sends that had not arrived
  kAtMostOnceRunsAgain,  // I16: recovery runs at-most-once effects anew
  kFullQueueDrops,       // I17: what finds the queue full is dropped without an answer
  kStandbyGap,           // I8: a standby passes over frames that it was not told of
  kStandbySendsDropped,  // I7: a standby takes sends for arrived that are under way
  kStoreErrorIgnored,    // I8: a checkpoint that could not be written counts as written
  kCursorBesideRows,     // I10: rows and their cursor are committed one after the other
  kCommitTrusted,        // I10: a COMMIT that failed counts as done
  kForeignUnseen,        // I10: a partition is served before what another node wrote was told
  kRelayOvertakes,       // I7: a send of another node's partition is taken before an earlier one
};

#ifdef SOMA_CANARY
extern Bug planted_bug;  // chosen by the test at run time
inline bool planted(Bug bug) { return planted_bug == bug; }
#else
constexpr bool planted(Bug) { return false; }
#endif

}  // namespace soma
