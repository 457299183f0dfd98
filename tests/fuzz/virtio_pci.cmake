# SPDX-License-Identifier: Apache-2.0
bulkhead_fuzz(virtio_pci_fuzz SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/virtio_pci_fuzz.c
  ${CMAKE_SOURCE_DIR}/tests/unit/vmm-core/pci_fakes.c
  LIBS vmm_core)
