# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The kernel's source: Debian's linux-source-7.x, from the first suite that has it.
#
# The machine's own package sources may be too old. A private apt state (sources.list, lists and
# cache of its own) uses the mirror of the machine. The machine's own apt does not change. apt
# checks Debian's signature.

linux_wanted=${ACRN_HSM_LINUX:-7.3}
linux_suites='trixie-backports forky sid'

# linux_source_stage: sets linux_version and linux_tree.
linux_source_stage() {
	local home=$cache/linux-source
	mkdir -p "$home"
	if [ -s "$home/chosen-$linux_wanted" ]; then
		linux_version=$(cat "$home/chosen-$linux_wanted")
		linux_tree=$home/$linux_version/linux
		if [ -f "$linux_tree/Makefile" ]; then
			say "kernel source: $linux_version"
			return
		fi
	fi

	say "kernel source: looking for linux-source-$linux_wanted"
	linux_find
	linux_version=$(path_safe "$found_version")
	linux_tree=$home/$linux_version/linux
	if [ ! -f "$linux_tree/Makefile" ]; then
		say "kernel source: $found_package $found_version of $found_suite"
		linux_fetch "$home"
	fi
	echo "$linux_version" | write_once "$home/chosen-$linux_wanted"
}

# linux_mirrors: prints the addresses of the machine's Debian mirrors, one a line.
linux_mirrors() {
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)' |
		awk -v codename="$codename" '
			$1 == "Packages" && $2 == "main" &&
			$3 ~ "^(" codename "|stable|testing|unstable|sid)$" &&
			!seen[$4]++ { print $4 }'
}

# apt_private COMMAND...: apt-get or apt-cache with the private state.
apt_private() {
	APT_CONFIG=$cache/apt/apt.conf "$@"
}

# Sets found_package, found_version and found_suite, and leaves the private state set up for that
# suite.
linux_find() {
	local mirrors mirror suite package version keyring best=
	mirrors=$(linux_mirrors)
	[ -n "$mirrors" ] || die "this machine's apt has no Debian archive among its sources"
	for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
		[ ! -s "$keyring" ] || break
	done

	for mirror in $mirrors; do
		for suite in $linux_suites; do
			linux_apt_state "$mirror" "$suite" "$keyring"
			with_progress "package list of $suite" "$cache/log/apt-$suite.log" \
				0 '^Get:' 0 apt_private apt-get -q update || continue
			while read -r package version; do
				if [ -z "$best" ] ||
					dpkg --compare-versions "$version" gt "$best" ||
					[ "$package" = "linux-source-$linux_wanted" ]; then
					best=$version
					found_package=$package found_version=$version
					found_suite=$suite found_mirror=$mirror
				fi
				[ "$package" != "linux-source-$linux_wanted" ] || return 0
			done < <(linux_offers)
		done
	done
	[ -n "$best" ] || die "no linux-source-7.x in any of: $linux_suites"
	linux_apt_state "$found_mirror" "$found_suite" "$keyring"
}

# Prints the packages of the private state as lines PACKAGE VERSION.
linux_offers() {
	local package
	for package in $(apt_private apt-cache pkgnames linux-source-7. |
		grep -xE '[a-z-]+7\.[0-9]+'); do
		apt_private apt-cache madison "$package" | awk '{ print $1, $3 }'
	done
}

# linux_apt_state MIRROR SUITE KEYRING
linux_apt_state() {
	local apt=$cache/apt
	# The lists of other suites remain, so that a return to them is cheap.
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	echo "deb [signed-by=$3] $1 $2 main" >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "-";
		Dir::State::Lists "$apt/lists";
		Dir::Cache "$apt/cache";
		APT::Sandbox::User "root";
		APT::Get::List-Cleanup "false";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
		Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
		// Hooks of the machine's own apt do not apply here: one of those in
		// Debian's container images cleans the machine's package cache.
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
	END
}

# linux_fetch HOME
linux_fetch() {
	local partial=$1/$linux_version.partial download=$cache/download size deb
	mkdir -p "$download"
	size=$(apt_private apt-cache show "$found_package=$found_version" |
		awk '$1 == "Size:" { print int($2 / 1000000); exit }')
	# apt keeps the files of an interrupted download and checks complete ones.
	with_progress "download of $found_package ($size MB)" "$cache/log/linux-download.log" \
		0 '^Get:' 0 linux_download "$download"
	deb=$(find "$download" -name "${found_package}_*.deb" | head -n 1)

	rm -rf "$partial"
	mkdir -p "$partial"
	with_progress "unpacking $found_package" "$cache/log/linux-unpack.log" \
		40 checkpoint 0 linux_unpack "$deb" "$partial"
	mv "$partial" "$1/$linux_version"
	rm -rf "$download"
}

linux_download() {
	cd "$1" &&
		apt_private apt-get -q -o APT::Get::List-Cleanup=false download \
			"$found_package=$found_version"
}

# linux_unpack DEB DIRECTORY
linux_unpack() {
	mkdir "$2/linux"
	dpkg-deb --fsys-tarfile "$1" |
		tar -xO "./usr/src/$found_package.tar.xz" |
		tar -xJ --strip-components=1 --checkpoint=4000 --checkpoint-action=echo=checkpoint \
			-C "$2/linux"
}
