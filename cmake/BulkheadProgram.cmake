# SPDX-License-Identifier: Apache-2.0
# bulkhead_program(NAME SOURCES ... LIBS ... [PROFILES ...])
#   One confined program: static-PIE (no loader, nothing to search in an empty
#   root). PROFILES are its seccomp profiles: for each, the committed list
#   <folder>/<profile>.syscalls is compiled into a BPF array that the program
#   links (see common/sandbox/README.md).
function(bulkhead_program name)
  cmake_parse_arguments(P "" "" "SOURCES;LIBS;PROFILES" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  target_link_libraries(${name} PRIVATE bulkhead_flags ${P_LIBS})
  if(BULKHEAD_SANITIZE STREQUAL "")
    target_link_options(${name} PRIVATE -static-pie)
  else()
    # The sanitizers need the dynamic loader.
    target_link_options(${name} PRIVATE -pie)
  endif()
  foreach(profile ${P_PROFILES})
    bulkhead_seccomp_profile(${name} ${profile})
  endforeach()
endfunction()

# bulkhead_test(NAME SOURCES ... LIBS ...) - one Criterion binary, run by CTest.
function(bulkhead_test name)
  cmake_parse_arguments(P "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  # Criterion finds its tests in a section that the linker sees no use of; as a
  # library the option comes after bulkhead_flags' own.
  target_link_libraries(${name} PRIVATE bulkhead_flags ${P_LIBS} criterion
    -Wl,--no-gc-sections)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/unit)
  add_test(NAME ${name} COMMAND ${name} --short-filename)
endfunction()

# bulkhead_fuzz(NAME SOURCES ... LIBS ...) - one libFuzzer target.
function(bulkhead_fuzz name)
  if(NOT BULKHEAD_FUZZ)
    return()
  endif()
  cmake_parse_arguments(P "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  target_link_libraries(${name} PRIVATE bulkhead_flags ${P_LIBS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/fuzz)
endfunction()
