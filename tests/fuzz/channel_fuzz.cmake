# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(channel_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/channel_fuzz.c
  LIBS channel)
