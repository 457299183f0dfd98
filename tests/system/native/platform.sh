# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The guest `platform` compares the machine with what was asked for.

PLATFORM=$(dirname "$HELLO")/platform

# platform WORDS ARGUMENT...: run it; its output in serial
platform() {
	local words=$1 status=0
	shift
	needs_kvm
	timeout 100 bulkhead run --name "platform-$$" --kernel "$PLATFORM" --console off \
		--serial "file=$T/serial" --cmdline "now=$(date +%s) $words" "$@" \
		</dev/null >out 2>log || status=$?
	[ "$status" = 0 ] || {
		cat log
		fail "status $status"
	}
	tr -d '\r' <serial >text
	grep -x 'PLATFORM ok failures=0' text || {
		cat text
		fail "$(grep -m 1 ^FAIL text || tail -n 1 text)"
	}
}

test_platform_small() {
	platform "low=64 cpus=1" --memory size=64M
	# Other words are seen, too: a check can fail.
	! (platform "low=66 cpus=1" --memory size=64M >wrong) || fail "66 MiB are 64 MiB"
	grep -q '^FAIL memory map: size' wrong || fail "$(cat wrong)"
}

test_platform_topology_above_4g() {
	truncate -s 1M disk
	platform "low=3072 high=2048 cpus=4 threads=2 cores=2 devices=2 debug=1" \
		--memory size=5G --cpus boot=4,topology=2:2:1:1 --disk "path=$T/disk" \
		--debug-console "file=$T/debug"
}

test_platform_254_cpus() {
	platform "low=256 cpus=254 cores=254" --memory size=256M --cpus boot=254
}

# Counts that are no powers of two leave gaps, and ids need more than 8 bits.
test_platform_x2apic_ids() {
	platform "low=256 cpus=250 cores=5 x2apic=1" --memory size=256M \
		--cpus boot=250,topology=1:5:1:50
}

test_platform_power_button() {
	local pid
	needs_kvm
	platform "low=64 button=1" --memory size=64M &
	pid=$!
	wait_for 60 grep -q PRESS serial || fail "nothing to press: $(cat log)"
	bulkhead power-button "platform-$$"
	wait $pid || fail "$(tail -n 3 text)"
}
