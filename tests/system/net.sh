# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Networks.

HOST_IP=192.168.77.1
GUEST_IP=192.168.77.2
GUEST_MAC=52:54:00:12:34:56


# listener PORT ADDRESS [-u|-U]: a service of socat's on this machine; both
# ways, or only -u from or -U to the guest
listener() {
	local port=$1
	# shellcheck disable=SC2086 # may be none
	socat ${3:-} "tcp-listen:$port,reuseaddr,fork" "$2" &
	ALL_PIDS="$ALL_PIDS $!"
	wait_for 5 grep -qi ":$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp ||
		fail "nothing listens at port $port"
}

# Data each way, with checksums, at once with the guest's own traffic.
# DATA_SERVICES here, DATA_COMMANDS in the guest.
data_services() {
	dd if=/dev/urandom of="$T/data" bs=1M count="$1" 2>/dev/null
	listener 7001 "open:$T/data,rdonly" -U # the guest fetches it
	listener 7002 "create:$T/returned" -u  # and sends it back
}
DATA_COMMANDS='nc -w 60 $HOST 7001 </dev/null >/tmp/data
	sha256sum </tmp/data | sed "s/^/SUM /"
	nc -w 60 $HOST 7002 </tmp/data
	echo "RETURNED"
'

data_arrived() { # FILE: the guest's output
	has "$1" "SUM $(sha256sum <"$T/data" | cut -d' ' -f1)"
	wait_for 30 cmp -s "$T/data" "$T/returned" || fail "what came back differs"
}

# Everything that a tap's options set; ping and TCP from both sides; several
# queues; offloads on.
test_net_tap_queues_transfer() {
	data_services 4
	listener 7000 exec:cat
	vm_start g --cpus boot=2 --memory size=512M \
		--net "tap=bhtest0,mac=$GUEST_MAC,host_mac=02:00:00:00:00:77,ip=$HOST_IP,mask=255.255.255.0,mtu=1400,num_queues=4,queue_size=128" \
		--cmdline "console=hvc0 quiet bulkhead.ip=$GUEST_IP/24 bulkhead.gw=$HOST_IP $(guest_command "HOST=$HOST_IP
			cd /sys/class/net/eth0
			echo \"NIC \$(cat address) \$(cat mtu) rx \$(ls -d queues/rx-* | wc -l) tx \$(ls -d queues/tx-* | wc -l) carrier \$(cat carrier)\"
			echo \"PACKED \$(cut -c 35 device/features)\"
			ping -c 3 -W 5 \$HOST || exit 1
			$DATA_COMMANDS
			(while nc -l -p 7003 -e cat; do :; done) &
			echo NET-READY
			read -r go")"
	expect 120 g.out NET-READY
	has g.out "NIC $GUEST_MAC 1400 rx 2 tx 2 carrier 1"
	has g.out 'PACKED 1'
	data_arrived g.out
	[ "$(cat /sys/class/net/bhtest0/address)" = 02:00:00:00:00:77 ] || fail "host_mac= was not set"
	[ "$(cat /sys/class/net/bhtest0/mtu)" = 1400 ] || fail "mtu= was not set"
	[ "$(ls -d /sys/class/net/bhtest0/queues/rx-* | wc -l)" = 2 ] || fail "the tap has not 2 queues"
	ping -c 3 -W 5 "$GUEST_IP" || fail "the guest does not answer pings"
	head -c 300000 "$T/data" >sent
	timeout 60 socat -t 30 - "tcp:$GUEST_IP:7003" <sent >echoed
	cmp sent echoed || fail "the guest's echo differs"
	vm_type go
	vm_ok 30
	[ ! -e /sys/class/net/bhtest0 ] || fail "the tap was left"
}

