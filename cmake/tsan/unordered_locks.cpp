// For binaries with hnswlib: it locks its elements' links in the order of the graph, where one
// thread at a time adds to an index. TSan loses the stacks of such locks, so that no suppression by
// name finds them.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "detect_deadlocks=0"; }
