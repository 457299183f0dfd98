# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Disks.

test_disk_ext4_write_read() {
	own_disk
	checked "bulkhead.cpus=1" --disk "path=$T/disk.img"
	# What the guest has written is in the file, as a sound file system.
	e2fsck -fn "$T/disk.img" >fsck.log 2>&1 || {
		cat fsck.log
		fail "the file system is damaged"
	}
}

# blocks FILE: 512-byte blocks that it occupies
blocks() {
	stat -c %b "$1"
}

# Three disks after one flag: one with queues, O_DIRECT and a serial, one
# read-only; discard and zeroes give space back; locks while the VM runs.
test_disk_queues_serial_direct_readonly_discard() {
	local before
	own_disk a.img
	own_disk b.img
	chmod 400 b.img
	truncate -s 64M c.img
	dd if=/dev/urandom of=c.img bs=1M count=32 conv=notrunc 2>/dev/null
	sync
	before=$(blocks c.img)
	vm_start g --cpus boot=2 \
		--disk "path=$T/a.img,num_queues=2,queue_size=64,direct=on,serial=ABC-123" \
		"path=$T/b.img,readonly=on,id=second" "path=$T/c.img" \
		--cmdline "console=hvc0 quiet $(guest_command 'set -e
			cd /sys/block
			echo "QUEUES $(ls -d vda/mq/* | wc -l) $(ls -d vdb/mq/* | wc -l) SERIAL $(cat vda/serial)"
			echo "RO $(cat vda/ro) $(cat vdb/ro) $(cat vdc/ro)"
			echo "CACHE $(cat vda/queue/write_cache)"
			echo "BLOCK $(cat vda/queue/logical_block_size) $(cat vda/queue/physical_block_size) DISCARD $(cat vdc/queue/discard_granularity)"
			mount /dev/vda /mnt
			# Both CPUs, so both queues, at once.
			for c in 0 1; do
				taskset -c $c dd if=/dev/urandom of=/mnt/f$c bs=64k count=64 oflag=direct 2>/dev/null &
			done
			wait
			sync
			cat /mnt/f0 /mnt/f1 | sha256sum >/tmp/sum
			umount /mnt
			mount /dev/vda /mnt
			cat /mnt/f0 /mnt/f1 | sha256sum | cmp - /tmp/sum
			echo SAME-SUM
			rm /mnt/f0 /mnt/f1
			fstrim /mnt
			umount /mnt
			mount -o ro,noload /dev/vdb /mnt
			(cd /mnt && sha256sum -c seed.sha256)
			umount /mnt
			! dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>/dev/null
			blkdiscard -o 0 -l 16777216 /dev/vdc
			[ "$(dd if=/dev/vdc bs=1M count=16 iflag=direct 2>/dev/null | tr -d "\0" | wc -c)" = 0 ]
			[ "$(dd if=/dev/vdc bs=1M skip=16 count=1 2>/dev/null | tr -d "\0" | wc -c)" -gt 1000000 ]
			echo DISK-DONE
			read -r go')"
	expect 90 g.out DISK-DONE
	# In use: refused, while sharing for reading is fine.
	refused 'a\.img.*in use' --kernel "$GUEST/vmlinuz" --disk "path=$T/a.img"
	refused 'a\.img.*in use' --kernel "$GUEST/vmlinuz" --disk "path=$T/a.img,readonly=on"
	refused 'b\.img.*in use' --kernel "$GUEST/vmlinuz" --disk "path=$T/b.img"
	refused 'Is a directory|directory' --kernel "$GUEST/vmlinuz" \
		--disk "path=$T/b.img,readonly=on" "path=$T"
	vm_type go
	vm_ok 30
	has g.out 'QUEUES 2 1 SERIAL ABC-123'
	has g.out 'RO 0 1 0'
	has g.out 'CACHE write back'
	has g.out SAME-SUM
	[ "$(blocks c.img)" -le $((before - 32000)) ] ||
		fail "discarding 16 MiB left $(blocks c.img) of $before blocks"
	cmp -s b.img "$GUEST/disk.img" || fail "a read-only disk was changed"
	# The lock has gone with the VM.
	flock -n a.img true || fail "a lock was left"
}

# The host runs out of space: an error in the guest, which lives on.
test_disk_full_host_is_an_io_error() {
	mkdir small
	mount -t tmpfs -o size=8m small small
	truncate -s 64M small/full.img
	vm_start g --disk "path=$T/small/full.img" "path=$T/small/full.img,readonly=on" \
		--cmdline "console=hvc0" || :
	# The same image twice in one VM is refused, too.
	vm_wait 10
	[ "$VM_STATUS" = 1 ] || fail "one image twice: status $VM_STATUS"
	in_guest '
		if dd if=/dev/urandom of=/dev/vda bs=64k count=400 oflag=direct 2>/tmp/err; then
			echo "no error"
			exit 1
		fi
		cat /tmp/err
		dmesg | grep -i "I/O error.*vda"
		# Reading and writing where there is space still work.
		dd if=/dev/vda of=/tmp/first bs=64k count=4 iflag=direct 2>/dev/null &&
			dd if=/tmp/first of=/dev/vda bs=64k oflag=direct 2>/dev/null &&
			dd if=/dev/vda bs=64k count=4 iflag=direct 2>/dev/null | cmp - /tmp/first &&
			echo STILL-WORKS' --disk "path=$T/small/full.img"
	umount small
	has g.out 'I/O error'
	has g.out STILL-WORKS
}

# A block device of 4096-byte blocks, whose topology the guest sees; flush.
test_disk_block_device() {
	local dev
	modprobe loop
	own_disk
	mke2fs -q -t ext4 -b 4096 -F "$T/disk.img" 60M
	dev=$(losetup --show -f -b 4096 "$T/disk.img")
	[ "$(blockdev --getss "$dev")" = 4096 ] || {
		losetup -d "$dev"
		fail "the loop device has no blocks of 4096 bytes"
	}
	trap 'losetup -d "$dev" 2>/dev/null || :' RETURN
	in_guest 'set -e
		echo "BLOCK $(cat /sys/block/vda/queue/logical_block_size)"
		mount /dev/vda /mnt
		echo kept >/mnt/file
		sync
		umount /mnt' --disk "path=$dev,direct=on"
	has g.out 'BLOCK 4096'
	losetup -d "$dev"
	debugfs -R 'cat file' "$T/disk.img" 2>/dev/null | grep -qx kept ||
		fail "what the guest wrote is not there"
}

# Without io_uring (hosts forbid it) and packed rings: the same disk, by plain
# calls.
test_disk_without_io_uring() {
	own_disk
	checked "bulkhead.cpus=2" --cpus boot=2 \
		--disk "path=$T/disk.img,num_queues=2,packed=off,_disable_io_uring=on"
}
