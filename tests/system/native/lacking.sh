# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Hosts that lack something: the VM runs, and what is missing is told by name.

LOAD=$(dirname "$HELLO")/load
DENY=${HELLO%/tests/*}/native/deny-call

lacking_runs() {
	bulkhead ps "lacking-$$" >ps 2>/dev/null && grep -q ' running,' ps
}

# lacking CALL: a guest that halts, without this system call; log, ps
lacking() {
	needs_kvm
	[ -x "$DENY" ] || fail "$DENY was not built"
	"$DENY" "$1" timeout 60 bulkhead run --name "lacking-$$" --kernel "$HELLO" \
		--memory size=64M --console null --cmdline end=halt </dev/null >out 2>log &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	wait_for 30 lacking_runs || fail "it does not run: $(cat log)"
	bulkhead stop "lacking-$$"
	vm_wait 10
	[ "$VM_STATUS" = 0 ] || fail "status $VM_STATUS: $(cat log)"
}

# told TEXT: once at the start, and by ps for each process
told() {
	[ "$(grep -c "the sandbox lacks $1" log)" = 1 ] || fail "not told once: $(cat log)"
	[ "$(grep -c "LACKS.* $1" ps)" -ge 3 ] || fail "not in ps: $(cat ps)"
}

test_lacking_landlock() {
	lacking landlock_create_ruleset
	told landlock
}

test_lacking_keyrings() {
	lacking keyctl
	told 'session keyring'
}

# Verified load on a disk by plain system calls.
test_lacking_io_uring() {
	needs_kvm
	truncate -s 64M disk
	"$DENY" io_uring_setup timeout 60 bulkhead run --name "lacking-$$" --kernel "$LOAD" \
		--memory size=64M --console null --disk "path=$T/disk,direct=on" \
		--serial "file=$T/serial" --cmdline "time=1 only=blk" </dev/null >out 2>log ||
		fail "status $?: $(cat log)"
	grep -q 'DONE ok' serial || fail "$(tail -n 3 serial)"
	grep -q 'Cannot set io_uring up: Function not implemented' log || fail "not told: $(cat log)"
}

# lacking_thaw: undo what the test did to mnt; while it is frozen nothing ends
lacking_thaw() {
	fsfreeze -u mnt 2>/dev/null || :
	# shellcheck disable=SC2086 # a list
	kill $ALL_PIDS 2>/dev/null || :
	wait
	umount mnt
}

# A disk that does not answer for longer than a heartbeat may take keeps its
# process waiting; to replace it would help nobody.
test_lacking_io_uring_and_a_disk_that_stands_still() {
	local PATH=$PATH:/usr/sbin:/sbin
	needs_kvm
	[ "$(id -u)" = 0 ] || skip "only root can freeze a file system"
	mkdir mnt
	truncate -s 160M fs
	mkfs.ext4 -q fs
	mount -o loop fs mnt 2>mount || skip "no loop device: $(cat mount)"
	trap lacking_thaw EXIT
	truncate -s 64M mnt/disk
	"$DENY" io_uring_setup timeout 100 bulkhead run --name "lacking-$$" --kernel "$LOAD" -v \
		--memory size=64M --console null --disk "path=$T/mnt/disk" \
		--serial "file=$T/serial" --cmdline "time=20 stall=60 only=blk" </dev/null >out 2>log &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	wait_for 30 lacking_runs || fail "it does not run: $(cat log)"
	sleep 1
	fsfreeze -f mnt
	sleep 16
	fsfreeze -u mnt
	vm_wait 60
	[ "$VM_STATUS" = 0 ] || fail "status $VM_STATUS: $(cat log)"
	grep -q 'DONE ok' serial || fail "$(tail -n 3 serial)"
	[ "$(grep -c event=device-waits log)" = 1 ] || fail "not told once: $(cat log)"
	! grep event=device-lost log || fail "it was replaced"
}
