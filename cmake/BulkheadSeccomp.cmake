# SPDX-License-Identifier: Apache-2.0
# From @sys tags to filters; common/sandbox/README.md tells the whole story.
set(BULKHEAD_SANDBOX_DIR ${CMAKE_SOURCE_DIR}/common/sandbox)

# bulkhead_seccomp_library(PROFILE LIST) - Libraries seccomp_rules_<PROFILE>,
#   the committed list as data, and seccomp_<PROFILE>, the filter. The manifest
#   that has the profile's budget lies beside LIST.
function(bulkhead_seccomp_library profile list)
  if(TARGET seccomp_${profile})
    return()
  endif()
  get_filename_component(folder ${list} DIRECTORY)
  file(GLOB manifests CONFIGURE_DEPENDS ${folder}/*.manifest)
  list(LENGTH manifests num)
  if(NOT num EQUAL 1)
    message(FATAL_ERROR "${folder}: needs one *.manifest, has ${num}")
  endif()

  set(rules ${CMAKE_BINARY_DIR}/seccomp/${profile}_rules.c)
  add_custom_command(OUTPUT ${rules}
    COMMAND ${BULKHEAD_SANDBOX_DIR}/compile-syscalls ${profile} ${list}
      ${manifests} > ${rules}
    DEPENDS ${BULKHEAD_SANDBOX_DIR}/compile-syscalls
      ${BULKHEAD_SANDBOX_DIR}/syscalls.awk ${list} ${manifests} VERBATIM)
  add_library(seccomp_rules_${profile} STATIC ${rules})
  target_compile_definitions(seccomp_rules_${profile} PRIVATE _GNU_SOURCE)
  target_include_directories(seccomp_rules_${profile} PUBLIC
    ${CMAKE_SOURCE_DIR})

  # A tool that runs while building: plain, not static, not sanitized.
  add_executable(generate_seccomp_${profile} EXCLUDE_FROM_ALL
    ${BULKHEAD_SANDBOX_DIR}/generate.c)
  set_target_properties(generate_seccomp_${profile} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/seccomp)
  target_compile_definitions(generate_seccomp_${profile} PRIVATE _GNU_SOURCE
    PROFILE=${profile})
  target_link_libraries(generate_seccomp_${profile} PRIVATE
    seccomp_rules_${profile} PkgConfig::SECCOMP)
  set(filter ${CMAKE_BINARY_DIR}/seccomp/${profile}_filter.c)
  add_custom_command(OUTPUT ${filter}
    COMMAND generate_seccomp_${profile} > ${filter}
    DEPENDS generate_seccomp_${profile} VERBATIM)
  add_library(seccomp_${profile} STATIC ${filter})
  target_include_directories(seccomp_${profile} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# bulkhead_seccomp_profile(TARGET PROFILE [LIST]) - Link seccomp_profile_<PROFILE>
#   into TARGET. LIST is <PROFILE>.syscalls in the current source folder if not
#   given; it is collected from all sources of TARGET.
function(bulkhead_seccomp_profile target profile)
  set(list ${CMAKE_CURRENT_SOURCE_DIR}/${profile}.syscalls)
  if(ARGC GREATER 2)
    get_filename_component(list ${ARGV2} ABSOLUTE)
  endif()
  bulkhead_seccomp_library(${profile} ${list})
  target_link_libraries(${target} PRIVATE seccomp_${profile})
  set_property(GLOBAL APPEND PROPERTY BULKHEAD_PROFILES
    "${profile}:${target}:${list}")
endfunction()

# All project sources that end up in a target, relative to the top.
function(bulkhead_sources_of target ret)
  set(todo ${target})
  set(seen)
  set(sources)
  # Not while(todo): false for a list that ends in -NOTFOUND.
  while(NOT todo STREQUAL "")
    list(POP_FRONT todo t)
    if(NOT TARGET ${t})
      continue()
    endif()
    get_target_property(alias ${t} ALIASED_TARGET)
    get_target_property(imported ${t} IMPORTED)
    if(alias OR imported OR t IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${t})
    get_target_property(type ${t} TYPE)
    get_target_property(dir ${t} SOURCE_DIR)
    set(links)
    if(NOT type STREQUAL "INTERFACE_LIBRARY")
      get_target_property(srcs ${t} SOURCES)
      get_target_property(links ${t} LINK_LIBRARIES)
      foreach(s ${srcs})
        get_filename_component(s ${s} ABSOLUTE BASE_DIR ${dir})
        file(RELATIVE_PATH s ${CMAKE_SOURCE_DIR} ${s})
        if(s MATCHES "\\.[ch]$" AND EXISTS ${CMAKE_SOURCE_DIR}/${s}
            AND NOT s MATCHES "^(\\.\\./|build/)")
          list(APPEND sources ${s})
        endif()
      endforeach()
    endif()
    get_target_property(more ${t} INTERFACE_LINK_LIBRARIES)
    foreach(l ${links} ${more})
      string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" l "${l}")
      # A list that ends in "-NOTFOUND" would be false.
      if(TARGET "${l}")
        list(APPEND todo ${l})
      endif()
    endforeach()
  endwhile()
  list(REMOVE_DUPLICATES sources)
  list(SORT sources)
  set(${ret} ${sources} PARENT_SCOPE)
endfunction()

# Target syscall-lists rewrites the committed lists; the test
# syscall-lists-current fails when one is out of date. Runs when all targets
# are known.
function(bulkhead_seccomp_finish)
  get_property(profiles GLOBAL PROPERTY BULKHEAD_PROFILES)
  set(collect ${BULKHEAD_SANDBOX_DIR}/collect-syscalls)
  set(script "#!/bin/sh\n# ${CMAKE_PROJECT_NAME}: syscall-lists MODE (write or check)\ncd '${CMAKE_SOURCE_DIR}' || exit 1\nstatus=0\n")
  foreach(p ${profiles})
    string(REGEX MATCH "^([^:]*):([^:]*):(.*)$" _ ${p})
    set(profile ${CMAKE_MATCH_1})
    set(list ${CMAKE_MATCH_3})
    bulkhead_sources_of(${CMAKE_MATCH_2} sources)
    string(JOIN " " sources ${sources})
    string(APPEND script
      "'${collect}' --$1 '${list}' ${profile} ${sources} || status=1\n")
  endforeach()
  string(APPEND script "exit $status\n")
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/seccomp/syscall-lists
    CONTENT "${script}")
  add_custom_target(syscall-lists
    COMMAND sh ${CMAKE_BINARY_DIR}/seccomp/syscall-lists write VERBATIM)
  add_test(NAME syscall-lists-current
    COMMAND sh ${CMAKE_BINARY_DIR}/seccomp/syscall-lists check)
endfunction()
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL bulkhead_seccomp_finish)
