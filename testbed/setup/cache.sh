# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Where the set-up keeps what it makes.
#
#   $cache/qemu/                   a copy of QEMU, where it can't be installed
#   $cache/linux-source/VERSION/   unpacked kernel source
#   $cache/bindgen/KEY/            bindgen, built by cargo
#   $cache/kernel/VERSION-KEY/     a built kernel: the KDIR of our modules
#   $cache/cargo/                  cargo's target folder
#   $cache/checkout/HASH/          what else is built of one checkout of this project
#   $cache/log/                    the last output of every long step
#
# A stage works in a place of its own and is there only once its last step, a
# rename, is done; whoever is interrupted before goes on from what is left.

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

# One set-up at a time: two would build the same thing in the same place.
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

# A version as part of a path: no `~`, `:` or `+`, which make and the shell read.
path_safe() {
	printf %s "$1" | tr -c 'A-Za-z0-9.-' _
}

# write_once FILE < content: whole or not at all, and untouched if it says the same.
write_once() {
	local new=$1.new.$$
	cat >"$new"
	if cmp -s "$new" "$1"; then
		rm "$new"
	else
		mv "$new" "$1"
	fi
}
