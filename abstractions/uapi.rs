// SPDX-License-Identifier: GPL-2.0

//! The structures of `uapi/acrn.h`, and proof that the kernel's own `<linux/acrn.h>` has the same.

use super::bindings;
pub(crate) use bindings::{
    acrn_cstate_data, acrn_io_request, acrn_ioeventfd, acrn_ioreq_notify, acrn_irqfd, acrn_mmiodev,
    acrn_msi_entry, acrn_pcidev, acrn_pm_cmd_type_ACRN_PMCMD_GET_CX_CNT as ACRN_PMCMD_GET_CX_CNT,
    acrn_pm_cmd_type_ACRN_PMCMD_GET_CX_DATA as ACRN_PMCMD_GET_CX_DATA,
    acrn_pm_cmd_type_ACRN_PMCMD_GET_PX_CNT as ACRN_PMCMD_GET_PX_CNT,
    acrn_pm_cmd_type_ACRN_PMCMD_GET_PX_DATA as ACRN_PMCMD_GET_PX_DATA, acrn_pstate_data,
    acrn_ptdev_irq, acrn_vcpu_regs, acrn_vdev, acrn_vm_creation, acrn_vm_memmap,
    ACRN_IOEVENTFD_FLAG_DATAMATCH, ACRN_IOEVENTFD_FLAG_DEASSIGN, ACRN_IOEVENTFD_FLAG_PIO,
    ACRN_IOREQ_DIR_READ, ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_PENDING,
    ACRN_IOREQ_STATE_PROCESSING, ACRN_IOREQ_TYPE_MMIO, ACRN_IOREQ_TYPE_PCICFG,
    ACRN_IOREQ_TYPE_PORTIO, ACRN_IO_REQUEST_MAX, ACRN_IRQFD_FLAG_DEASSIGN, ACRN_MEMMAP_MMIO,
    ACRN_MEMMAP_RAM, ACRN_MEM_ACCESS_RIGHT_MASK, ACRN_MEM_ACCESS_WRITE, ACRN_MEM_TYPE_UC,
    ACRN_MEM_TYPE_WB, PMCMD_TYPE_MASK,
};
use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};

macro_rules! any_bytes_are_valid {
    ($($name:ident),* $(,)?) => {
        $(
            // SAFETY: The structure consists of integers.
            unsafe impl FromBytes for $name {}
        )*
    };
}

any_bytes_are_valid!(
    acrn_ioeventfd,
    acrn_ioreq_notify,
    acrn_irqfd,
    acrn_mmiodev,
    acrn_msi_entry,
    acrn_pcidev,
    acrn_ptdev_irq,
    acrn_vcpu_regs,
    acrn_vdev,
    acrn_vm_creation,
    acrn_vm_memmap,
);

// SAFETY: The structure has no padding: 4 * 2 + 16 + 3 * 8 bytes.
unsafe impl AsBytes for acrn_vm_creation {}
static_assert!(size_of::<acrn_vm_creation>() == 48);

impl acrn_vm_memmap {
    /// Where the memory is in the Service VM: `vma_base` for RAM, `service_vm_pa` for MMIO.
    pub(crate) fn service_address(&self) -> u64 {
        // SAFETY: Both members of the union are integers of the same size.
        unsafe { self.__bindgen_anon_1.vma_base }
    }
}

impl acrn_vcpu_regs {
    /// Whether all reserved fields are zero.
    pub(crate) fn reserved_is_zero(&self) -> bool {
        let regs = &self.vcpu_regs;
        // Copies, because the descriptor pointers are packed.
        let (gdt, idt) = (regs.gdt.reserved, regs.idt.reserved);
        self.reserved == [0; 3]
            && regs.reserved_64 == [0; 4]
            && regs.reserved_32 == [0; 3]
            && gdt == [0; 3]
            && idt == [0; 3]
    }
}

/// The kernel's own header.
mod linux {
    #![allow(
        clippy::all,
        clippy::undocumented_unsafe_blocks,
        dead_code,
        missing_docs,
        non_camel_case_types,
        non_upper_case_globals,
        non_snake_case,
        unreachable_pub,
        unsafe_op_in_unsafe_fn
    )]
    use kernel::ffi;

    include!(concat!(env!("ACRN_HSM_OBJ"), "/kernel_uapi_generated.rs"));
}

