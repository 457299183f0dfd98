# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# How VMs end, start again, and are seen from outside.

SLEEPS=$(guest_command 'sleep 1000')

test_power_button() {
	local status=0
	vm_start g -v --cmdline "console=hvc0 quiet"
	expect 60 g.out 'A shell of busybox'
	bulkhead power-button g || fail "power-button failed"
	vm_ok 30
	has g.err 'the guest powered off'
	bulkhead power-button g 2>gone || status=$?
	[ $status = 1 ] || fail "power-button of no VM: status $status"
	has gone 'no VM "g" is running'
}

# The guest reboots: new processes, the same tap, disk and consoles.
test_guest_reboot() {
	local core index
	own_disk
	vm_start g --disk "path=$T/disk.img" --net tap=bhreboot --serial "file=$T/serial" \
		-v --cmdline "console=hvc0 quiet $(guest_command '
			mount /dev/vda /mnt || exit 1
			if [ -e /mnt/second ]; then
				echo "boot two" >/dev/ttyS0
				ip link set eth0 up && echo "SECOND BOOT $(cat /sys/class/net/eth0/carrier)"
				read -r go
				umount /mnt
				poweroff -f
			fi
			echo "boot one" >/dev/ttyS0
			echo FIRST BOOT
			read -r go
			touch /mnt/second
			umount /mnt
			reboot -f
			sleep 100')"
	expect 60 g.out 'FIRST BOOT'
	core=$(process_of g core)
	index=$(cat /sys/class/net/bhreboot/ifindex)
	vm_type go
	expect 60 g.out 'SECOND BOOT 1'
	[ "$(process_of g core)" != "$core" ] || fail "the core was not replaced"
	[ ! -e "/proc/$core" ] || fail "the old core still runs"
	[ "$(cat /sys/class/net/bhreboot/ifindex)" = "$index" ] || fail "another tap"
	vm_type go
	vm_ok 30
	has serial 'boot one'
	has serial 'boot two'
	has g.err 'asked for a reset'
	has g.err 'powered off'
}

# full_vm NAME ARGUMENT...: one of each device; the guest does nothing
full_vm() {
	local name=$1
	shift
	[ -e "$T/$name.img" ] || truncate -s 1M "$T/$name.img"
	vm_start "$name" --disk "path=$T/$name.img" --net "tap=bh-$name" \
		--console "socket=$T/$name.c" --serial "socket=$T/$name.s" \
		--cmdline "console=hvc0 $SLEEPS" "$@"
	wait_for 30 vm_runs "$name" || {
		cat "$T/$name.err"
		fail "the VM does not start"
	}
}

ends_with() { # STATUS
	vm_wait 30
	[ "$VM_STATUS" = "$1" ] || fail "status $VM_STATUS, not $1"
	[ ! -e "$T/v.c" ] && [ ! -e "$T/v.s" ] || fail "a console's socket was left"
	nothing_left
}

test_end_by_signals_and_stop() {
	full_vm v
	kill -INT "$VM_PID"
	ends_with 130
	full_vm v
	kill -TERM "$VM_PID"
	ends_with 0
	full_vm v
	kill -HUP "$VM_PID"
	ends_with 0
	full_vm v
	bulkhead stop v || fail "stop failed"
	ends_with 0
	# Also while it starts.
	vm_start v --cmdline "console=hvc0 $SLEEPS"
	kill -TERM "$VM_PID"
	vm_wait 30
	[ "$VM_STATUS" = 0 ] || [ "$VM_STATUS" = 143 ] || fail "early SIGTERM: status $VM_STATUS"
	nothing_left
}

test_core_killed_ends_the_vm() {
	full_vm v
	kill -KILL "$(process_of v core)"
	ends_with 1
	has v.err 'core.*killed by signal 9'
}

# Without keeper nothing outlives the broker but its socket, which the next one
# replaces.
test_broker_killed_leaves_nothing() {
	full_vm v --keeper off
	kill -KILL "$VM_PID"
	wait_for 2 no_processes || fail "left after 2 s: $(pgrep -a '^bulkhead')"
	[ ! -e /sys/class/net/bh-v ] || fail "the tap was left"
	[ "$(bulkhead ps)" = "No VM is running." ] || fail "ps shows a dead VM"
	rm -f "$T/v.in"
	full_vm v
	kill -TERM "$VM_PID"
	ends_with 0
}

