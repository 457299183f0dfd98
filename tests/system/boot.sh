# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kernels, CPUs, memory, platform.

test_boot_bzimage() {
	checked "bulkhead.cpus=1 bulkhead.mem=512 bulkhead.disk=none" \
		--kernel "$GUEST/vmlinuz" --initramfs "$GUEST/initramfs.cpio"
}

test_boot_vmlinux_2_cpus() {
	checked "bulkhead.cpus=2 bulkhead.mem=512 bulkhead.disk=none" \
		--kernel "$GUEST/vmlinux" --initramfs "$GUEST/initramfs.cpio" \
		--cpus boot=2
}

# threads_named CORE NAME: the ids of its threads of this name
threads_named() {
	local task
	for task in /proc/"$1"/task/*; do
		[ "$(cat "$task/comm")" != "$2" ] || echo "${task##*/}"
	done
}

test_boot_4_cpus_topology() {
	local core cpu want
	vm_start g --cpus "boot=4,topology=2:2:1:1" \
		--memory size=256M --cmdline "console=hvc0 quiet $(guest_command '
			cd /sys/devices/system/cpu
			for c in 0 1 2 3; do
				echo "CPU $c $(cat cpu$c/topology/thread_siblings_list) $(cat cpu$c/topology/core_siblings_list) $(cat online)"
				taskset -c $c true || exit 1
			done
			echo TOPOLOGY-TOLD
			read -r go')"
	expect 60 g.out TOPOLOGY-TOLD
	core=$(process_of g core)
	for cpu in 0 1 2 3; do
		[ -n "$(threads_named "$core" "vcpu$cpu")" ] || fail "no thread vcpu$cpu"
	done
	vm_type go
	vm_ok 30
	for want in 'CPU 0 0-1 0-3' 'CPU 1 0-1 0-3' 'CPU 2 2-3 0-3' 'CPU 3 2-3 0-3'; do
		has g.out "$want 0-3"
	done
}

test_boot_memory_above_4g() {
	in_guest 'grep "System RAM" /proc/iomem
		free=$(awk "/MemTotal/{print int(\$2/1024)}" /proc/meminfo)
		[ "$free" -gt 4700 ] && [ "$free" -le 5120 ]' \
		--cpus boot=2 --memory size=5G
	has g.out '^00100000-bfffffff : System RAM'
	has g.out '^100000000-17fffffff : System RAM'
	lacks g.out '^c[0-9a-f]{7}-.* : System RAM'
}

test_boot_hugepages_prefault() {
	local free
	echo 140 >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" = 140 ] || skip "the host has no 140 huge pages"
	vm_start g --memory size=256M,hugepages=on,prefault=on \
		--cmdline "console=hvc0 quiet bulkhead.disk=none bulkhead.mem=256 bulkhead.check bulkhead.echo bulkhead.token=go"
	expect 60 g.out CHECK-READ
	free=$(awk '/HugePages_Free/{print $2}' /proc/meminfo)
	vm_type go
	vm_ok 30
	has g.out 'CHECK-RESULT ok'
	# All of 128 pages, whatever the guest has touched.
	[ "$free" = 12 ] || fail "$free huge pages were free with 128 of 140 in use"
	[ "$(awk '/HugePages_Free/{print $2}' /proc/meminfo)" = 140 ] ||
		fail "huge pages were not given back"
	echo 0 >/proc/sys/vm/nr_hugepages
	refused '128 huge pages.* 0 free' --kernel "$GUEST/vmlinuz" --memory size=256M,hugepages=on
}

# One boot for what the platform shows: SMBIOS, ACPI, interrupts, a command
# line near the kernel's limit (2047 bytes).
test_boot_platform() {
	local long
	long=$(printf 'a%.0s' $(seq 1 900))
	GUEST_WORDS="long=$long" in_guest 'cd /sys/class/dmi/id
		for f in sys_vendor product_name product_version product_serial product_uuid product_sku product_family chassis_asset_tag; do
			echo "$f=$(cat $f)."
		done
		grep -c oem-one /sys/firmware/dmi/tables/DMI
		echo "LONG $(tr " " "\n" </proc/cmdline | sed -n "s/^long=//p" | wc -c)"
		dmesg | grep -E "ACPI (Error|BIOS|Warning)|ACPI: \[Firmware|irq .*nobody|Firmware Bug" | sed "s/^/BAD-LOG /"
		grep -E "XT-PIC|IO-APIC +0-|timer$" /proc/interrupts | sed "s/^/BAD-IRQ /"
		cat /proc/interrupts
		cat /sys/devices/system/clocksource/clocksource0/current_clocksource
		ls -1 /sys/firmware/acpi/tables' \
		--platform 'system_manufacturer=Maker,system_product_name="A, product",system_version=v7,system_serial_number=SN-1,system_uuid=01234567-89ab-cdef-0123-456789abcdef,system_sku_number=sku9,system_family=fam,chassis_asset_tag=tag5,oem_strings=[oem-one,"two, too"]'
	has g.out '^sys_vendor=Maker\.'
	has g.out '^product_name=A, product\.'
	has g.out '^product_version=v7\.'
	has g.out '^product_serial=SN-1\.'
	has g.out '^product_uuid=01234567-89ab-cdef-0123-456789abcdef\.'
	has g.out '^product_sku=sku9\.'
	has g.out '^product_family=fam\.'
	has g.out '^chassis_asset_tag=tag5\.'
	has g.out '^LONG 901'
	lacks g.out '^BAD-LOG'
	lacks g.out '^BAD-IRQ'
	has g.out '^(kvm-clock|tsc)'
	for table in APIC DSDT FACP MCFG; do
		has g.out "^$table"
	done
}

# A guest whose kernel needs more memory than there is ends in a clear error.
test_boot_too_little_memory() {
	refused 'memory' --kernel "$GUEST/vmlinuz" --initramfs "$GUEST/initramfs.cpio" \
		--memory size=32M --console off
}
