# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the products of this checkout, outside of it: the driver, the test-only modules, user space
# and mini-ACRN. The build tools rebuild only outdated files; without any this takes seconds.

products_stage() {
	# Each checkout has its own target directory, as the path of the linker script is a part
	# of what cargo caches.
	cargo_target=$checkout_cache/cargo
	driver_build=$checkout_cache/driver-$(basename "$kernel_build")
	probe_build=$checkout_cache/probe-$(basename "$kernel_build")

	products_modules
	products_user_space
	products_hypervisor
}

products_modules() {
	mkdir -p "$driver_build" "$probe_build"
	with_progress "driver" "$cache/log/driver.log" 12 '^  [A-Z]' 0 \
		driver_make "$driver_build" modules
	with_progress "probe modules" "$cache/log/probe.log" 0 '^  [A-Z]' 0 \
		make -C "$kernel_build" M="$top/testbed/probe" MO="$probe_build" \
		"${kernel_flags[@]}" modules
}

# driver_make DIRECTORY GOAL [VARIABLE=...]: builds the driver like a user with another kernel.
driver_make() {
	make -C "$top" KDIR="$kernel_build" MO="$1" "${kernel_flags[0]}" RUSTC="$kernel_rustc" \
		BINDGEN="$bindgen" "${@:2}"
}

# Links statically, so that the initramfs needs no libraries. With --target the flags apply only to
# the programs, not to build scripts.
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

# Prints the number of crates in a lock file, which is the number of steps of a first build.
crates_in() {
	grep -c '^\[\[package\]\]' "$top/$1"
}

# runner JOB OPTION...: runs a job of the runner on a machine with these products.
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

# Prints the programs of the selftests crate, one a line.
selftest_programs() {
	(cd "$top/selftests" && cargo metadata --no-deps --locked --format-version 1) |
		grep -oE '"kind":\["bin"\],"crate_types":\["bin"\],'\
'"name":"[^"]+","src_path":"[^"]*/selftests/[^"]*"' |
		sed -E 's/.*"name":"([^"]+)".*/\1/'
}

demo() {
	local options=()
	[ -z "${INTERACTIVE:-}" ] || options+=(--interactive)
	say "starting mini-ACRN in QEMU: the Service VM's console, then the User VM's"
	runner demo "${options[@]}"
}
