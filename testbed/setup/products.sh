# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What is built of this checkout, all of it outside the checkout: the driver, the
# test-only probe modules, user space, mini-ACRN. Each build tool knows by itself
# what is out of date; where nothing is, this takes seconds.

products_stage() {
	# Not shared by checkouts: cargo takes the build script's path to the linker
	# script of one for that of another.
	cargo_target=$checkout_cache/cargo
	driver_build=$checkout_cache/driver-$(basename "$kernel_build")
	probe_build=$checkout_cache/probe-$(basename "$kernel_build")

	products_modules
	products_user_space
	products_hypervisor
}

products_modules() {
	mkdir -p "$driver_build" "$probe_build"
	with_progress "driver" "$cache/log/driver.log" 12 '^  [A-Z]' 0 driver_make "$driver_build" modules
	with_progress "probe modules" "$cache/log/probe.log" 0 '^  [A-Z]' 0 \
		make -C "$kernel_build" M="$top/testbed/probe" MO="$probe_build" \
		"${kernel_flags[@]}" modules
}

# driver_make FOLDER GOAL [VARIABLE=...]: just as a user with a kernel of their own does it.
driver_make() {
	make -C "$top" KDIR="$kernel_build" MO="$1" "${kernel_flags[0]}" RUSTC="$kernel_rustc" \
		BINDGEN="$bindgen" "${@:2}"
}

# Static, so that the initramfs needs nothing else. With --target the flags are
# for the programs only, not for build scripts.
cargo_static() {
	RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=$cargo_target \
		CARGO_TERM_COLOR=never cargo "$@" --target x86_64-unknown-linux-gnu
}

products_user_space() {
	cd "$top"
	with_progress "user space" "$cache/log/user-space.log" "$(crates_in Cargo.lock)" \
		'^ *Compiling ' 0 cargo_static build --release --locked --workspace --bins
	user_space=$cargo_target/x86_64-unknown-linux-gnu/release
}

products_hypervisor() {
	mini_acrn=$checkout_cache/mini-acrn.elf
	with_progress "mini-ACRN" "$cache/log/mini-acrn.log" \
		"$(crates_in testbed/hypervisor/Cargo.lock)" '^ *Compiling ' 0 \
		env CARGO_TARGET_DIR="$cargo_target/hypervisor" CARGO_TERM_COLOR=never \
		"$top/testbed/hypervisor/build.sh" "$mini_acrn"
}

# As many crates as a lock file names, if none is built yet.
crates_in() {
	grep -c '^\[\[package\]\]' "$top/$1"
}

# runner JOB OPTION...: the machine, made of all this.
runner() {
	local job=$1 program programs=()
	shift
	while read -r program; do
		programs+=(--selftest "$user_space/$program")
	done < <(selftest_programs)
	"$user_space/testbed-runner" "$job" \
		--hypervisor "$mini_acrn" --kernel "$kernel_build/arch/x86/boot/bzImage" \
		--init "$user_space/testbed-init" --vmm "$user_space/acrn-vmm" \
		--rust-driver "$driver_build/acrn.ko" \
		--c-driver "$kernel_build/drivers/virt/acrn/acrn.ko" \
		--probe "$probe_build/acrn_probe.ko" --probe "$probe_build/acrn_lockdown.ko" \
		--probe "$probe_build/acrn_mistake.ko" \
		--qemu "$qemu" --work "$checkout_cache/$job" "${programs[@]}" "$@" {cache_lock}>&-
}

# The programs of the selftests crate, one a line.
selftest_programs() {
	(cd "$top/selftests" && cargo metadata --no-deps --locked --format-version 1) |
		grep -oE '"kind":\["bin"\],"crate_types":\["bin"\],"name":"[^"]+","src_path":"[^"]*/selftests/[^"]*"' |
		sed -E 's/.*"name":"([^"]+)".*/\1/'
}

demo() {
	local options=()
	[ -z "${INTERACTIVE:-}" ] || options+=(--interactive)
	say "starting mini-ACRN in QEMU: the Service VM's console, then the User VM's"
	runner demo "${options[@]}"
}
