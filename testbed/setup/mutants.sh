# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make mutants`: slips in the driver, one at a time, which the selftests must see.

# What the runner needs to know of the slips: sets mutants_options.
mutants_prepare() {
	local copy=$checkout_cache/driver-source
	packages_need "${packages_mutants[@]}"
	# Nothing but the driver: what else changes is not a slip's.
	rm -rf "$copy"
	mkdir -p "$copy"
	tar -C "$top" -cf - --exclude-vcs --exclude='./build' --exclude='./target' \
		--exclude='./testbed' --exclude='./selftests' --exclude='./userspace' \
		--exclude='./Documentation' . | tar -C "$copy" -xf -
	mutants_options=(--slips "$top/testbed/mutants" --source "$copy")
}

# `make mutants`, of the slip or the area that ONLY names or of all. What earlier runs
# found out counts, unless FRESH is set.
mutants() {
	local options=()
	[ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
	[ -z "${FRESH:-}" ] || options+=(--fresh)
	mutants_prepare
	say "slips in the driver, one at a time:"
	selftests mutants --jobs 2 "${mutants_options[@]}" "${options[@]}" -- \
		make KDIR="$kernel_build" "${kernel_flags[0]}" RUSTC="$kernel_rustc" BINDGEN="$bindgen"
}

# Every slip has a header, and applies to the driver as it is.
mutants_apply() {
	mutants_prepare
	"$user_space/testbed-runner" slips "${mutants_options[@]}"
}
