#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Generates src/bindings.rs from acrn.h. With --check, writes nothing, and fails
# if the file is stale.
#
# BINDGEN is the bindgen to run (0.72.1 generated the committed file), and
# LIBCLANG_PATH the directory of libclang.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
committed=$here/src/bindings.rs
bindgen=${BINDGEN:-bindgen}

if ! command -v "$bindgen" >/dev/null; then
	echo "regenerate.sh: no bindgen: $bindgen (set BINDGEN)" >&2
	exit 2
fi

new=$(mktemp)
trap 'rm -f "$new"' EXIT

# A structure with padding has undefined bytes, so IntoBytes is not derived for it.
padded='acrn_pio_request|acrn_pci_request|acrn_io_request|acrn_regs|acrn_vcpu_regs'
padded="$padded|acrn_pcidev|acrn_cstate_data"
plain='acrn_mmio_request|acrn_ioreq_notify|acrn_vm_creation|acrn_gp_regs|acrn_descriptor_ptr'
plain="$plain|acrn_ptdev_irq|acrn_ptdev_irq__bindgen_ty_1|acrn_mmio_dev_res|acrn_mmiodev"
plain="$plain|acrn_vdev__bindgen_ty_1__bindgen_ty_1|acrn_msi_entry|acrn_acpi_generic_address"
plain="$plain|acrn_pstate_data|acrn_ioeventfd|acrn_irqfd"
unions='acrn_vm_memmap|acrn_vdev|acrn_io_request_buffer'

"$bindgen" "$here/acrn.h" \
	--use-core \
	--rust-target 1.85 \
	--rust-edition 2024 \
	--formatter prettyplease \
	--no-prepend-enum-name \
	--allowlist-file "$here/acrn.h" \
	--with-derive-default \
	--with-derive-custom-struct "($plain)=FromBytes,IntoBytes,Immutable,KnownLayout" \
	--with-derive-custom-struct "($padded)=FromBytes,Immutable,KnownLayout" \
	--with-derive-custom-struct "($unions)=FromBytes,Immutable,KnownLayout" \
	--with-derive-custom-union '.*=FromBytes,Immutable,KnownLayout' \
	--raw-line '// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note' \
	--raw-line '// Generated from acrn.h by regenerate.sh. Do not edit.' \
	--raw-line '' \
	--raw-line 'use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};' \
	--output "$new"

if [ "${1:-}" = --check ]; then
	if ! diff -u "$committed" "$new"; then
		echo "regenerate.sh: $committed is stale: run $0" >&2
		exit 1
	fi
else
	cp "$new" "$committed"
fi