macro_rules! same_layout {
    ($($name:ident($size:literal) { $($field:ident),* $(,)? })*) => {
        $(
            static_assert!(size_of::<bindings::$name>() == $size);
            static_assert!(size_of::<linux::$name>() == $size);
            static_assert!(align_of::<bindings::$name>() == align_of::<linux::$name>());
            $(
                static_assert!(
                    core::mem::offset_of!(bindings::$name, $field)
                        == core::mem::offset_of!(linux::$name, $field)
                );
            )*
        )*
    };
}

same_layout! {
    acrn_mmio_request(32) { direction, address, size, value }
    acrn_pio_request(32) { direction, address, size, value }
    acrn_pci_request(48) { direction, size, value, bus, dev, func, reg }
    acrn_io_request(256) { type_, completion_polling, reqs, kernel_handled, processed }
    acrn_ioreq_notify(8) { vmid, reserved, vcpu }
    acrn_vm_creation(48) { vmid, vcpu_num, uuid, vm_flag, ioreq_buf, cpu_affinity }
    acrn_descriptor_ptr(16) { limit, base, reserved }
    acrn_regs(288) {
        gprs, gdt, idt, rip, cs_base, cr0, cr4, cr3, ia32_efer, rflags, reserved_64, cs_ar,
        cs_limit, reserved_32, cs_sel, ss_sel, ds_sel, es_sel, fs_sel, gs_sel, ldt_sel, tr_sel,
    }
    acrn_vcpu_regs(296) { vcpu_id, reserved, vcpu_regs }
    acrn_vm_memmap(32) { type_, attr, user_vm_pa, len }
    acrn_ptdev_irq(20) { type_, virt_bdf, phys_bdf, intx }
    acrn_pcidev(36) { type_, virt_bdf, phys_bdf, intr_line, intr_pin, bar }
    acrn_mmiodev(104) { name, res }
    acrn_vdev(192) { id, slot, io_addr, io_size, args }
    acrn_msi_entry(16) { msi_addr, msi_data }
    acrn_acpi_generic_address(12) { space_id, bit_width, bit_offset, access_size, address }
    acrn_cstate_data(32) { cx_reg, type_, latency, power }
    acrn_pstate_data(48) {
        core_frequency, power, transition_latency, bus_master_latency, control, status,
    }
    acrn_ioeventfd(32) { fd, flags, addr, len, reserved, data }
    acrn_irqfd(24) { fd, flags, msi }
}

macro_rules! same_number {
    ($($name:ident),* $(,)?) => {
        $(static_assert!(bindings::$name as u64 == linux::$name as u64);)*
    };
}

same_number!(
    ACRN_IO_REQUEST_MAX,
    ACRN_IOREQ_STATE_PENDING,
    ACRN_IOREQ_STATE_COMPLETE,
    ACRN_IOREQ_STATE_PROCESSING,
    ACRN_IOREQ_STATE_FREE,
    ACRN_IOREQ_TYPE_PORTIO,
    ACRN_IOREQ_TYPE_MMIO,
    ACRN_IOREQ_TYPE_PCICFG,
    ACRN_IOREQ_DIR_READ,
    ACRN_IOREQ_DIR_WRITE,
    ACRN_MEM_ACCESS_RIGHT_MASK,
    ACRN_MEM_TYPE_MASK,
    ACRN_MEM_TYPE_WB,
    ACRN_MEM_TYPE_UC,
    ACRN_MEMMAP_RAM,
    ACRN_MEMMAP_MMIO,
    ACRN_PTDEV_IRQ_MSIX,
    ACRN_PTDEV_QUIRK_ASSIGN,
    ACRN_MMIODEV_RES_NUM,
    ACRN_PCI_NUM_BARS,
    ACRN_IOEVENTFD_FLAG_PIO,
    ACRN_IOEVENTFD_FLAG_DATAMATCH,
    ACRN_IOEVENTFD_FLAG_DEASSIGN,
    ACRN_IRQFD_FLAG_DEASSIGN,
    ACRN_IOCTL_TYPE,
    PMCMD_TYPE_MASK,
);
