# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Shared shell functions of the guest artefact scripts and of the lab: the
# cache folder, its locks, and Debian packages fetched and unpacked (never
# installed). Source this file; it only defines functions and variables.
#
# Every entry of the cache is made in a temporary folder beside its place and
# then renamed, under a lock: a reader sees a whole entry or none, and two
# scripts that want the same entry make it once.

BULKHEAD_CACHE=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/bulkhead}
case $BULKHEAD_CACHE in
/*) ;;
*) BULKHEAD_CACHE=$PWD/$BULKHEAD_CACHE ;;
esac

# Messages go to standard error: standard output belongs to results.
say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# need PROGRAM PACKAGE: fail with the name of the package to install
need() {
	command -v "$1" >/dev/null 2>&1 ||
		die "the program $1 is missing: install it with: apt-get install $2"
}

# cache_begin PLACE: take the lock of an entry of the cache
#
# Returns 1 when the entry is there already (nothing is locked). Otherwise
# makes an empty folder, names it in $cache_tmp, and holds the lock until
# cache_commit or the end of the script. Entries don't nest.
cache_begin() {
	[ ! -e "$1" ] || return 1
	cache_place=$1
	mkdir -p "${1%/*}" "$BULKHEAD_CACHE/lock" ||
		die "cannot make the cache folder ${1%/*}; set BULKHEAD_CACHE to a folder you may write"
	need flock util-linux
	exec 9>"$BULKHEAD_CACHE/lock/$(printf '%s' "${1#"$BULKHEAD_CACHE"/}" | tr -c 'A-Za-z0-9.+-' '_')"
	flock 9 || die "cannot lock the cache entry $1"
	if [ -e "$1" ]; then
		exec 9>&-
		return 1
	fi
	# Left by a script that was killed: we hold the lock, nobody uses it.
	rm -rf "$1".tmp.*
	cache_tmp=$(mktemp -d "$1.tmp.XXXXXX") || die "cannot make a folder beside $1"
	chmod 755 "$cache_tmp"
	trap 'rm -rf "$cache_tmp"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	return 0
}

# cache_commit [FILE]: put $cache_tmp (or one file made in it) in its place
cache_commit() {
	mv -T "${1:-$cache_tmp}" "$cache_place" || die "cannot write $cache_place"
	rm -rf "$cache_tmp"
	trap - EXIT INT TERM
	exec 9>&-
}

# hash_of FILE…: a short key made of the files' content
hash_of() {
	cat -- "$@" | sha256sum | cut -c1-16
}

# memo KEY COMMAND…: the command's output, remembered in the cache until apt's
# lists or configuration change: asking apt costs half a second a question
memo() {
	memo_file=$BULKHEAD_CACHE/apt/$(printf '%s' "$1" | tr -c 'A-Za-z0-9.+-' '_')
	shift
	if [ ! -s "$memo_file" ] || [ ! "$memo_file" -nt /var/lib/apt/lists ] ||
		[ ! "$memo_file" -nt /etc/apt ] ||
		[ ! "$memo_file" -nt /etc/apt/sources.list.d ]; then
		mkdir -p "${memo_file%/*}"
		memo_new=$("$@")
		printf '%s\n' "$memo_new" >"$memo_file.$$"
		mv "$memo_file.$$" "$memo_file"
	fi
	grep . "$memo_file" || :
}

# apt_candidate PACKAGE: the version that apt would take, or nothing
apt_candidate() {
	memo "candidate-$1" ask_candidate "$1"
}

ask_candidate() {
	LC_ALL=C apt-cache policy "$1" 2>/dev/null |
		awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}

apt_update() {
	[ -z "${apt_updated:-}" ] || return 0
	apt_updated=1
	say "updating the package lists"
	apt-get -qq update >&2 ||
		say "apt-get update failed (as root? with a network?); going on with what is known"
}

# deb_newest_cached PACKAGE: the newest unpacked version in the cache
deb_newest_cached() {
	find "$BULKHEAD_CACHE/deb" -maxdepth 1 -name "$1_*" ! -name '*.tmp.*' \
		2>/dev/null | sort -V | tail -n 1
}

# deb_fetch PACKAGE: sets $deb_dir to the folder of the unpacked package
#
# The newest version known to apt, downloaded and unpacked at the first use.
# Without package lists and network, the newest one in the cache.
deb_fetch() {
	deb_version=$(apt_candidate "$1")
	if [ -z "$deb_version" ]; then
		apt_update
		deb_version=$(apt_candidate "$1")
	fi
	if [ -z "$deb_version" ]; then
		deb_dir=$(deb_newest_cached "$1")
		[ -n "$deb_dir" ] ||
			die "apt knows no package $1: check the apt sources and the network"
		return 0
	fi
	# An epoch's colon would break PATH-like lists made from these names.
	deb_dir=$BULKHEAD_CACHE/deb/$1_$(printf '%s' "$deb_version" | tr ':' '%')
	cache_begin "$deb_dir" || return 0
	say "fetching $1 $deb_version"
	deb_download "$1" "$deb_version"
	mkdir "$cache_tmp/root"
	dpkg-deb -x "$cache_tmp"/*.deb "$cache_tmp/root" ||
		die "cannot unpack the package $1 (is $BULKHEAD_CACHE full?)"
	deb_depmod "$cache_tmp/root"
	cache_commit "$cache_tmp/root"
}

# deb_download PACKAGE VERSION: into $cache_tmp; lists may be older than the archive
deb_download() {
	deb_sandbox=
	[ "$(id -u)" != 0 ] || deb_sandbox="-o APT::Sandbox::User=root"
	# shellcheck disable=SC2086 # no word or two
	(cd "$cache_tmp" && apt-get -qq $deb_sandbox download "$1=$2" >&2) && return 0
	apt_update
	# shellcheck disable=SC2086
	(cd "$cache_tmp" && apt-get -qq $deb_sandbox download "$1" >&2) ||
		die "cannot download the package $1: check the apt sources and the network"
}

# deb_depmod ROOT: make modules.dep when the package holds kernel modules
#
# Debian's kernel packages carry none: it is made at installation.
deb_depmod() {
	for deb_modules in "$1"/lib/modules/*; do
		[ -d "$deb_modules/kernel" ] || continue
		PATH=$PATH:/usr/sbin:/sbin need depmod kmod
		PATH=$PATH:/usr/sbin:/sbin depmod -b "$1" "${deb_modules##*/}" ||
			die "depmod failed on $deb_modules"
	done
}

