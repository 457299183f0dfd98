# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The serial port and the virtio console on every kind of back end.

# mark LETTER, in the guest: a sector of the disk $T/marks, which tells the
# test how far the guest is while nobody reads its consoles.
# flood LINES, in the guest: 64 bytes each. Linux hands a console 16 bytes at a
# time and waits for each, some milliseconds in the lab: hence no megabytes
# (native_console has them).
IN_GUEST='mark() {
		printf %s "$1" >/tmp/mark
		dd if=/tmp/mark of=/dev/vda bs=512 conv=sync,notrunc,fsync seek=$marks 2>/dev/null
		marks=$((marks + 1))
	}
	marks=0
	flood() {
		yes "of a flood, which nobody reads at this moment......" | head -n "$1" |
			awk "{ printf \"line %06d %s\\n\", NR, \$0 }"
	}
'

marks_disk() {
	truncate -s 64K "$T/marks"
}

marks() {
	tr -dc A-Z <"$T/marks"
}

# terminal NAME: the two ends of a terminal, $T/NAME.tty for a program and
# $T/NAME.user for who sits there; what he sees is in $T/NAME.screen
terminal() {
	socat "pty,link=$T/$1.tty" "pty,rawer,link=$T/$1.user" &
	ALL_PIDS="$ALL_PIDS $!"
	wait_for 5 test -e "$T/$1.tty" -a -e "$T/$1.user" || fail "no terminal"
	# It must not hang up when a program ends.
	exec {KEEP}<>"$T/$1.tty"
	cat "$T/$1.user" >"$T/$1.screen" &
	ALL_PIDS="$ALL_PIDS $!"
}

# on_terminal NAME ARGUMENT...: start a VM on it; $VM_PID
on_terminal() {
	local name=$1
	shift
	setsid -c bulkhead run --name "$name" --kernel "$GUEST/vmlinuz" \
		--initramfs "$GUEST/initramfs.cpio" "$@" \
		<"$T/$name.tty" >"$T/$name.tty" 2>"$T/$name.err" &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
}

is_raw() {
	stty -a <"$T/$1.tty" | grep -q -e '-icanon'
}

test_console_tty_keys_size_raw_mode() {
	local before
	terminal t
	stty rows 30 cols 100 <t.tty
	before=$(stty -g <t.tty)
	on_terminal t --cmdline "console=hvc0 quiet $(guest_command 'echo "SIZE $(stty size)"
		read -r line
		echo "got $line"
		tries=0
		until [ "$(stty size)" = "40 120" ]; do
			tries=$((tries + 1))
			[ $tries -lt 400 ] || exit 1
			usleep 50000
		done
		stty raw
		printf "RESIZED\r\n"
		byte=$(dd bs=1 count=1 2>/dev/null | od -An -tx1)
		stty -raw
		echo "byte$byte"')"
	expect 60 t.screen 'SIZE 30 100'
	is_raw t || fail "the terminal is not raw"
	printf 'hello\r' >t.user
	expect 20 t.screen 'got hello'
	stty rows 40 cols 120 <t.tty
	expect 30 t.screen RESIZED
	# Ctrl-C is the guest's.
	printf '\003' >t.user
	expect 20 t.screen 'byte 03'
	vm_ok 30
	[ "$(stty -g <t.tty)" = "$before" ] || fail "the terminal was not restored"
}

# test_terminal_...: ways to end, none of which may leave the terminal raw
terminal_after() { # STATUS COMMAND...
	local before want=$1 name=t$RANDOM
	shift
	terminal $name
	before=$(stty -g <$name.tty)
	on_terminal $name --cmdline "console=hvc0 $SLEEPS"
	wait_for 20 is_raw $name || fail "the terminal does not become raw"
	wait_for 20 vm_runs $name || fail "the VM does not start"
	"$@" $name
	vm_wait 20
	[ "$VM_STATUS" = "$want" ] || fail "status $VM_STATUS, not $want, after: $*"
	[ "$(stty -g <$name.tty)" = "$before" ] ||
		fail "the terminal was not restored after: $*"
}
SLEEPS=$(guest_command 'sleep 1000')

