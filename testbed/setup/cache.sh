# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The directories of the set-up.
#
#   $cache/qemu/                   a copy of QEMU, if it cannot be installed
#   $cache/linux-source/VERSION/   unpacked kernel source
#   $cache/bindgen/KEY/            bindgen, built by cargo
#   $cache/kernel/VERSION-KEY/     a built kernel: the KDIR of our modules
#   $cache/cargo/                  cargo's target directory
#   $cache/checkout/HASH/          the other products of one checkout
#   $cache/log/                    the last output of every long step
#
# A stage works in a directory of its own, which it renames in its last step. After an interruption
# it continues with the files in that directory.

cache=${ACRN_HSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/acrn-hsm}

cache_open() {
	mkdir -p "$cache/log"
	cache=$(cd "$cache" && pwd -P)
	checkout_cache=$cache/checkout/$(printf %s "$top" | sha256sum | cut -c1-12)
	mkdir -p "$checkout_cache"
	printf '%s\n' "$top" >"$checkout_cache/path"
	exec {cache_lock}>>"$cache/lock"
	cache_lock_take
}

# Only one set-up may run at a time: two would build the same files in the same directory.
cache_lock_take() {
	if ! flock -n "$cache_lock"; then
		say "waiting for process $(cat "$cache/lock.owner" 2>/dev/null || echo '?')," \
			"which is using $cache"
		flock "$cache_lock"
	fi
	echo $$ >"$cache/lock.owner"
}

# short_hash < text
short_hash() {
	sha256sum | cut -c1-12
}

# Prints a version as a part of a path: without `~`, `:` and `+`, which make and the shell
# interpret.
path_safe() {
	printf %s "$1" | tr -c 'A-Za-z0-9.-' _
}

# write_once FILE < content: writes the file atomically, and only if its content changes.
write_once() {
	local new=$1.new.$$
	cat >"$new"
	if cmp -s "$new" "$1"; then
		rm "$new"
	else
		mv "$new" "$1"
	fi
}
