# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian's packages.

# The C compiler, and the tools of the kernel's build.
packages_build=(make gcc libc6-dev ca-certificates flex bison bc libelf-dev pkg-config kmod
	xz-utils lz4 python3)
# The library that bindgen loads, and its headers.
packages_libclang=(libclang1-19 libclang-common-19-dev)
# The kernel's Rust: a compiler, and the source of its library.
packages_rust_pair=(rustc-web rust-web-src rust-web-clippy)
# The compiler of the debug kernel.
packages_llvm=(clang-19 lld-19 llvm-19)
# The tool that applies the slips of `make mutants`.
packages_mutants=(patch)
# cargo, for machines without one that is new enough.
packages_cargo=(cargo-web rustfmt-web)

# packages_need PACKAGE...: installs missing packages.
packages_need() {
	local missing=() package status fresh
	for package; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || :
		[ "$status" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	say "packages: ${missing[*]}"
	packages_lists "${missing[@]}"
	fresh=$("${packages_install[@]}" -s "${missing[@]}" | grep -c '^Inst' || :)
	with_progress "packages" "$cache/log/apt-install.log" $((fresh * 3)) \
		'^(Get:|Unpacking |Setting up )' 0 \
		env DEBIAN_FRONTEND=noninteractive "${packages_install[@]}" "${missing[@]}"
}

# --no-remove: only the user removes packages that conflict.
packages_install=(apt-get -q -y --no-install-recommends --no-remove
	-o DPkg::Lock::Timeout=300 -o APT::Keep-Downloaded-Packages=false install)

# packages_fit PACKAGE...: succeeds if the packages can be installed without a conflict.
packages_fit() {
	"${packages_install[@]}" -s "$@" >/dev/null 2>&1
}

# packages_lists PACKAGE...: updates apt's lists once, before these packages are installed.
packages_lists() {
	command -v apt-get >/dev/null ||
		die "this set-up supports only Debian; see $top/testbed/setup/packages.sh"
	[ "$(id -u)" = 0 ] ||
		die "these packages are missing, and only root can install them: apt-get install $*"
	[ -z "${packages_updated:-}" ] || return 0
	with_progress "package lists" "$cache/log/apt-update.log" 0 '^(Get|Hit):' 0 \
		apt-get -q -o DPkg::Lock::Timeout=300 update
	packages_updated=yes
}
