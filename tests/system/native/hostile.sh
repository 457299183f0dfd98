# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A guest that breaks every rule it can think of (tests/guest/hostile), with
# all devices, on this machine's KVM. The VM's name is that of hello.sh, whose
# own_left() looks for what is left.

HOSTILE_LOG_MAX=65536 # bytes: not a line for each of thousands of faults

# devices: role, pid and restarts of each
devices() {
	bulkhead ps "hello-$$" | awk '$1 ~ /^(blk|net|console|rng)$/ { print $1, $3, $4 }'
}

# device_pid ROLE: empty while it is replaced
device_pid() {
	devices | awk -v role="$1" '$1 == role && $2 > 1 { print $2 }'
}

# direct: ",direct=on" where sectors of the disk can be read past the cache
direct() {
	dd if=disk of=/dev/null bs=512 count=1 iflag=direct 2>/dev/null && echo ",direct=on" || :
}

# hostile_start WORDS [DISK-OPTIONS]: report in debug, log in log
hostile_start() {
	needs_kvm
	[ "$(id -u)" = 0 ] || skip "a network of its own needs root"
	: >log # the background's shell may be late to do it
	unshare -n bulkhead run --name "hello-$$" --kernel "${HELLO%/*}/hostile" \
		--memory size=64M --cpus boot=2 --disk "path=$T/disk${2:-}" \
		--net "tap=hostile0,num_queues=4" --console "socket=$T/console" \
		--debug-console "file=$T/debug" -v --cmdline "com1=0 $1" \
		</dev/null >out 2>log &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	expect 20 log 'guest started'
	nsenter --net="/proc/$VM_PID/ns/net" "${HELLO%/tests/*}/native/echo-peer" \
		hostile0 "$T/console" 2>peer &
	ALL_PIDS="$ALL_PIDS $!"
	expect 20 debug '^READY'
}

# hostile_end: the verdict, then the power button
hostile_end() {
	expect 100 debug '^VERDICT'
	grep -aE '^(PART|HOSTILE|VERDICT|FAIL)' debug
	cat peer
	has debug '^VERDICT ok devices=4 '
	devices >after
	bulkhead power-button "hello-$$"
	vm_wait 20
	[ "$VM_STATUS" = 0 ] || {
		tail -n 20 log
		fail "status $VM_STATUS"
	}
	grep -q 'powered off' log || fail "no power-off"
	grep -q 'needs a reset' log || fail "no word of it in the log"
	[ "$(stat -c %s log)" -lt $HOSTILE_LOG_MAX ] ||
		fail "the log has $(stat -c %s log) bytes"
	[ -z "$(own_left)" ] || fail "left $(own_left)"
}

hostile() { # WORDS [DISK-OPTIONS]
	hostile_start "$@"
	devices >before
	[ "$(wc -l <before)" = 4 ] || fail "not four devices: $(cat before)"
	hostile_end
	cmp -s before after || {
		grep event= log
		fail "a device was replaced"
	}
}

test_hostile_split() {
	truncate -s 32M disk
	hostile "packed=0"
}

# With a disk that takes its time: resets find requests under way.
test_hostile_packed() {
	dd if=/dev/zero of=disk bs=1M count=32 2>/dev/null
	hostile "packed=1 seed=2" "$(direct)"
}

# A ring where no memory is, and its device dies before it can say so: none of
# its replacements may die of it, and the driver is told.
test_hostile_ring_of_a_dead_device() {
	local kills=0 pid
	truncate -s 32M disk
	hostile_start "do=setup only=rng"
	while ! grep -aq '^VERDICT' debug && [ $kills -lt 20 ]; do
		pid=$(device_pid rng)
		if [ -n "$pid" ]; then
			kill -STOP "$pid"
			sleep 0.02 # requests pile up
			kill -KILL "$pid"
			kills=$((kills + 1))
		fi
		sleep 0.1
	done
	hostile_end
	[ "$kills" -ge 3 ] || fail "only $kills kills"
	grep -qx "rng [0-9]* $kills" after ||
		fail "after $kills kills: $(grep rng after)"
}
