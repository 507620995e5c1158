# Compiler, linker and sanitizer settings, the same for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)
set(SOMA_SANITIZE "" CACHE STRING "Sanitizers, comma-separated (address,undefined or thread)")
option(SOMA_FUZZ "Build libFuzzer targets (clang)" OFF)
option(SOMA_COVERAGE "Instrument for gcov" OFF)

# Assertions guard invariants and stay on in release: a broken invariant must stop the node.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")
# No FMA contraction: policy scores are IEEE doubles in a fixed order of terms.
add_compile_options(-Wall -Wextra -Werror=switch -Werror=return-type -ffp-contract=off
                    -fstack-protector-strong -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-maybe-uninitialized)
endif()
add_compile_definitions(_GLIBCXX_ASSERTIONS SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL
                        BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
                        BOOST_ASIO_NO_DEPRECATED NO_MANUAL_VECTORIZATION)
add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
if(SOMA_SANITIZE)
  add_compile_options(-fsanitize=${SOMA_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SOMA_SANITIZE})
endif()
if(SOMA_SANITIZE STREQUAL "thread")   # what Debian's libraries, built without it, make of it
  add_compile_options("SHELL:$<$<COMPILE_LANGUAGE:CXX>:-include ${CMAKE_CURRENT_LIST_DIR}/tsan/protobuf_layout.h>" -Wno-tsan)
  add_library(soma_c11_threads OBJECT ${CMAKE_CURRENT_LIST_DIR}/tsan/c11_threads.cpp)
  set(soma_program_objects $<TARGET_OBJECTS:soma_c11_threads>)
endif()
if(SOMA_FUZZ)   # coverage feedback from the libraries too, not only from the targets' own files
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(SOMA_COVERAGE)   # counters of several threads: without atomic ones some come out negative
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()

find_program(SOMA_CCACHE ccache)
if(SOMA_CCACHE)   # paths relative to the checkout, so that checkouts share what they compiled
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${SOMA_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
find_program(SOMA_MOLD mold)
if(SOMA_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
