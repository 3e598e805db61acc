# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# QEMU: the machine's own, or Debian's package. If the package conflicts with installed ones
# (qemu-utils of a newer release, for example), the cache gets a copy of it. No package of the
# machine is removed or replaced.

qemu_package=qemu-system-x86
# The packages that the test-bed needs of it.
qemu_parts=("$qemu_package" qemu-system-common qemu-system-data seabios ipxe-qemu)

# qemu_stage: sets qemu.
qemu_stage() {
	local copy=$cache/qemu
	# A copy finds its firmware relative to itself.
	qemu=$(command -v qemu-system-x86_64 || echo "$copy/usr/bin/qemu-system-x86_64")
	if ! "$qemu" --version >/dev/null 2>&1; then
		packages_lists "$qemu_package"
		if packages_fit "$qemu_package"; then
			packages_need "$qemu_package"
			qemu=$(command -v qemu-system-x86_64)
		else
			say "qemu: $qemu_package conflicts with installed packages: using a copy"
			qemu_copy "$copy"
		fi
	fi
	say "qemu: $("$qemu" --version | head -n 1), $qemu"
}

# qemu_copy DIRECTORY
qemu_copy() {
	local library libraries=()
	while read -r library; do
		[[ " ${qemu_parts[*]} " = *" $library "* ]] || libraries+=("$library")
	done < <(apt-cache depends --important "$qemu_package" |
		awk '$1 == "Depends:" { print $2 }')
	packages_need "${libraries[@]}"
	rm -rf "$1" "$1.partial"
	mkdir -p "$1.partial/debs"
	with_progress "copy of qemu" "$cache/log/qemu.log" 0 '^Get:' 0 qemu_unpack "$1.partial"
	mv "$1.partial" "$1"
}

# qemu_unpack DIRECTORY
qemu_unpack() {
	local deb
	cd "$1/debs"
	apt-get -q -o APT::Sandbox::User=root download "${qemu_parts[@]}"
	for deb in *.deb; do
		dpkg-deb -x "$deb" "$1"
	done
	rm -r "$1/debs"
}
