# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(inflight_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/inflight_fuzz.c
  LIBS virtio)
