// SPDX-License-Identifier: GPL-2.0

//! The structures and constants of `uapi/acrn.h`, and assertions that the kernel's own
//! `<linux/acrn.h>` has the same.

use super::bindings::{
    self,
    linux, //
};
pub(crate) use bindings::{
    acrn_cstate_data, acrn_io_request, acrn_ioeventfd, acrn_ioreq_notify, acrn_irqfd, acrn_mmiodev,
    acrn_msi_entry, acrn_pcidev, acrn_pm_cmd_type_ACRN_PMCMD_GET_CX_CNT as ACRN_PMCMD_GET_CX_CNT,
    acrn_pm_cmd_type_ACRN_PMCMD_GET_CX_DATA as ACRN_PMCMD_GET_CX_DATA,
    acrn_pm_cmd_type_ACRN_PMCMD_GET_PX_CNT as ACRN_PMCMD_GET_PX_CNT,
    acrn_pm_cmd_type_ACRN_PMCMD_GET_PX_DATA as ACRN_PMCMD_GET_PX_DATA, acrn_pstate_data,
    acrn_ptdev_irq, acrn_vcpu_regs, acrn_vdev, acrn_vm_creation, acrn_vm_memmap, ACRN_IOCTL_TYPE,
    ACRN_IOEVENTFD_FLAG_DATAMATCH, ACRN_IOEVENTFD_FLAG_DEASSIGN, ACRN_IOEVENTFD_FLAG_PIO,
    ACRN_IOREQ_DIR_READ, ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_PENDING,
    ACRN_IOREQ_STATE_PROCESSING, ACRN_IOREQ_TYPE_MMIO, ACRN_IOREQ_TYPE_PCICFG,
    ACRN_IOREQ_TYPE_PORTIO, ACRN_IO_REQUEST_MAX, ACRN_IRQFD_FLAG_DEASSIGN, ACRN_MEMMAP_MMIO,
    ACRN_MEMMAP_RAM, ACRN_MEM_ACCESS_READ, ACRN_MEM_ACCESS_RIGHT_MASK, ACRN_MEM_ACCESS_WRITE,
    ACRN_MEM_TYPE_UC, ACRN_MEM_TYPE_WB,
};
#[cfg(CONFIG_KUNIT = "y")]
pub(crate) use bindings::{
    ACRN_IOREQ_DIR_WRITE,
    ACRN_IOREQ_STATE_FREE, //
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
    /// Returns the address of the memory in the Service VM: `vma_base` for RAM, `service_vm_pa` for
    /// MMIO.
    pub(crate) fn service_address(&self) -> u64 {
        // SAFETY: Both members of the union are integers of the same size.
        unsafe { self.__bindgen_anon_1.vma_base }
    }
}

/// An argument of a command that has reserved fields.
pub(crate) trait Reserved {
    /// Returns whether all reserved fields are zero.
    fn is_reserved_zero(&self) -> bool;
}

macro_rules! no_reserved_fields {
    ($($name:ty),* $(,)?) => {
        $(
            impl Reserved for $name {
                fn is_reserved_zero(&self) -> bool {
                    true
                }
            }
        )*
    };
}

no_reserved_fields!(
    u64,
    acrn_irqfd,
    acrn_mmiodev,
    acrn_msi_entry,
    acrn_pcidev,
    acrn_ptdev_irq,
    acrn_vdev,
    acrn_vm_memmap,
);

impl Reserved for acrn_ioeventfd {
    fn is_reserved_zero(&self) -> bool {
        self.reserved == 0
    }
}

impl Reserved for acrn_ioreq_notify {
    fn is_reserved_zero(&self) -> bool {
        self.reserved == 0
    }
}

impl Reserved for acrn_vm_creation {
    fn is_reserved_zero(&self) -> bool {
        self.reserved0 == 0 && self.reserved1 == 0
    }
}

impl Reserved for acrn_vcpu_regs {
    fn is_reserved_zero(&self) -> bool {
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

include!("../uapi/src/layouts.rs");

macro_rules! assert_layouts {
    ($(
        $type:ident: $size:literal / $align:literal { $($field:ident @ $offset:literal),* $(,)? }
    )*) => {
        $(
            static_assert!(size_of::<bindings::$type>() == $size);
            static_assert!(size_of::<linux::$type>() == $size);
            static_assert!(align_of::<bindings::$type>() == $align);
            static_assert!(align_of::<linux::$type>() == $align);
            $(
                static_assert!(core::mem::offset_of!(bindings::$type, $field) == $offset);
                static_assert!(core::mem::offset_of!(linux::$type, $field) == $offset);
            )*
        )*
    };
}

for_each_layout!(assert_layouts);

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
    ACRN_MEM_ACCESS_READ,
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
