# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the test-bed's kernel, which is also the KDIR of our modules, and upstream's C driver as
# one of its modules.

# A step of the build ("  CC      mm/memory.o"), and the number of steps of each variant.
kernel_step='^  [A-Z]'
declare -A kernel_steps=([plain]=1830 [debug]=1870 [rt]=1830)

# kernel_stage [debug|rt]: sets kernel_build.
kernel_stage() {
	local variant=${1:-} fragments=("$top/testbed/kernel/service-vm.config") key
	[ -z "$variant" ] || fragments+=("$top/testbed/kernel/$variant.config")
	kernel_compilers_find "$variant"
	key=$(kernel_ingredients "${fragments[@]}" | short_hash)
	kernel_build=$cache/kernel/$linux_version-$key${variant:+-$variant}
	if [ -e "$kernel_build/finished" ]; then
		say "kernel${variant:+ ($variant)}: $linux_version, $kernel_build"
		return
	fi

	mkdir -p "$kernel_build"
	if [ ! -e "$kernel_build/configured" ]; then
		say "kernel${variant:+ ($variant)}: configuring"
		with_progress "kernel configuration" "$cache/log/kernel-config.log" 0 . 0 \
			kernel_configure "${fragments[@]}"
		kernel_check_config "${fragments[@]}"
		kernel_ingredients "${fragments[@]}" >"$kernel_build/ingredients"
		: >"$kernel_build/configured"
	fi
	with_progress "kernel's check of the Rust tools" "$cache/log/rustavailable.log" 0 . 0 \
		make -C "$kernel_build" "${kernel_flags[@]}" rustavailable
	say "kernel${variant:+ ($variant)}: building Linux $linux_version (some minutes, once)"
	slow_steps='^  (RUSTC|BINDGEN) ' slow_expected=19
	with_progress "kernel${variant:+ ($variant)}" "$kernel_build/log" \
		"${kernel_steps[${variant:-plain}]}" "$kernel_step" "$(kernel_steps_done)" \
		nice make -C "$kernel_build" "${kernel_flags[@]}" -j"$(nproc)" bzImage modules
	slow_steps=''
	for product in arch/x86/boot/bzImage rust/libkernel.rmeta Module.symvers \
		drivers/virt/acrn/acrn.ko; do
		[ -s "$kernel_build/$product" ] ||
			die "the build of the kernel has not created $product"
	done
	: >"$kernel_build/finished.new"
	mv "$kernel_build/finished.new" "$kernel_build/finished"
}

# Prints the number of steps of earlier runs.
kernel_steps_done() {
	local before=$kernel_build/steps-done log=$kernel_build/log steps=0
	[ ! -s "$before" ] || steps=$(cat "$before")
	[ ! -s "$log" ] || steps=$((steps + $(grep -cE "$kernel_step" "$log")))
	echo "$steps" | tee "$before"
}

# The directory of clang.
kernel_llvm=/usr/lib/llvm-19/bin/

# kernel_compilers_find [VARIANT]: sets kernel_flags and kernel_compilers. gcc compiles the C part a
# third faster than clang here. Rust with KASAN requires clang.
kernel_compilers_find() {
	local compiler=CC=gcc
	kernel_compilers=(gcc ld)
	if [ "${1:-}" = debug ]; then
		packages_need "${packages_llvm[@]}"
		compiler=LLVM=$kernel_llvm
		kernel_compilers=("${kernel_llvm}clang")
	fi
	kernel_flags=(
		"$compiler"
		RUSTC="$kernel_rustc" HOSTRUSTC="$kernel_rustc" RUSTDOC="$kernel_rustdoc"
		CLIPPY_DRIVER="$kernel_clippy" RUSTFMT=rustfmt BINDGEN="$bindgen"
	)
}

# Prints the ingredients of a kernel. Comments in a fragment do not count.
kernel_ingredients() {
	local compiler
	echo "linux $linux_version"
	"$kernel_rustc" --version
	"$bindgen" --version
	for compiler in "${kernel_compilers[@]}"; do
		"$compiler" --version | head -n 1
	done
	kernel_options "$@"
}

# kernel_options FRAGMENT...: prints the options. The last line for an option counts.
kernel_options() {
	awk '/^CONFIG_/ { option = substr($0, 1, index($0, "=") - 1) }
		/^# CONFIG_[A-Z0-9_]+ is not set/ { option = $2 }
		option {
			if (!(option in word)) order[++count] = option
			word[option] = $0
			option = ""
		}
		END { for (i = 1; i <= count; i++) print word[order[i]] }' "$@"
}

kernel_configure() {
	make -C "$linux_tree" O="$kernel_build" "${kernel_flags[@]}" tinyconfig
	(cd "$kernel_build" && "$linux_tree/scripts/kconfig/merge_config.sh" -m .config "$@")
	make -C "$kernel_build" "${kernel_flags[@]}" olddefconfig
}

# Kconfig silently drops options with unmet dependencies. Here that is an error.
kernel_check_config() {
	local line option lost=()
	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF -- "$line" "$kernel_build/.config" || lost+=("$line")
			;;
		*)
			option=${line#\# }
			! grep -q "^${option%% *}=" "$kernel_build/.config" || lost+=("$line")
			;;
		esac
	done < <(kernel_options "$@")
	[ ${#lost[@]} -eq 0 ] || {
		printf '  %s\n' "${lost[@]}" >&2
		die "these lines of the kernel's configuration fragment have no effect" \
			"(a dependency is missing, or something selects the option):" \
			"see $kernel_build/.config"
	}
}
