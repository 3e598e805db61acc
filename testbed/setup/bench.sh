# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make bench`: measures the costs of paths through both drivers.

# Measures the paths that ONLY names, or all. Only the latter go into Documentation and README.
bench() {
	local options=()
	[ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
	if [[ ",${ONLY:-RT}," = *,RT,* ]]; then
		stages rt
		options+=(--rt-kernel "$kernel_build/arch/x86/boot/bzImage"
			--rt-rust-driver "$driver_build/acrn.ko"
			--rt-c-driver "$kernel_build/drivers/virt/acrn/acrn.ko"
			--rt-probe "$probe_build/acrn_probe.ko"
			--rt-probe "$probe_build/acrn_lockdown.ko")
	fi
	stages
	# The clock of these machines counts instructions. On a busy host they may be silent for
	# long.
	runner bench --timeout 5400 --silence 1200 --append "$(hang_is_panic)" \
		--commit "$(bench_commit)" --date "$(date -u +%F)" \
		--kernel-release "$(cat "$kernel_build/include/config/kernel.release")" \
		--documentation "$top/Documentation" --readme "$top/README.md" "${options[@]}"
}

# Prints the measured commit, if there is one.
bench_commit() {
	git -C "$top" describe --always --dirty --exclude '*' 2>/dev/null || echo 'no commit'
}