send_signal() { # SIGNAL NAME
	kill "-$1" "$VM_PID"
}

kill_role() { # ROLE NAME
	kill -KILL "$(process_of "$2" "$1")"
}

test_terminal_is_restored() {
	terminal_after 130 send_signal INT
	terminal_after 0 send_signal TERM
	terminal_after 0 send_signal HUP
	terminal_after 1 kill_role core
	terminal_after 0 bulkhead stop
}

test_terminal_is_untouched_by_errors() {
	local before
	terminal e
	before=$(stty -g <e.tty)
	on_terminal e --memory size=5X
	vm_wait 10
	[ "$VM_STATUS" = 2 ] || fail "status $VM_STATUS, not 2"
	on_terminal e --disk path=/nowhere/disk
	vm_wait 10
	[ "$VM_STATUS" = 1 ] || fail "status $VM_STATUS, not 1"
	on_terminal e --net fd=77
	vm_wait 10
	[ "$VM_STATUS" = 1 ] || fail "status $VM_STATUS, not 1"
	[ "$(stty -g <e.tty)" = "$before" ] || fail "the terminal was changed"
}

# pty_of NAME OPTION: the path that is told for --console or --serial
pty_of() {
	sed -n "s,.*--$2 pty: \(/dev/pts/[0-9]*\).*,\1,p" "$T/$1.err"
}

test_console_and_serial_pty() {
	local hvc ttys
	marks_disk
	vm_start p --console pty --serial pty --disk "path=$T/marks" \
		--cmdline "console=hvc0 quiet $(guest_command "$IN_GUEST"'
		echo EARLY-HVC
		echo EARLY-TTYS >/dev/ttyS0
		mark A
		read -r line
		echo "hvc got $line"
		read -r line </dev/ttyS0
		echo "ttyS got $line" >/dev/ttyS0
		mark B
		read -r line')"
	expect 60 marks A
	hvc=$(pty_of p console)
	ttys=$(pty_of p serial)
	[ -c "$hvc" ] || fail "the console's terminal is not told"
	[ -c "$ttys" ] || fail "the serial port's terminal is not told"
	# What was printed before anybody looked.
	cat "$hvc" >hvc.out &
	ALL_PIDS="$ALL_PIDS $!"
	cat "$ttys" >ttys.out &
	ALL_PIDS="$ALL_PIDS $!"
	expect 10 hvc.out EARLY-HVC
	expect 10 ttys.out EARLY-TTYS
	printf 'one\r' >"$hvc"
	expect 10 hvc.out 'hvc got one'
	printf 'two\r' >"$ttys"
	expect 10 ttys.out 'ttyS got two'
	expect 10 marks B
	printf '\r' >"$hvc"
	vm_ok 30
}

test_console_and_serial_file() {
	echo old >console
	vm_start f --console "file=$T/console" --serial "file=$T/serial" \
		--cmdline "console=hvc0 quiet bulkhead.check bulkhead.disk=none bulkhead.token=t0ken5"
	vm_ok 90
	has console '^CHECK-RESULT ok'
	has console '^CONSOLE hvc0 t0ken5'
	has serial '^CONSOLE ttyS0 t0ken5'
	lacks console '^old'
}

# client NAME SOCKET: typing goes to $T/NAME.keys, output to $T/NAME.out
client() {
	mkfifo "$T/$1.keys"
	exec {CLIENT_KEYS}<>"$T/$1.keys"
	socat -,ignoreeof "unix-connect:$2" <"$T/$1.keys" >"$T/$1.out" 2>/dev/null &
	CLIENT_PID=$!
	ALL_PIDS="$ALL_PIDS $CLIENT_PID"
}

