#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# From a bare Debian machine to a running test-bed. The Makefile calls this:
#
#   setup.sh setup         every stage of the set-up that is not there yet
#   setup.sh run           the same, then the demo
#   setup.sh check         the same, then every test; last line: N passed, N failed, N skipped
#   setup.sh compare       the same, then what upstream's driver and ours do is recorded anew
#   setup.sh bench         the same, then what the paths through both drivers cost
#   setup.sh check-debug   the selftests on the debug kernel
#   setup.sh check-rt      the selftests on the real-time kernel
#   setup.sh mutants       the same, then slips in the driver, which the tests must see
#   setup.sh clean         removes the cache
set -eu -o pipefail

top=$(cd "$(dirname "$0")/../.." && pwd -P)
for part in cache progress packages qemu linux-source rust-tools kernel products checks bench mutants; do
	# shellcheck source=/dev/null
	. "$top/testbed/setup/$part.sh"
done

# What the caller's make, cargo or kernel builds are told is not for ours.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS KDIR MO
unset RUSTC RUSTDOC RUSTFMT BINDGEN RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET
unset ARCH CROSS_COMPILE LLVM KBUILD_OUTPUT
export LC_ALL=C.UTF-8

stages() {
	packages_need "${packages_build[@]}" "${packages_libclang[@]}"
	qemu_stage
	rust_tools_stage
	linux_source_stage
	bindgen_stage
	kernel_stage "$@"
	products_stage
}

main() {
	case ${1:-} in
	setup)
		cache_open
		stages
		say "set up: $(duration $SECONDS), cache $(du -sh "$cache" | cut -f1) in $cache"
		;;
	run)
		cache_open
		stages
		demo
		;;
	check)
		cache_open
		stages
		say "set up: $(duration $SECONDS)"
		checks
		;;
	compare)
		cache_open
		stages
		checks_compare
		;;
	bench)
		cache_open
		bench
		;;
	check-debug | check-rt)
		cache_open
		stages "${1#check-}"
		checks_variant "${1#check-}"
		;;
	mutants)
		cache_open
		stages
		mutants
		;;
	clean)
		cache_open
		say "removing $cache"
		rm -rf "$cache"
		;;
	*)
		die "usage: setup.sh setup|run|check|compare|bench|check-debug|check-rt|mutants|clean"
		;;
	esac
}

main "$@"
