# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(queue_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/queue_fuzz.c
  LIBS virtio)