# Both sockets: late reader, keys, a second client, a client that goes and
# comes back; output while nobody is connected is kept (256 KiB of it:
# native_console).
test_console_and_serial_socket() {
	local first
	marks_disk
	vm_start s --console "socket=$T/c.sock" --serial "socket=$T/s.sock" \
		--disk "path=$T/marks" --cmdline "console=hvc0 quiet $(guest_command "$IN_GUEST"'
		echo EARLY-HVC
		echo EARLY-TTYS >/dev/ttyS0
		mark A
		read -r line
		echo "hvc got $line"
		read -r line </dev/ttyS0
		flood 500
		echo FLOODED >/dev/ttyS0
		read -r line
		echo "hvc again $line"
		read -r line </dev/ttyS0
		echo "ttyS again $line" >/dev/ttyS0
		read -r line')"
	expect 60 marks A
	client c1 "$T/c.sock"
	first=$CLIENT_PID
	expect 10 c1.out EARLY-HVC
	printf 'one\r' >c1.keys
	expect 10 c1.out 'hvc got one'
	# One client at a time.
	timeout 10 socat -u "unix-connect:$T/c.sock" - >second.out 2>&1 || :
	[ ! -s second.out ] || fail "a second client got output"
	expect 5 s.err 'second client'
	client s1 "$T/s.sock"
	expect 10 s1.out EARLY-TTYS
	kill "$first"
	wait "$first" || :
	printf 'go\r' >s1.keys
	expect 150 s1.out FLOODED
	kill "$CLIENT_PID"
	wait "$CLIENT_PID" || :
	client c2 "$T/c.sock"
	expect 10 c2.out 'line 000500 of a flood'
	sed -n 's/^line \([0-9]*\) .*/\1/p' c2.out | tr -d '\r' >numbers
	awk 'BEGIN { for (i = 1; i <= 500; i++) printf "%06d\n", i }' | cmp - numbers || fail "lines are missing"
	printf 'two\r' >c2.keys
	expect 10 c2.out 'hvc again two'
	client s2 "$T/s.sock"
	printf 'three\r' >s2.keys
	expect 10 s2.out 'ttyS again three'
	printf '\r' >c2.keys
	vm_ok 30
	[ ! -e c.sock ] && [ ! -e s.sock ] || fail "a socket was left"
}

# Output that nobody ever takes: a full pipe, a pseudo-terminal without reader.
test_slow_reader_does_not_stall() {
	local pipe
	mkfifo w.out
	exec {pipe}<>w.out
	marks_disk
	vm_start w --console tty --serial pty --disk "path=$T/marks" \
		--cmdline "console=hvc0 quiet $(guest_command "$IN_GUEST"'
		mark A
		flood 1500
		mark B
		flood 200 >/dev/ttyS0
		mark C')"
	vm_ok 150
	[ "$(marks)" = ABC ] || fail "marks $(marks)"
	exec {pipe}<&-
}

test_console_off_serial_tty() {
	vm_start o --console off --serial tty --cmdline "console=ttyS0 quiet $(guest_command '
		! grep -x 0x0003 /sys/bus/virtio/devices/*/device || exit 1
		echo READY
		read -r line
		echo "got $line"')"
	expect 60 o.out READY
	vm_type five
	vm_ok 30
	has o.out 'got five'
	has o.out 'BULKHEAD-RUN-EXIT 0'
}

test_console_null_serial_off() {
	marks_disk
	vm_start n --console null --serial off --disk "path=$T/marks" \
		--cmdline "console=hvc0 quiet $(guest_command "$IN_GUEST"'
		mark A
		flood 500
		mark B
		! grep -E "uart:(16|8)" /proc/tty/driver/serial || exit
		mark C')"
	vm_ok 60
	[ "$(marks)" = ABC ] || fail "marks $(marks)"
	[ ! -s n.out ] || fail "output appeared: $(head -c 100 n.out)"
}

# serial= null is the default and swallows; both tty share one terminal.
test_console_and_serial_tty() {
	vm_start b --serial tty --console tty --cmdline "console=hvc0 quiet $(guest_command '
		echo from-ttyS0 >/dev/ttyS0
		echo from-hvc0
		read -r line
		echo "hvc got $line"')"
	expect 60 b.out from-hvc0
	vm_type six
	vm_ok 30
	has b.out 'from-ttyS0'
	has b.out 'hvc got six'
}
