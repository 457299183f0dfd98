# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Wrong command lines.

# bad STATUS PATTERN ARGUMENT...: `bulkhead run --kernel K ARGUMENT...` fails
# so; the error is one short text for a user
bad() {
	local want=$1 pattern=$2 status=0
	shift 2
	timeout 20 bulkhead run --kernel "$GUEST/vmlinuz" "$@" >bad.out 2>bad.err </dev/null || status=$?
	[ "$status" = "$want" ] || {
		cat bad.err
		fail "status $status, not $want, for: $*"
	}
	grep -qE -- "$pattern" bad.err || {
		cat bad.err
		fail "no \"$pattern\" in the error for: $*"
	}
	[ ! -s bad.out ] || fail "something on standard output for: $*"
	[ "$(wc -l <bad.err)" -le 3 ] || fail "a long error for: $*"
}

# Each error names the option, the value, the reason, and what would do.
test_wrong_options() {
	bad 2 'unknown option --cpux' --cpux boot=1
	bad 2 'unknown option -q' -vq
	bad 2 '"stray" belongs to no option' --memory size=512M stray
	bad 2 '--cpus boot=0: give a value from 1 to 254' --cpus boot=0
	bad 2 '--cpus boot=255: give a value from 1 to 254' --cpus boot=255
	bad 2 '--cpus boot=two: give a whole number' --cpus boot=two
	bad 2 '--cpus max=1: it is less than boot=2' --cpus boot=2,max=1
	bad 2 '--cpus topology=2:2:1:1: makes 4 CPUs, not max=2' --cpus boot=2,topology=2:2:1:1
	bad 2 '--cpus topology=2:2: give threads:cores:dies:packages' --cpus boot=4,topology=2:2
	bad 2 '--cpus topology=4:1:1:1: .*1 or 2 threads' --cpus boot=4,topology=4:1:1:1
	bad 2 '--cpus affinity=.3@....: there is no vCPU 3; give 0 to 1' --cpus 'boot=2,affinity=[3@[0]]'
	bad 2 '--cpus affinity=.*x.* is no host CPU' --cpus 'boot=2,affinity=[0@[x]]'
	bad 2 "brackets or quotes don't match" --cpus 'boot=2,affinity=[0@[0]'
	bad 2 '--cpus max_phys_bits=20: give a value from 36 to 57' --cpus boot=1,max_phys_bits=20
	bad 2 '--cpus: no key "boots"; there are boot' --cpus boots=1
	bad 2 '--cpus boot=2: the key was given already' --cpus boot=1,boot=2
	bad 2 '--memory size=5X: give bytes, or a number with K' --memory size=5X
	bad 2 '--memory size=8M: give 16M to' --memory size=8M
	bad 2 '--memory size=0: give 16M to' --memory size=0
	bad 2 '--memory size=.*: give a multiple of 2M' --memory size=513M
	bad 2 '--memory size=[0-9G]*: give' --memory size=99999999999G
	bad 2 '--memory hugepages=yes: give on, off, true or false' --memory size=512M,hugepages=yes
	bad 2 '--memory hugepage_size=.*hugepages=on' --memory size=512M,hugepage_size=2M
	bad 2 '--memory size: give key=value' --memory size
	bad 2 '--memory: the value is empty' --memory ''
	bad 2 '--disk readonly=on: give path=FILE' --disk readonly=on
	bad 2 '--disk num_queues=2: give at most 1, one queue a CPU' --disk path=x,num_queues=2
	bad 2 '--disk queue_size=100: give a power of two' --disk path=x,queue_size=100
	bad 2 '--disk serial=.*: give 1 to 20 characters' --disk path=x,serial=123456789012345678901
	bad 2 '--disk id=d: given to 2 devices' --disk path=x,id=d path=y,id=d
	bad 2 '--disk id=__x: ids that begin with __ are reserved' --disk path=x,id=__x
	bad 2 '--net mac=12:34: give six bytes' --net mac=12:34
	bad 2 '--net mac=01:.*group address' --net mac=01:00:00:00:00:00
	bad 2 '--net ip=1.2.3.4: give mask= with it' --net tap=,ip=1.2.3.4
	bad 2 '--net ip=300.1.1.1: give an IPv4 or IPv6 address' --net tap=,ip=300.1.1.1,mask=255.255.255.0
	bad 2 '--net mtu=100: give a value from 1280 to 65535' --net tap=,mtu=100
	bad 2 '--net num_queues=3: give an even number' --net tap=,num_queues=3
	bad 2 '--net num_queues=4: give at most 2, one pair a CPU' --net tap=,num_queues=4
	bad 2 '--net backend=slirp: give tap or passt' --net backend=slirp
	bad 2 'backend=passt: tap, ip.* belong to backend=tap' --net backend=passt,tap=x
	bad 2 '--net fd=.*: .*no descriptor' --net 'fd=[a]'
	bad 2 '--net tap=x: give either tap= or fd=' --net 'fd=[5],tap=x'
	bad 2 '--net offload_csum=off: give offload_tso=off' --net tap=,offload_csum=off
	bad 2 '--serial foo: give off, null' --serial foo
	bad 2 '--console file=x,id=y: nothing may follow the mode' --console file=x,id=y
	bad 2 '--console file=: the path is empty' --console file=
	bad 2 '--debug-console socket=/x: give off' --debug-console socket=/x
	bad 2 '--platform system_uuid=12: give a UUID' --platform system_uuid=12
	bad 2 '--rng: no key "source"; there are src' --rng source=/dev/null
	bad 2 '--api-socket /x: .*leave the option out' --api-socket /x
	bad 2 '--kernel needs a value' --kernel
	bad 2 '--cmdline: 70000 characters, at most 65535' --cmdline "$(printf 'a%.0s' $(seq 1 70000))"
	bad 2 '--name "a/b": a name has' --name a/b
	nothing_left
}

