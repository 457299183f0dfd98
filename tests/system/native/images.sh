# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kernels that are damaged in one place each: a clear error, told once.

# put FILE OFFSET HEX: overwrite bytes
put() {
	# shellcheck disable=SC2059 # made of \x escapes
	printf "$(sed 's/../\\x&/g' <<<"$3")" |
		dd of="$1" bs=1 seek="$(($2))" conv=notrunc status=none
}

# damaged PATTERN OFFSET HEX [FILE]: $image with these bytes there
damaged() {
	local status=0
	cp "${4:-image}" damaged
	put damaged "$2" "$3"
	timeout 30 bulkhead run --name "damaged-$$" --kernel damaged --memory size=64M \
		--console off </dev/null >out 2>log || status=$?
	[ "$status" = 1 ] || fail "$1: status $status: $(cat log)"
	grep -q "error: --kernel damaged: .*$1" log || fail "no \"$1\": $(cat log)"
	[ "$(grep -c 'error:' log)" = 1 ] || fail "told twice: $(cat log)"
	[ ! -s out ] || fail "something on standard output"
}

# ELF64: header, then the program headers of one segment and its notes.
test_damaged_elf() {
	needs_kvm
	cp "$HELLO" image
	damaged '32-bit ELF' 4 01
	damaged 'big-endian' 5 02
	damaged 'not an executable' 16 0100
	damaged 'machine 183' 18 b700
	damaged 'is truncated' 32 ffffffffffffffff # where the headers are
	damaged 'without program headers' 54 0000
	damaged 'without program headers' 56 0000
	damaged 'at most 64' 56 ffff
	damaged 'is truncated' 0x48 ffffffffffffffff # the segment's offset,
	damaged 'overlaps the boot data' 0x58 0000000000000000 # address,
	damaged 'past the end of the address space' 0x58 00f0ffffffffffff
	damaged 'do not cover' 0x58 0000000001000000
	damaged 'more bytes in the file' 0x60 ffffffffffffff7f # size there
	damaged 'do not cover' 0x68 ffffffffffffff7f           # and in memory
	damaged 'truncated or damaged' 0x80 f8ffffffffffffff   # the notes' offset
	damaged 'truncated or damaged' 0x98 0000000000010000   # and size
	damaged 'without a PVH entry note' 0x98 0000000000000000
}

# A bzImage that has nothing but its header, which is in order.
test_damaged_bzimage() {
	needs_kvm
	head -c 65536 /dev/zero >image
	put image 0x1f1 01       # setup sectors
	put image 0x1f4 c00f0000 # size of the rest, 16 bytes each
	put image 0x201 6a       # the header ends at 0x26c
	put image 0x202 48647253 # HdrS
	put image 0x206 0f02     # 2.15
	put image 0x211 01       # loaded high
	put image 0x230 00002000 # alignment
	put image 0x238 ff070000 # command line
	put image 0x258 0000000100000000
	put image 0x260 00000002 # memory that it needs
	damaged 'is truncated' 0x1f1 ff
	damaged 'is truncated' 0x1f4 00000000
	damaged 'is truncated' 0x1f4 ffffffff
	damaged 'setup header ends at 0x202' 0x201 00
	damaged 'setup header ends at 0x301' 0x201 ff
	damaged 'no known format' 0x202 00000000
	damaged '2.11 is too old' 0x206 0b02
	damaged 'zImage' 0x211 00
	damaged 'alignment 0x0' 0x230 00000000
	damaged 'alignment 0x3' 0x230 03000000
	damaged 'overlaps the boot data' 0x258 0000000000000000
	damaged 'not below' 0x258 0000000001000000
	damaged 'is damaged' 0x258 ffffffffffffffff
	damaged 'do not cover' 0x258 0000e00300000000
	damaged 'larger than the 0 bytes' 0x260 00000000
	damaged 'not below' 0x260 ffffffff
}
