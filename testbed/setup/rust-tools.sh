# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Two versions of Rust. The kernel needs a compiler with the source of its own library, which in
# rustup is a component of its own. Debian's rustc-web and rust-web-src are such a pair. User space
# and the hypervisor need a cargo and a compiler that are as new as Cargo.toml requires, usually
# those of rustup.

bindgen_version=0.72.1

# rust_tools_stage: sets kernel_rustc, kernel_rustdoc and kernel_clippy, and puts cargo first on
# PATH.
rust_tools_stage() {
	kernel_rust_find || {
		packages_need "${packages_rust_pair[@]}"
		kernel_rust_find || die "no rustc with the source of its library"
	}
	cargo_find || {
		packages_need "${packages_cargo[@]}"
		cargo_find || die "no cargo with a rustc >= $(rust_wanted)"
	}
	say "rust: kernel $("$kernel_rustc" --version | cut -d' ' -f2)," \
		"user space $(rustc --version | cut -d' ' -f2)"
}

# rust_has_source RUSTC: succeeds if the source of its library is installed.
rust_has_source() {
	local sysroot
	sysroot=$("$1" --print sysroot 2>/dev/null) &&
		[ -f "$sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" ]
}

kernel_rust_find() {
	local rustc folder
	for rustc in "${ACRN_HSM_KERNEL_RUSTC:-}" /usr/bin/rustc "$(command -v rustc || :)"; do
		[ -n "$rustc" ] && rust_has_source "$rustc" || continue
		folder=$(dirname "$rustc")
		kernel_rustc=$rustc
		kernel_rustdoc=$folder/rustdoc
		kernel_clippy=$folder/clippy-driver
		return 0
	done
	return 1
}

rust_wanted() {
	sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml"
}

cargo_find() {
	local folder version
	for folder in "$(dirname "$(command -v cargo || echo /nowhere/cargo)")" \
		"${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin; do
		[ -x "$folder/cargo" ] && [ -x "$folder/rustc" ] || continue
		version=$("$folder/rustc" --version 2>/dev/null | cut -d' ' -f2) || continue
		[ -n "$version" ] &&
			dpkg --compare-versions "$version" ge "$(rust_wanted)" || continue
		PATH=$folder:$PATH
		return 0
	done
	return 1
}

# bindgen_stage: sets bindgen, exports LIBCLANG_PATH.
bindgen_stage() {
	local key home
	bindgen_libclang
	key=$bindgen_version-$(rustc --version | short_hash)
	home=$cache/bindgen/$key
	bindgen=$home/bin/bindgen
	if [ ! -x "$bindgen" ]; then
		say "bindgen: building $bindgen_version"
		mkdir -p "$cache/bindgen"
		# bindgen runs for seconds, but optimising it takes minutes. Compiled crates remain
		# where an interrupted run finds them.
		with_progress bindgen "$cache/log/bindgen.log" 46 '^ *Compiling ' 0 \
			env -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
			CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
			CARGO_PROFILE_RELEASE_DEBUG=false \
			CARGO_TARGET_DIR="$cache/bindgen/target" CARGO_TERM_COLOR=never \
			cargo install --locked --root "$home.partial" --no-track --force \
			bindgen-cli --version "$bindgen_version"
		mv "$home.partial" "$home"
		rm -rf "$cache/bindgen/target"
	fi
	say "bindgen: $("$bindgen" --version)"
}

# Selects the newest installed libclang, unless the user has set LIBCLANG_PATH.
bindgen_libclang() {
	local folder
	if [ -z "${LIBCLANG_PATH:-}" ]; then
		for folder in $(printf '%s\n' /usr/lib/llvm-*/lib | sort -V); do
			! compgen -G "$folder/libclang*.so.1" >/dev/null || LIBCLANG_PATH=$folder
		done
		[ -n "${LIBCLANG_PATH:-}" ] || die "no libclang below /usr/lib/llvm-*/lib"
	fi
	export LIBCLANG_PATH
}