# What only the host can tell.
test_refused_by_the_host() {
	: >file
	truncate -s 100 short
	truncate -s 1M image
	mkdir dir
	ip link add bhdummy type dummy 2>/dev/null || :
	bad 1 '--disk path=.*nowhere.*No such file' --disk path=nowhere/x
	bad 1 '--disk path=short: it has 100 bytes' --disk path=short
	bad 1 '--disk path=dir.*directory' --disk path=dir
	bad 1 '--disk path=/dev/null' --disk path=/dev/null
	bad 1 'image is in use|in use' --disk path=image path=image
	bad 1 'fd=77: ' --net 'fd=[77]'
	exec 9<file
	bad 1 'fd=9: neither a tap nor a macvtap' --net 'fd=[9]'
	exec 9<&-
	bad 1 'tap=a/b' --net tap=a/b
	bad 1 'mask=255.0.255.0' --net tap=,ip=10.9.8.7,mask=255.0.255.0
	bad 1 '--console file=.*nowhere' --console file=nowhere/x
	bad 1 '--serial socket=file: it exists and is not a socket' --serial socket=file
	bad 1 '--serial socket=.*longer than' --serial "socket=$(printf 'a%.0s' $(seq 1 200))"
	bad 1 '--rng src=.*nowhere' --rng src=nowhere/x
	bad 1 '--log-file nowhere/x: cannot open it' --log-file nowhere/x
	bad 1 '--debug-console iobase=0x3f8: another device' --debug-console file=file2,iobase=0x3f8
	bad 1 '--cpus affinity=.0@....: cannot bind' --cpus 'boot=1,affinity=[0@[1000]]'
	bad 1 '--kernel file: the file is empty' --kernel file
	echo nothing >text
	bad 1 '--kernel text: is in no known format; pass a Linux bzImage' --kernel text
	bad 1 '--initramfs dir: not a regular file' --initramfs dir
	bad 1 '--memory hugepages=on: .*huge pages' --memory size=512M,hugepages=on --console off
	mkfifo fifo
	bad 1 'nobody reads this FIFO' --console file=fifo
	[ -e file ] && [ ! -s file ] || fail "a file was touched"
	nothing_left
}

# Without /dev/kvm, or the right to open it, the error says what to do.
test_refused_without_kvm() {
	local status=0
	setpriv --reuid=65534 --clear-groups bulkhead run --kernel "$GUEST/vmlinuz" 2>kvm.err || status=$?
	[ "$status" = 1 ] || fail "status $status"
	has kvm.err '/dev/kvm.*group'
}

test_help_everywhere() {
	local command
	for command in '' $(bulkhead --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'); do
		# shellcheck disable=SC2086 # may be none
		bulkhead $command --help >help 2>help.err || fail "status $? of $command --help"
		has help '^Usage: bulkhead'
		[ ! -s help.err ] || fail "$command --help: $(cat help.err)"
		# shellcheck disable=SC2086 # may be none
		bulkhead $command --version | grep -qE '^bulkhead [0-9]+\.[0-9]+' ||
			fail "$command --version"
		echo "$command" >>commands
	done
	[ "$(wc -l <commands)" -ge 8 ] || fail "too few commands: $(cat commands)"
	! bulkhead fly 2>err || fail "an unknown command succeeds"
	has err 'no command "fly"'
}