# The guest runs on without broker; another one serves it to its end, a reboot
# included.
test_broker_killed_and_another_adopts() {
	local status=0
	own_disk
	truncate -s 1M "$T/flag.img"
	# The guest goes on until the second disk says so: while it reboots there is
	# nothing to adopt.
	vm_start g --disk "path=$T/disk.img" "path=$T/flag.img,readonly=on" \
		--net tap=bhadopt --console "file=$T/g.out" \
		--cmdline "console=hvc0 quiet $(guest_command '
			mount /dev/vda /mnt || exit 1
			if [ -e /mnt/second ]; then echo SECOND BOOT; umount /mnt; poweroff -f; fi
			n=0 before=$(dmesg | wc -l)
			while [ ! -e /mnt/second ]; do
				n=$((n + 1))
				echo $n >/mnt/number; sync; echo 3 >/proc/sys/vm/drop_caches
				[ "$(cat /mnt/number)" = $n ] || { echo WRONG NUMBER; break; }
				echo "number $n"
				[ $n -lt 2000 ] || { echo NO END; break; }
				dd if=/dev/vdb bs=512 count=1 iflag=direct 2>/dev/null | grep -q go &&
					touch /mnt/second
				sleep 0.1
			done
			dmesg | tail -n +$((before + 1)) | grep -iE "error|reset|vda|virtio" && echo DMESG SAYS SO
			umount /mnt
			reboot -f
			sleep 100')"
	expect 60 g.out 'number 3[^0-9]'
	bulkhead adopt g 2>early && fail "adopted under a living broker"
	has early 'its broker is alive'
	wait_for 10 vm_kept g || fail "it has no keeper: $(bulkhead ps)"
	kill -KILL "$VM_PID"
	wait "$VM_PID" || :
	wait_for 5 orphaned g || fail "not orphaned: $(bulkhead ps)"
	bulkhead audit g 2>err && fail "audited without broker"
	has err 'bulkhead adopt'
	expect_more g.out
	bulkhead adopt g >adopt.out 2>g.err &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	wait_for 20 vm_runs g || fail "not adopted: $(cat g.err)"
	wait_for 20 adopted g.err || fail "a device was not replaced: $(cat g.err)"
	bulkhead audit g >audit || fail "the audit fails: $(cat audit)"
	expect_more g.out
	printf go | dd of="$T/flag.img" conv=notrunc 2>/dev/null
	expect 90 g.out 'SECOND BOOT'
	vm_ok 30
	lacks g.out 'WRONG NUMBER|NO END' && lacks g.out 'DMESG SAYS SO'
	nothing_left
	# And one that nobody wants any more.
	rm -f "$T/g.in"
	full_vm v
	wait_for 10 vm_kept v || fail "it has no keeper: $(bulkhead ps)"
	kill -KILL "$VM_PID"
	wait_for 5 orphaned v || fail "not orphaned: $(bulkhead ps)"
	bulkhead stop v || fail "an orphan can't be stopped"
	wait_for 5 no_processes || fail "left: $(pgrep -a '^bulkhead')"
	bulkhead adopt v 2>gone || status=$?
	[ $status = 1 ] || fail "adopt of no VM: status $status"
	has gone 'no VM "v" is running'
}

# console, disk, network and entropy
adopted() {
	[ "$(grep -c 'event=device-adopted' "$1")" = 5 ]
}

orphaned() {
	bulkhead ps "$1" | grep -q '^[^ ]*  orphaned'
}

# expect_more FILE: it grows
expect_more() {
	local size
	size=$(stat -c %s "$1")
	wait_for 20 grown "$1" "$size" || fail "$1 does not grow"
}

grown() {
	[ "$(stat -c %s "$1")" -gt "$2" ]
}

no_processes() {
	! pgrep '^bulkhead|^passt'
}

# is_json FILE: one JSON value. Strings become s, other atoms v, then each
# innermost list or object v, until one is left.
is_json() {
	local text next='' string='"([^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"'
	text=$(tr -d '\n' <"$1" | sed -E "s/$string/s/g; s/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/v/g; s/true|false|null/v/g")
	while [ "$text" != "$next" ]; do
		next=$text
		text=$(printf '%s' "$text" | sed -E 's/\[([sv](,[sv])*)?\]/v/g; s/\{(s:[sv](,s:[sv])*)?\}/v/g')
	done
	[ "$text" = v ]
}

