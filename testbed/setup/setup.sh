#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sets up the test-bed on a bare Debian machine, and runs its jobs. The Makefile calls this:
#
#   setup.sh setup         sets up all stages that are missing
#   setup.sh run           the same, then runs the demo
#   setup.sh check         the same, then runs all tests; last line: N passed, N failed, N skipped
#   setup.sh compare       the same, then records what both drivers do
#   setup.sh bench         the same, then measures the costs of paths through both drivers
#   setup.sh check-debug   runs the selftests on the debug kernel
#   setup.sh check-rt      runs the selftests on the real-time kernel
#   setup.sh mutants       the same as check, with slips in the driver that tests must notice
#   setup.sh clean         removes the cache
set -eu -o pipefail

top=$(cd "$(dirname "$0")/../.." && pwd -P)
for part in cache progress packages qemu linux-source rust-tools kernel products \
	checks bench mutants; do
	# shellcheck source=/dev/null
	. "$top/testbed/setup/$part.sh"
done

# The variables of the caller's make, cargo and kernel builds do not apply here.
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
		die "usage: setup.sh setup|run|check|compare|bench|check-debug|check-rt|mutants" \
			"|clean"
		;;
	esac
}

main "$@"
