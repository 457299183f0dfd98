# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(blk_req_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/blk_req_fuzz.c
  LIBS blk_logic)