# Two VMs at once, and what `bulkhead ps` tells about them.
test_two_vms_and_ps() {
	local first role layer
	echo '{"a":[1,{"b":"x\"y"}],' >bad.json
	! is_json bad.json || fail "the JSON check accepts everything"
	full_vm one
	first=$VM_PID
	VM_STATUS=0
	refused 'a VM of this name is running' --name one --kernel "$GUEST/vmlinuz"
	vm_start two --cmdline "console=hvc0 quiet $(guest_command 'echo TWO; read -r go')"
	expect 60 two.out TWO
	bulkhead ps >table
	has table '^one  running, .* 1 CPUs, 512 MiB'
	has table '^two  running, '
	for role in broker core blk net console rng; do
		has table "^  $role +"
	done
	bulkhead ps one >only
	lacks only '^two'
	lacks table "mdwe.*mdwe"
	# core, devices, their spares and the keeper, 10 and 6
	wait_for 20 confined 16 || fail "$(wc -l <processes) confined processes, not 16"
	is_json all.json || fail "not JSON: $(cat all.json)"
	for layer in 'user namespace' 'mount namespace' 'pid namespace' 'net namespace' \
		'ipc namespace' 'uts namespace' 'cgroup namespace' no_new_privs landlock seccomp; do
		! grep -v "$layer" processes || fail "a process neither has nor lacks by name: $layer"
	done
	kill -0 "$first" || fail "the first VM has ended"
	vm_type go
	vm_ok 30
	bulkhead stop one
	vm_gone_soon "$first"
	[ "$(bulkhead ps)" = "No VM is running." ] || fail "ps shows: $(bulkhead ps)"
	[ "$(bulkhead ps --json)" = "[]" ] || fail "ps --json shows: $(bulkhead ps --json)"
}

# confined NUMBER: so many processes there are, a line each in `processes`, and
# all have locked themselves down
confined() {
	bulkhead ps --json >all.json
	sed 's/{"role"/\n&/g' all.json | grep '^{"role"' | grep -v '"role":"broker"' >processes
	[ "$(wc -l <processes)" = "$1" ] && [ "$(grep -c '"seccomp"' processes)" = "$1" ]
}

vm_gone_soon() {
	wait_for 10 vm_gone "$1" || fail "pid $1 still runs"
}

test_log_file() {
	echo "first line" >log
	full_vm v -vv --log-file "$T/log"
	kill -TERM "$VM_PID"
	ends_with 0
	has log '^first line'
	has log '^\[ *[0-9.]+\] info: guest started'
	[ ! -s v.err ] || fail "the log went to standard error too: $(cat v.err)"
}

# Kernels and initramfs that are none. A guest may crash of a corrupt kernel;
# nothing of ours may.
test_bad_images() {
	local size initrd="$GUEST/initramfs.cpio"
	for size in 1 512 600 4096 100000 4000000; do
		head -c "$size" "$GUEST/vmlinuz" >cut
		refused '(kernel|cut)' --kernel cut --console off
		head -c "$size" "$GUEST/vmlinux" >cut
		refused '(kernel|cut)' --kernel cut --console off
	done
	head -c 3000000 /dev/urandom >noise
	refused kernel --kernel noise --console off
	{ head -c 512 "$GUEST/vmlinuz" && head -c 3000000 /dev/urandom; } >noise
	refused kernel --kernel noise --console off
	{ head -c 64 "$GUEST/vmlinux" && head -c 3000000 /dev/urandom; } >noise
	refused kernel --kernel noise --console off
	# An ELF program without a PVH note.
	refused 'PVH|kernel' --kernel "$(command -v bulkhead)" --console off
	: >empty
	refused 'empty: the file is empty' --kernel empty --console off
	refused 'not a regular file' --kernel /dev/zero --console off
	refused 'not a regular file' --kernel "$T" --console off
	refused 'nowhere.*No such file' --kernel "$T/nowhere" --console off
	refused 'initramfs .*nowhere.*No such file' --kernel "$GUEST/vmlinuz" --initramfs "$T/nowhere"
	truncate -s 600M large
	refused 'initramfs|memory' --kernel "$GUEST/vmlinuz" --initramfs large --console off
	refused 'cmdline|command line' --kernel "$GUEST/vmlinuz" --initramfs "$initrd" \
		--cmdline "$(printf 'a%.0s' $(seq 1 3000))" --console off
	nothing_left
}
