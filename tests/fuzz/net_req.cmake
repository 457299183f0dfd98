# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(net_req_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/net_req_fuzz.c
  LIBS net_pure)
bulkhead_fuzz(net_stream_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/net_stream_fuzz.c
  ${CMAKE_SOURCE_DIR}/tests/unit/dev-net/net_fake.c LIBS net_flow)