# A tap that was there before stays, with its address; offloads and packed
# rings off.
test_net_existing_tap_without_offloads() {
	data_services 4
	ip tuntap add dev bhold mode tap
	ip address add "$HOST_IP/24" dev bhold
	ip link set bhold up
	GUEST_WORDS="bulkhead.ip=$GUEST_IP/24 bulkhead.gw=$HOST_IP" in_guest "HOST=$HOST_IP
		echo \"PACKED \$(cut -c 35 /sys/class/net/eth0/device/features)\"
		ping -c 2 -W 5 \$HOST || exit 1
		$DATA_COMMANDS" \
		--net tap=bhold,packed=off,offload_tso=off,offload_ufo=off,offload_csum=off || {
		ip link delete bhold
		return 1
	}
	has g.out 'PACKED 0'
	data_arrived g.out
	ip -o address show dev bhold | grep -q "$HOST_IP/24" || fail "the tap lost its address"
	ip link delete bhold
}

# Two queues of a tap, opened by whoever started the broker.
test_net_inherited_descriptors() {
	command -v tap-exec >/dev/null || skip "no program tap-exec in PATH"
	listener 7000 exec:cat
	ip tuntap add dev bhfd mode tap multi_queue
	ip address add "$HOST_IP/24" dev bhfd
	ip link set bhfd up
	trap 'ip link delete bhfd 2>/dev/null || :' RETURN
	tap-exec bhfd 2 bulkhead run --kernel "$GUEST/vmlinuz" \
		--initramfs "$GUEST/initramfs.cpio" --cpus boot=2 \
		--net "fd=[10,11],mac=$GUEST_MAC" \
		--cmdline "console=hvc0 quiet bulkhead.check bulkhead.disk=none bulkhead.ip=$GUEST_IP/24 bulkhead.gw=$HOST_IP bulkhead.tcp=$HOST_IP:7000" \
		</dev/null >g.out 2>g.err &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	vm_ok 120
	has g.out 'CHECK net-ping ok'
	has g.out 'CHECK net-tcp ok'
	has g.out 'CHECK-RESULT ok'
}

# passt gives the guest the lab's own address and answers its DHCP; the
# router's address is this machine.
test_net_passt_dhcp_as_root() {
	listener 7000 exec:cat
	checked "bulkhead.disk=none bulkhead.ip=dhcp bulkhead.ping=no bulkhead.tcp=10.0.2.2:7000" \
		--net "backend=passt,mac=$GUEST_MAC"
	has g.out 'CHECK net-address ok eth0 10\.0\.2\.15'
	has g.out 'CHECK net-tcp ok'
}

# An ordinary user of the group kvm: disk, passt, console; no privilege.
test_net_passt_vm_of_an_ordinary_user() {
	listener 7000 exec:cat
	own_disk
	chown tester "$T/disk.img" "$T"
	as_user bulkhead run --name user --kernel "$GUEST/vmlinuz" \
		--initramfs "$GUEST/initramfs.cpio" --cpus boot=2 \
		--disk "path=$T/disk.img" --net backend=passt \
		--cmdline "console=hvc0 quiet bulkhead.check bulkhead.cpus=2 bulkhead.ip=dhcp bulkhead.ping=no bulkhead.tcp=10.0.2.2:7000 bulkhead.echo bulkhead.token=go" \
		< <(wait_for 100 grep -aq CHECK-READ "$T/g.out" && cat "$T/typed") >g.out 2>g.err &
	VM_PID=$!
	ALL_PIDS="$ALL_PIDS $VM_PID"
	mkfifo typed
	expect 180 g.out CHECK-READ
	as_user bulkhead ps >ps.out
	[ "$(ps -o user= -C bulkhead-core | sort -u)" != root ] || fail "the core runs as root"
	echo go >typed
	vm_ok 30
	has g.out 'CHECK disk-write ok'
	has g.out 'CHECK net-tcp ok'
	has g.out 'CHECK-RESULT ok'
	for role in broker core blk net console rng passt; do
		has ps.out "^  $role "
	done
	# The layers are there for him, too.
	[ "$(grep -c 'user' ps.out)" -ge 5 ] || fail "no user namespaces: $(cat ps.out)"
	[ "$(bulkhead ps)" = "No VM is running." ] || fail "root sees the user's VM in his list"
}

as_user() {
	setpriv --reuid=tester --regid=tester --init-groups env HOME=/home/tester "$@"
}
