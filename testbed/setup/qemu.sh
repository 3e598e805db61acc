# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# QEMU: the machine's own, or Debian's package. Where that does not go in beside
# what the machine has (qemu-utils of a newer release, say), a copy of it in the
# cache: nothing of the machine's is removed or replaced.

qemu_package=qemu-system-x86
# What of it the test-bed runs or reads.
qemu_parts=("$qemu_package" qemu-system-common qemu-system-data seabios ipxe-qemu)

# qemu_stage: sets qemu.
qemu_stage() {
	local copy=$cache/qemu
	# A copy finds its firmware from where it stands.
	qemu=$(command -v qemu-system-x86_64 || echo "$copy/usr/bin/qemu-system-x86_64")
	if ! "$qemu" --version >/dev/null 2>&1; then
		packages_lists "$qemu_package"
		if packages_fit "$qemu_package"; then
			packages_need "$qemu_package"
			qemu=$(command -v qemu-system-x86_64)
		else
			say "qemu: $qemu_package does not go in beside this machine's packages: a copy of it"
			qemu_copy "$copy"
		fi
	fi
	say "qemu: $("$qemu" --version | head -n 1), $qemu"
}

# qemu_copy FOLDER
qemu_copy() {
	local library libraries=()
	while read -r library; do
		[[ " ${qemu_parts[*]} " = *" $library "* ]] || libraries+=("$library")
	done < <(apt-cache depends --important "$qemu_package" | awk '$1 == "Depends:" { print $2 }')
	packages_need "${libraries[@]}"
	rm -rf "$1" "$1.partial"
	mkdir -p "$1.partial/debs"
	with_progress "copy of qemu" "$cache/log/qemu.log" 0 '^Get:' 0 qemu_unpack "$1.partial"
	mv "$1.partial" "$1"
}

# qemu_unpack FOLDER
qemu_unpack() {
	local deb
	cd "$1/debs"
	apt-get -q -o APT::Sandbox::User=root download "${qemu_parts[@]}"
	for deb in *.deb; do
		dpkg-deb -x "$deb" "$1"
	done
	rm -r "$1/debs"
}
