# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian's packages.

# C compiler and what the kernel's build calls.
packages_build=(make gcc libc6-dev ca-certificates flex bison bc libelf-dev pkg-config kmod xz-utils lz4)
# What bindgen loads at run time, and the headers that belong to it.
packages_libclang=(libclang1-19 libclang-common-19-dev)
# The kernel's Rust: a compiler and the source of the library that came with it.
packages_rust_pair=(rustc-web rust-web-src rust-web-clippy)
# What compiles the debug kernel.
packages_llvm=(clang-19 lld-19 llvm-19)
# What `make mutants` applies its slips with.
packages_mutants=(patch)
# Where there is no cargo that is new enough.
packages_cargo=(cargo-web rustfmt-web)

# packages_need PACKAGE...: installs those that are missing.
packages_need() {
	local missing=() package fresh
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	say "packages: ${missing[*]}"
	packages_lists "${missing[@]}"
	fresh=$("${packages_install[@]}" -s "${missing[@]}" | grep -c '^Inst' || :)
	with_progress "packages" "$cache/log/apt-install.log" $((fresh * 3)) \
		'^(Get:|Unpacking |Setting up )' 0 \
		env DEBIAN_FRONTEND=noninteractive "${packages_install[@]}" "${missing[@]}"
}

# --no-remove: a package of the user's that is in the way is the user's to remove.
packages_install=(apt-get -q -y --no-install-recommends --no-remove
	-o DPkg::Lock::Timeout=300 -o APT::Keep-Downloaded-Packages=false install)

# packages_fit PACKAGE...: whether they go in beside what is there.
packages_fit() {
	"${packages_install[@]}" -s "$@" >/dev/null 2>&1
}

# packages_lists PACKAGE...: asks Debian, once, what it offers now, to install these.
packages_lists() {
	command -v apt-get >/dev/null ||
		die "this set-up knows Debian's packages only; see $top/testbed/setup/packages.sh"
	[ "$(id -u)" = 0 ] ||
		die "these packages are missing, and only root can install them: apt-get install $*"
	[ -z "${packages_updated:-}" ] || return 0
	with_progress "package lists" "$cache/log/apt-update.log" 0 '^(Get|Hit):' 0 \
		apt-get -q -o DPkg::Lock::Timeout=300 update
	packages_updated=yes
}
