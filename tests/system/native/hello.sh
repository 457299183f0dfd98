# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The tiny guest on this machine's KVM, started by the real broker. Others may
# run VMs here, so what is left is looked for by this test's own marks.

needs_kvm() {
	[ -e /dev/kvm ] || skip "no /dev/kvm"
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || skip "no right to open /dev/kvm"
	[ -f "$HELLO" ] || fail "$HELLO was not built (target hello)"
}

# hello STATUS ARGUMENT...: run it; its output in serial, the log in log
hello() {
	local want=$1 status=0
	shift
	timeout 60 bulkhead run --name "hello-$$" --kernel "$HELLO" --memory size=64M \
		--console off --serial "file=$T/serial" -vv "$@" </dev/null >out 2>log || status=$?
	[ "$status" = "$want" ] || {
		cat log
		fail "status $status, not $want"
	}
	[ ! -s out ] || fail "something on standard output"
}

# own_left: our processes that still run, and sockets
own_left() {
	local dir=/run/bulkhead
	[ "$(id -u)" = 0 ] || dir=${XDG_RUNTIME_DIR:-/tmp/bulkhead-$(id -u)}
	pgrep -P $$ bulkhead || :
	find "$dir" -name "hello-$$*" 2>/dev/null || :
	ls "$T" | grep -E '\.sock$' || :
}

# mark CODE: milliseconds from the launch to the guest's write to port 0x80
mark() {
	sed -n "s/.*debug code $1, \([0-9]*\)\.[0-9]* ms after the launch.*/\1/p" log
}

test_hello_20_times() {
	local i first
	needs_kvm
	for i in $(seq 1 20); do
		hello 0
		[ "$(tr -d '\r' <serial)" = hello ] || fail "start $i: output $(cat serial)"
		grep -q 'powered off' log || fail "start $i: no power-off"
		first=$(mark 0x40)
		[ -n "$first" ] && [ -n "$(mark 0x41)" ] || fail "start $i: a mark is missing"
		[ "$first" -lt 5000 ] || fail "start $i: first instruction after $first ms"
		[ -z "$(own_left)" ] || fail "start $i: left $(own_left)"
	done
}

test_hello_with_devices() {
	local i
	needs_kvm
	truncate -s 1M disk
	for i in $(seq 1 5); do
		hello 0 --disk "path=$T/disk" --console null --debug-console "file=$T/debug" \
			--platform system_family=x
		[ "$(tr -d '\r' <debug)" = hello ] || fail "debug console: $(cat debug)"
	done
}

# Restarts in a row: all processes are replaced each time.
test_hello_reboots() {
	local way
	needs_kvm
	for way in reset i8042 triple; do
		: >log # the background's shell may be late to do it
		bulkhead run --name "hello-$$" --kernel "$HELLO" --memory size=64M -vv --console off \
			--cmdline "end=$way" </dev/null 2>log &
		VM_PID=$!
		ALL_PIDS="$ALL_PIDS $VM_PID"
		wait_for 60 rebooted 25 || {
			tail -n 5 log
			fail "$way: $(grep -c 'asked for a reset' log) reboots"
		}
		kill -TERM "$VM_PID" ||
			fail "$way: ended after $(grep -c 'asked for a reset' log) reboots: $(tail -n 1 log)"
		vm_wait 10
		[ "$VM_STATUS" = 0 ] || {
			tail -n 5 log
			fail "$way: status $VM_STATUS"
		}
		[ -z "$(own_left)" ] || fail "$way: left $(own_left)"
	done
}

rebooted() {
	[ "$(grep -c 'asked for a reset' log)" -ge "$1" ] || ! kill -0 "$VM_PID"
}

# A guest that only halts is ended by signals.
test_hello_halted_is_ended() {
	local signal want
	needs_kvm
	for signal in INT:130 TERM:0; do
		want=${signal#*:}
		: >log
		# A background job of a shell ignores SIGINT; env gives it back.
		env --default-signal=INT bulkhead run --name "hello-$$" --kernel "$HELLO" --memory size=64M \
			-vv --console off --cmdline end=halt </dev/null 2>log &
		VM_PID=$!
		ALL_PIDS="$ALL_PIDS $VM_PID"
		expect 30 log 'debug code 0x41'
		kill "-${signal%:*}" "$VM_PID"
		vm_wait 10
		[ "$VM_STATUS" = "$want" ] || fail "${signal%:*}: status $VM_STATUS, not $want"
		[ -z "$(own_left)" ] || fail "left $(own_left)"
	done
}

# Root of a user namespace that has no other id, as in many containers: the
# children share its id, and that is told.
test_hello_in_a_container() {
	needs_kvm
	unshare -U --map-root-user true 2>unshare || skip "$(cat unshare)"
	truncate -s 1M disk
	unshare -U --map-root-user timeout 60 bulkhead run --name "hello-$$" \
		--kernel "$HELLO" --memory size=64M --disk "path=$T/disk" --console null \
		--serial "file=$T/serial" --cmdline end=halt </dev/null >out 2>log &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	wait_for 30 container_runs || fail "it does not run: $(cat log ps)"
	[ "$(grep -c 'LACKS host id' ps)" -ge 4 ] || fail "not told: $(cat ps)"
	[ "$(tr -d '\r' <serial)" = hello ] || fail "output: $(cat serial)"
	bulkhead stop "hello-$$"
	vm_wait 10
	[ "$VM_STATUS" = 0 ] || fail "status $VM_STATUS: $(cat log)"
	[ -z "$(own_left)" ] || fail "left $(own_left)"
}

container_runs() {
	bulkhead ps "hello-$$" >ps && grep -q ' running,' ps && grep -q hello serial
}

# A vCPU's thread is named after it and may run where affinity= says.
test_hello_affinity() {
	local core pid cpu want tid
	needs_kvm
	[ "$(nproc --all)" -ge 2 ] || skip "the machine has one CPU"
	timeout 60 bulkhead run --name "hello-$$" --kernel "$HELLO" --memory size=64M \
		--cmdline end=halt --console off --cpus "boot=3,affinity=[0@[0],1@[1],2@[0-1]]" \
		</dev/null >out 2>log &
	pid=$!
	for _ in $(seq 100); do
		core=$(bulkhead ps "hello-$$" 2>/dev/null | awk '$1 == "core" { print $3 }')
		[ -n "$core" ] && bulkhead ps "hello-$$" | grep -q ' running,' && break
		sleep 0.1
	done
	[ -n "$core" ] || fail "no core: $(cat log)"
	while read -r cpu want; do
		tid=$(grep -lx "vcpu$cpu" "/proc/$core"/task/*/comm)
		[ -n "$tid" ] || fail "no thread vcpu$cpu"
		grep -qx "Cpus_allowed_list:	$want" "${tid%comm}status" ||
			fail "vcpu$cpu: $(grep Cpus_allowed_list "${tid%comm}status"), not $want"
	done <<-END
		0 0
		1 1
		2 0-1
	END
	bulkhead stop "hello-$$"
	wait $pid || fail "status $?"
}
