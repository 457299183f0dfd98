# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(device_msg_fuzz
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/device_msg_fuzz.c
    ${CMAKE_SOURCE_DIR}/tests/unit/virtio/fake_device.c
  LIBS virtio)
