# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Devices of a stock Linux guest are killed under verified load.

STORM_GUEST=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/storm-guest

# storm_initramfs FILE: the guest's usual one with the storm's script and program
storm_initramfs() {
	! head -c 4096 "$(type -P numbered)" | grep -q ld-linux ||
		skip "numbered is not static in this build"
	mkdir -p root/bin
	cp "$(type -P numbered)" root/bin/
	cp "$STORM_GUEST" root/storm
	cp "$GUEST/initramfs.cpio" "$1"
	(cd root && find . | cpio -o -H newc 2>/dev/null) >>"$1"
}

# devices NAME: "id pid state restarts" of each of the VM's device processes
devices() {
	bulkhead ps --json "$1" | sed 's/{"role"/\n&/g' | sed -nE \
		's/^\{"role":"(blk|net|console|rng)","id":"([^"]*)","pid":([0-9]+),"state":"([a-z]+)","restarts":([0-9]+),.*/\2 \3 \4 \5/p'
}

# replaced ID PID RESTARTS: the device has another process than this, which runs
replaced() {
	devices storm >now
	awk -v id="$1" -v pid="$2" -v restarts="$3" '
		$1 == id && $2 != pid && $3 == "running" && $4 == restarts { good = 1 }
		END { exit !good }' now
}

# slow_disk FILE: a block device of 4 MiB, each of whose requests takes 100 ms: at
# any moment some are under way in the kernel. Its path is $SLOW.
slow_disk() {
	local loop
	modprobe -a loop dm-mod dm-delay
	truncate -s 4M "$1"
	loop=$(losetup --show -f "$1")
	SLOW=/dev/mapper/storm-slow
	trap "kill \$ALL_PIDS 2>/dev/null || :; wait; dmsetup remove -f storm-slow; losetup -d $loop" EXIT
	dmsetup create storm-slow --table "0 8192 delay $loop 0 100" || fail "no dm-delay"
	[ -b $SLOW ] || dmsetup mknodes
}

# rage KILLS: end processes of devices, one after the other, at random moments,
# each once at least, the disk under test more often, until there are so many
# kills and the guest's fio has ended. TCP ends, and tells the guest so, at that
# number.
rage() {
	local id pid restarts ids busy
	local -A kills=()
	devices storm >now
	mapfile -t ids < <(cut -d' ' -f1 now)
	[ ${#ids[@]} = 5 ] || fail "${#ids[@]} devices, not 5"
	NUM_KILLS=0
	until grep -aq 'STORM disk' serial; do
		sleep "$((RANDOM % 10 / 9)).$(printf '%03d' $((RANDOM % 1000)))"
		id=${ids[NUM_KILLS < 5 ? NUM_KILLS : RANDOM % 8]:-_disk0}
		pid=$(awk -v id="$id" '$1 == id { print $2 }' now)
		kill -KILL "$pid" || fail "kill $NUM_KILLS: $id has ended before"
		NUM_KILLS=$((NUM_KILLS + 1))
		kills[$id]=$((${kills[$id]:-0} + 1))
		wait_for 60 replaced "$id" "$pid" "${kills[$id]}" ||
			fail "kill $NUM_KILLS: $id, killed ${kills[$id]} times, is not replaced: $(cat now)"
		[ $NUM_KILLS != "$1" ] || touch enough
	done
	# Nothing but what was killed has been replaced.
	while read -r id _ _ restarts; do
		echo "$id: ${kills[$id]:-0} kills"
		[ "$restarts" = "${kills[$id]:-0}" ] || fail "$id was replaced $restarts times"
	done <now
	[ $NUM_KILLS -ge "$1" ] || fail "the guest has given up after $NUM_KILLS kills: $(grep -a STORM serial)"
	# Else the disk's recovery was not tested.
	busy=$(grep -c 'event=device-lost device=_disk0 .* in_flight=[1-9]' storm.err)
	[ $((busy * 4)) -ge "${kills[_disk0]}" ] ||
		fail "requests were in flight at $busy of ${kills[_disk0]} deaths of the disk only"
	CONSOLE_KILLS=${kills[__console]}
}

# stream_ends PID NAME LINES: this end of it has found no fault, and so many
# lines have come
stream_ends() {
	wait "$1" || fail "$2: $(cat "$T/$2")"
	echo "$2: $(cat "$T/$2")"
	[ "$(sed -n 's/.*received \([0-9]*\).*/\1/p' "$T/$2")" -ge "$3" ] ||
		fail "$2: the stream stood still"
}

# fio verifies each block of the disk, TCP and the console carry numbered
# lines both ways, the entropy device is read, while device processes are
# killed ($STORM_KILLS times or some more, at moments that $STORM_SEED tells).
# The disk that fio is on is read. At last the image must be what the guest was
# told is stable.
test_linux_storm() {
	local kills=${STORM_KILLS:-25} cpus=${STORM_CPUS:-1} start tcp console
	RANDOM=${STORM_SEED:=1}
	storm_initramfs "$T/initramfs"
	slow_disk "$T/disk.img"
	numbered --until "$T/enough" --length 1000 --rate 20 listen 7010 >tcp 2>&1 &
	tcp=$!
	ALL_PIDS="$ALL_PIDS $tcp"
	vm_start storm -v --kernel "$GUEST/vmlinuz" --initramfs "$T/initramfs" \
		--cpus "boot=$cpus" --memory size=384M \
		--console "socket=$T/hvc0" --serial "file=$T/serial" \
		--disk "path=$SLOW,direct=on,num_queues=$cpus,packed=off" \
		"path=$GUEST/tools.img,readonly=on" \
		--net tap=bhstorm,ip=192.168.77.1,mask=255.255.255.0 \
		--cmdline "console=ttyS0 quiet bulkhead.ip=192.168.77.2/24 $(guest_command \
			'HOST=192.168.77.1; mount -t ext4 -o ro /dev/vdb /mnt && . /storm')"
	wait_for 10 test -e serial || fail "no serial port"
	expect 150 serial 'STORM begins'
	numbered --until "$T/stop" --repeats --rate 8 unix "$T/hvc0" >console 2>&1 &
	console=$!
	ALL_PIDS="$ALL_PIDS $console"
	start=$SECONDS
	rage "$kills"
	start=$((SECONDS - start))
	touch stop
	stream_ends $tcp tcp "$kills"
	stream_ends $console console "$kills"
	vm_ok 120
	grep -a STORM serial
	has serial 'BULKHEAD-RUN-EXIT 0'
	[ "$(sed -n 's/.*repeated //p' console)" -le "$CONSOLE_KILLS" ] ||
		fail "console: more repetitions than $CONSOLE_KILLS kills"
	has serial "STORM image $(sha256sum <$SLOW | cut -d' ' -f1)"
	echo "note: linux $NUM_KILLS kills in $start s, seed $STORM_SEED; requests in flight at deaths of the disk: $(sed -nE 's/.*device-lost device=_disk0 .*in_flight=([0-9]+).*/\1/p' storm.err | tr '\n' ' ')"
	sed -n 's/.*STORM \([a-z]*\) ok/note: \1/p' serial
}
