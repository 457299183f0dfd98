# SPDX-License-Identifier: Apache-2.0
# The compiler flags of every target. BULKHEAD_SANITIZE selects a sanitizer
# build ("asan-ubsan", "tsan" or "fuzz"); empty is the hardened build.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-Og -g3")

set(BULKHEAD_SANITIZE "" CACHE STRING "asan-ubsan, tsan, fuzz or empty")
option(BULKHEAD_FUZZ "Build the libFuzzer targets (needs clang)" OFF)

add_library(bulkhead_flags INTERFACE)
target_include_directories(bulkhead_flags INTERFACE
  ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_definitions(bulkhead_flags INTERFACE _GNU_SOURCE
  BULKHEAD_VERSION="${PROJECT_VERSION}")
target_compile_options(bulkhead_flags INTERFACE
  -Wall -Wextra -Werror -Wformat=2 -Wshadow -Wstrict-prototypes
  -Wmissing-prototypes -Wcast-qual -Wpointer-arith -Wwrite-strings -Wundef
  -Wvla -Wimplicit-fallthrough -Wconversion
  -fno-strict-aliasing -fno-common -ffunction-sections -fdata-sections
  -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
  -ftrivial-auto-var-init=zero
  # clang before 16 wants this said.
  $<$<AND:$<C_COMPILER_ID:Clang>,$<VERSION_LESS:$<C_COMPILER_VERSION>,16>>:-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang>)
target_link_options(bulkhead_flags INTERFACE
  -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections)

if(BULKHEAD_SANITIZE STREQUAL "")
  target_compile_definitions(bulkhead_flags INTERFACE
    $<$<CONFIG:Release>:_FORTIFY_SOURCE=3>)
elseif(BULKHEAD_SANITIZE STREQUAL "asan-ubsan")
  target_compile_options(bulkhead_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(bulkhead_flags INTERFACE -fsanitize=address,undefined)
elseif(BULKHEAD_SANITIZE STREQUAL "tsan")
  target_compile_options(bulkhead_flags INTERFACE -fsanitize=thread)
  target_link_options(bulkhead_flags INTERFACE -fsanitize=thread)
elseif(BULKHEAD_SANITIZE STREQUAL "fuzz")
  target_compile_options(bulkhead_flags INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(bulkhead_flags INTERFACE -fsanitize=address,undefined)
else()
  message(FATAL_ERROR "BULKHEAD_SANITIZE=${BULKHEAD_SANITIZE}: "
    "use asan-ubsan, tsan, fuzz or nothing")
endif()

# Generated code (protobuf-c) does not follow our warning set.
add_library(bulkhead_generated_flags INTERFACE)
target_include_directories(bulkhead_generated_flags INTERFACE
  ${CMAKE_BINARY_DIR})
target_compile_options(bulkhead_generated_flags INTERFACE
  -fstack-protector-strong -fcf-protection=full -ffunction-sections
  -fdata-sections)
