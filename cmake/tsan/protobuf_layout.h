// Included before everything else in a ThreadSanitizer build: Debian's protobuf was built without
// it, and MapFieldBase has two more members where __SANITIZE_THREAD__ is defined.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include <google/protobuf/map_field.h>
#pragma pop_macro("__SANITIZE_THREAD__")
