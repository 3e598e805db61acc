# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make mutants`: applies slips to the driver, one at a time, which the selftests must notice.

# Sets mutants_options: the runner's options for the slips.
mutants_prepare() {
	local copy=$checkout_cache/driver-source
	packages_need "${packages_mutants[@]}"
	# Only the driver: a change of other files must not invalidate a verdict.
	rm -rf "$copy"
	mkdir -p "$copy"
	tar -C "$top" -cf - --exclude-vcs --exclude='./build' --exclude='./target' \
		--exclude='./testbed' --exclude='./selftests' --exclude='./userspace' \
		--exclude='./Documentation' --exclude='./LICENSES' --exclude='./scripts' \
		--exclude='./.*' --exclude='./*.md' --exclude='./MAINTAINERS' \
		--exclude='./rust-project.json' . | tar -C "$copy" -xf -
	mutants_options=(--slips "$top/testbed/mutants" --source "$copy")
}

# `make mutants`: tests the slips that ONLY names, or all. Results of earlier runs count unless
# FRESH is set.
mutants() {
	local options=()
	[ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
	[ -z "${FRESH:-}" ] || options+=(--fresh)
	mutants_prepare
	say "slips in the driver, one at a time:"
	selftests mutants --jobs 2 "${mutants_options[@]}" "${options[@]}" -- \
		make KDIR="$kernel_build" "${kernel_flags[0]}" RUSTC="$kernel_rustc" \
		BINDGEN="$bindgen"
}

# Checks that each slip has a header and applies to the driver.
mutants_apply() {
	mutants_prepare
	"$user_space/testbed-runner" slips "${mutants_options[@]}"
}
