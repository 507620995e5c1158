// PekkoPeer.java, as it was when this was built.
#pragma once

namespace soma::bench {

extern const char* const kPekkoProgram;

}  // namespace soma::bench