# deb_fetch_dependency META PATTERN: like deb_fetch, for the package that a
# meta package depends on (linux-image-amd64 -> linux-image-6.1.0-N-amd64)
deb_fetch_dependency() {
	deb_real=$(apt_dependency "$1" "$2")
	if [ -z "$deb_real" ]; then
		apt_update
		deb_real=$(apt_dependency "$1" "$2")
	fi
	if [ -z "$deb_real" ]; then
		deb_dir=$(find "$BULKHEAD_CACHE/deb" -maxdepth 1 -name "${2}_*" \
			! -name '*.tmp.*' 2>/dev/null | sort -V | tail -n 1)
		[ -n "$deb_dir" ] ||
			die "apt knows no package $1: check the apt sources and the network"
		return 0
	fi
	deb_fetch "$deb_real"
}

# apt_dependency META PATTERN: the first dependency whose name fits the pattern
apt_dependency() {
	memo "dependency-$1-$2" ask_dependency "$1" "$2"
}

ask_dependency() {
	LC_ALL=C apt-cache depends --no-recommends --no-suggests "$1" 2>/dev/null |
		awk '$1 == "Depends:" { print $2 }' |
		while read -r apt_name; do
			# shellcheck disable=SC2254 # a pattern is what we want
			case $apt_name in
			$2) printf '%s\n' "$apt_name" && break ;;
			esac
		done
}

# module_file MODULES NAME: path of a module below MODULES, empty when built in
module_file() {
	awk -v want="$(printf '%s' "$2" | tr - _)" -F: '
		{
			name = $1
			sub(".*/", "", name); sub("\\.ko.*", "", name)
			gsub("-", "_", name)
			if (name == want) { print $1; exit }
		}' "$1/modules.dep"
}

# modules_install MODULES TARGET NAME…: copy modules and what they need
#
# Copies into TARGET (uncompressed) and prints the files' names, one a line,
# in an order in which insmod can load them. A name that is built into the
# kernel is left out; an unknown one is an error.
modules_install() {
	mi_from=$1
	mi_to=$2
	shift 2
	mkdir -p "$mi_to"
	# No pipe around this loop: die must end the caller.
	mi_list=
	for mi_name; do
		mi_file=$(module_file "$mi_from" "$mi_name")
		if [ -z "$mi_file" ]; then
			tr - _ <"$mi_from/modules.builtin" |
				grep -q "/$(printf '%s' "$mi_name" | tr - _)\\.ko$" ||
				die "the kernel in $mi_from has no module $mi_name"
			continue
		fi
		# "a: b c": a needs b and c, b may need c; loaded from the right.
		mi_list="$mi_list $(grep "^$mi_file:" "$mi_from/modules.dep" |
			tr -d : | tr ' ' '\n' | grep . | tac | tr '\n' ' ')"
	done
	# No quotes: one word a module.
	# shellcheck disable=SC2086
	set -- $(printf '%s\n' $mi_list | awk '!seen[$0]++')
	for mi_path; do
		module_copy "$mi_from/$mi_path" "$mi_to"
	done
}

# module_copy FILE FOLDER: copy uncompressed, print the name
module_copy() {
	mi_base=${1##*/}
	case $mi_base in
	*.ko) cp "$1" "$2/$mi_base" ;;
	*.ko.xz)
		need xz xz-utils
		mi_base=${mi_base%.xz}
		xz -dc "$1" >"$2/$mi_base"
		;;
	*.ko.zst)
		need zstd zstd
		mi_base=${mi_base%.zst}
		zstd -qdc "$1" >"$2/$mi_base"
		;;
	*) die "unknown compression of the module $1" ;;
	esac
	printf '%s\n' "$mi_base"
}

# pack_initramfs FOLDER FILE: a reproducible, uncompressed newc archive
pack_initramfs() {
	need cpio cpio
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . | LC_ALL=C sort |
		cpio --quiet --reproducible -o -H newc -R 0:0) >"$2" ||
		die "cannot write the initramfs $2"
}
