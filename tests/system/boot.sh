# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kernels, CPUs, memory.

test_boot_bzimage() {
	checked "bulkhead.cpus=1 bulkhead.mem=512 bulkhead.disk=none" \
		--kernel "$GUEST/vmlinuz" --initramfs "$GUEST/initramfs.cpio"
}

test_boot_vmlinux() {
	checked "bulkhead.cpus=1 bulkhead.mem=512 bulkhead.disk=none" \
		--kernel "$GUEST/vmlinux" --initramfs "$GUEST/initramfs.cpio"
}

test_boot_2_cpus() {
	checked "bulkhead.cpus=2 bulkhead.mem=512 bulkhead.disk=none" --cpus boot=2
}

test_boot_4_cpus_topology() {
	checked "bulkhead.cpus=4 bulkhead.mem=256 bulkhead.disk=none" \
		--cpus boot=4,topology=2:2:1:1 --memory size=256M
	in_guest 'cat /sys/devices/system/cpu/cpu1/topology/thread_siblings_list /sys/devices/system/cpu/cpu2/topology/core_id' \
		--cpus boot=4,topology=2:2:1:1
	grep -aqE '^0[-,]1' "$T/g.out" || fail "CPU 1 is not CPU 0's sibling"
}

test_boot_memory_above_4g() {
	checked "bulkhead.cpus=2 bulkhead.mem=5120 bulkhead.disk=none" \
		--cpus boot=2 --memory size=5G
	in_guest 'grep "System RAM" /proc/iomem'
}

test_boot_hugepages_prefault() {
	echo 160 >/proc/sys/vm/nr_hugepages
	checked "bulkhead.cpus=1 bulkhead.mem=256 bulkhead.disk=none" \
		--memory size=256M,hugepages=on,prefault=on
	echo 0 >/proc/sys/vm/nr_hugepages
	refused 'huge' --kernel "$GUEST/vmlinuz" --memory size=256M,hugepages=on
}

test_cmdline_is_long() {
	local long
	long=$(printf 'a%.0s' $(seq 1 1500))
	in_guest "grep -c '$long' /proc/cmdline" --memory size=512M
}
