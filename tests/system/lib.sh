# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What system tests use. A test is a function test_NAME in one of *.sh here;
# it runs in a shell of its own, in an empty folder $T, and fails by
# returning non-zero (fail says why) or by `set -e`. skip REASON skips it.
#
# In the lab $GUEST holds vmlinuz, vmlinux, initramfs.cpio and disk.img.

GUEST=${GUEST:-/bulkhead/guest}

fail() {
	echo "why: $*"
	exit 1
}

skip() {
	echo "skip: $*"
	exit 77
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# expect SECONDS FILE PATTERN: the text appears in the file, before the VM
# started last ends
expect() {
	wait_for "$1" found_or_gone "$2" "$3" && grep -aqE -- "$3" "$2" || {
		timeout 5 tail -n 30 "$2" "$T"/*.err || :
		fail "no \"$3\" in ${2##*/} after $1 s, or at the VM's end"
	}
}

found_or_gone() {
	grep -aqE -- "$2" "$1" || { [ -n "$VM_PID" ] && vm_gone "$VM_PID"; }
}

# has FILE PATTERN, lacks FILE PATTERN: the text is (not) in $T/FILE
has() {
	grep -aqE -- "$2" "$T/$1" || {
		tail -n 40 "$T/$1"
		fail "no \"$2\" in $1"
	}
}

lacks() {
	! grep -aE -- "$2" "$T/$1" || fail "\"$2\" is in $1"
}

# guest_command TEXT: kernel command line words that run it in the guest
guest_command() {
	printf 'bulkhead.run64=%s' "$(printf '%s' "$1" | base64 -w0)"
}

# vm_start NAME ARGUMENT...: start a VM in the background; $VM_PID
#
# Standard input is $T/NAME.in (a pipe kept open), output $T/NAME.out, errors
# $T/NAME.err. Kernel and initramfs are given unless the arguments do.
vm_start() {
	local name=$1
	shift
	case " $* " in
	*" --kernel "*) ;;
	*) set -- --kernel "$GUEST/vmlinuz" --initramfs "$GUEST/initramfs.cpio" "$@" ;;
	esac
	[ -p "$T/$name.in" ] || mkfifo "$T/$name.in"
	# Opened both ways so that neither side waits for the other.
	exec {VM_IN}<>"$T/$name.in"
	# What an earlier VM said must be gone when the caller looks.
	: >"$T/$name.out"
	: >"$T/$name.err"
	bulkhead run --name "$name" "$@" <"$T/$name.in" >"$T/$name.out" 2>"$T/$name.err" &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
}
ALL_PIDS=
VM_PID=

# vm_type TEXT: keys for the VM started last
vm_type() {
	printf '%s\n' "$*" >&"$VM_IN"
}

# vm_wait [SECONDS]: wait for the VM started last; its status in $VM_STATUS
vm_wait() {
	local limit=${1:-90}
	wait_for "$limit" vm_gone "$VM_PID" || {
		timeout 5 tail -n 20 "$T"/*.out "$T"/*.err
		fail "the VM still runs after $limit s"
	}
	VM_STATUS=0
	wait "$VM_PID" || VM_STATUS=$?
}

vm_gone() {
	! kill -0 "$1" || grep -q '^State:.Z' "/proc/$1/status"
}

# process_of NAME ROLE: pid of the VM's process of this role
process_of() {
	bulkhead ps "$1" | awk -v role="$2" '$1 == role { print $3; exit }'
}

# vm_runs NAME: its processes have started the guest
vm_runs() {
	bulkhead ps "$1" 2>/dev/null | head -n 1 | grep -q ' running,'
}

# vm_kept NAME: it runs, and would outlive its broker
vm_kept() {
	bulkhead ps --json "$1" 2>/dev/null |
		grep -q '"role":"keeper","id":"[^"]*","pid":[0-9]*,"state":"running"'
}

# nothing_left: no process, socket or interface of ours within 5 s
nothing_left() {
	wait_for 5 no_leftovers || {
		leftovers
		fail "something was left behind: $(leftovers | tr '\n' ' ')"
	}
}

no_leftovers() {
	[ -z "$(leftovers)" ]
}

leftovers() {
	pgrep -a '^bulkhead' | sed 's/^/process /'
	pgrep -a '^passt' | sed 's/^/process /'
	ls /run/bulkhead 2>/dev/null | sed 's/^/socket /'
	ip -o link show type tun 2>/dev/null | sed 's/^/interface /'
}

# vm_ok [SECONDS]: the VM ends with status 0
vm_ok() {
	vm_wait "$@"
	[ "$VM_STATUS" = 0 ] || {
		timeout 5 tail -n 20 "$T"/*.out "$T"/*.err
		fail "the VM ended with status $VM_STATUS"
	}
}

# in_guest COMMAND ARGUMENT...: boot, run it in the guest, power off; the
# guest's output is in $T/g.out; fails unless the command succeeded
in_guest() {
	local command=$1
	shift
	vm_start g --cmdline "console=hvc0 quiet ${GUEST_WORDS:-} $(guest_command "$command")" "$@"
	vm_ok 120
	grep -aq 'BULKHEAD-RUN-EXIT 0' "$T/g.out" || {
		tail -n 30 "$T/g.out" "$T/g.err"
		fail "the command failed in the guest"
	}
}

# checked WORDS ARGUMENT...: boot with the scripted check and these words
checked() {
	local words=$1
	shift
	vm_start g --cmdline "console=hvc0 quiet bulkhead.check $words" "$@"
	vm_ok 180
	grep -a '^CHECK' "$T/g.out"
	grep -aq '^CHECK-RESULT ok' "$T/g.out" || {
		tail -n 30 "$T/g.err"
		fail "the guest's check failed"
	}
}

# own_disk: a copy of the guest's disk to write to
own_disk() {
	cp --sparse=always "$GUEST/disk.img" "$T/${1:-disk.img}"
}

# refused PATTERN ARGUMENT...: `bulkhead run` fails at once with this text
refused() {
	local pattern=$1 status=0
	shift
	timeout 30 bulkhead run "$@" >"$T/refused.out" 2>"$T/refused.err" </dev/null || status=$?
	[ "$status" = 1 ] || [ "$status" = 2 ] ||
		fail "status $status, not 1 or 2, for: $*"
	grep -qE -- "$pattern" "$T/refused.err" || {
		cat "$T/refused.err"
		fail "no \"$pattern\" in the error for: $*"
	}
}
