# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(loader_elf_fuzz
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/loader_elf_fuzz.c
    ${CMAKE_CURRENT_LIST_DIR}/loader_fuzz.c
  LIBS loader)
bulkhead_fuzz(loader_bzimage_fuzz
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/loader_bzimage_fuzz.c
    ${CMAKE_CURRENT_LIST_DIR}/loader_fuzz.c
  LIBS loader)
