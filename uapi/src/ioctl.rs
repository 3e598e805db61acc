// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

//! The numbers of the ioctl requests. bindgen can't evaluate the macros that make them in the C header.

use core::ffi::c_ulong;
use core::mem::size_of;

use crate::bindings::*;

/// No argument, or one by value.
const NONE: u32 = 0;
/// The driver reads the argument.
const WRITE: u32 = 1;
/// The driver writes the argument.
const READ: u32 = 2;

/// A request number: direction in bits 31:30, size of the argument in 29:16, the type in 15:8, the number in
/// 7:0.
const fn request(direction: u32, number: u8, size: usize) -> u32 {
    assert!(size < 1 << 14);
    direction << 30 | (size as u32) << 16 | ACRN_IOCTL_TYPE << 8 | number as u32
}

const fn io(number: u8) -> u32 {
    request(NONE, number, 0)
}

const fn iow<T>(number: u8) -> u32 {
    request(WRITE, number, size_of::<T>())
}

const fn iowr<T>(number: u8) -> u32 {
    request(READ | WRITE, number, size_of::<T>())
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $number:expr;)*) => {
        $($(#[$doc])* pub const $name: u32 = $number;)*

        /// Every request: its number and its name in the C header.
        pub const ALL: &[(u32, &str)] = &[$(($name, stringify!($name))),*];
    };
}

requests! {
    /// Creates a User VM: [`acrn_vm_creation`], in and out.
    ACRN_IOCTL_CREATE_VM = iowr::<acrn_vm_creation>(0x10);
    /// Destroys the User VM.
    ACRN_IOCTL_DESTROY_VM = io(0x11);
    /// Starts the User VM.
    ACRN_IOCTL_START_VM = io(0x12);
    /// Pauses the User VM.
    ACRN_IOCTL_PAUSE_VM = io(0x13);
    /// Resets the User VM.
    ACRN_IOCTL_RESET_VM = io(0x15);
    /// Sets the state that a vCPU starts from: [`acrn_vcpu_regs`].
    ACRN_IOCTL_SET_VCPU_REGS = iow::<acrn_vcpu_regs>(0x16);
    /// Injects an MSI: [`acrn_msi_entry`].
    ACRN_IOCTL_INJECT_MSI = iow::<acrn_msi_entry>(0x23);
    /// Interrupt monitor: address of a page.
    ACRN_IOCTL_VM_INTR_MONITOR = iow::<c_ulong>(0x24);
    /// Drives an interrupt line: a number, not a pointer: GSI in bits 31:0, operation above.
    ACRN_IOCTL_SET_IRQLINE = iow::<u64>(0x25);
    /// Says that a request has been served: [`acrn_ioreq_notify`].
    ACRN_IOCTL_NOTIFY_REQUEST_FINISH = iow::<acrn_ioreq_notify>(0x31);
    /// Makes the caller the one who serves I/O requests.
    ACRN_IOCTL_CREATE_IOREQ_CLIENT = io(0x32);
    /// Waits for I/O requests.
    ACRN_IOCTL_ATTACH_IOREQ_CLIENT = io(0x33);
    /// Ends serving I/O requests.
    ACRN_IOCTL_DESTROY_IOREQ_CLIENT = io(0x34);
    /// Completes all I/O requests that are open.
    ACRN_IOCTL_CLEAR_VM_IOREQ = io(0x35);
    /// Maps memory into the User VM: [`acrn_vm_memmap`].
    ACRN_IOCTL_SET_MEMSEG = iow::<acrn_vm_memmap>(0x41);
    /// Unmaps memory: [`acrn_vm_memmap`].
    ACRN_IOCTL_UNSET_MEMSEG = iow::<acrn_vm_memmap>(0x42);
    /// Routes the interrupt of a device that passes through: [`acrn_ptdev_irq`].
    ACRN_IOCTL_SET_PTDEV_INTR = iow::<acrn_ptdev_irq>(0x53);
    /// Undoes it: [`acrn_ptdev_irq`].
    ACRN_IOCTL_RESET_PTDEV_INTR = iow::<acrn_ptdev_irq>(0x54);
    /// Passes a PCI device through: [`acrn_pcidev`].
    ACRN_IOCTL_ASSIGN_PCIDEV = iow::<acrn_pcidev>(0x55);
    /// Takes it back: [`acrn_pcidev`].
    ACRN_IOCTL_DEASSIGN_PCIDEV = iow::<acrn_pcidev>(0x56);
    /// Passes a device known by its memory ranges through: [`acrn_mmiodev`].
    ACRN_IOCTL_ASSIGN_MMIODEV = iow::<acrn_mmiodev>(0x57);
    /// Takes it back: [`acrn_mmiodev`].
    ACRN_IOCTL_DEASSIGN_MMIODEV = iow::<acrn_mmiodev>(0x58);
    /// Creates a device that the hypervisor plays: [`acrn_vdev`].
    ACRN_IOCTL_CREATE_VDEV = iow::<acrn_vdev>(0x59);
    /// Destroys it: [`acrn_vdev`].
    ACRN_IOCTL_DESTROY_VDEV = iow::<acrn_vdev>(0x5A);
    /// Power management data: a `u64` command in, its answer out, in the same place.
    ACRN_IOCTL_PM_GET_CPU_STATE = iowr::<u64>(0x60);
    /// Ties an eventfd to a guest's write: [`acrn_ioeventfd`].
    ACRN_IOCTL_IOEVENTFD = iow::<acrn_ioeventfd>(0x70);
    /// Ties an interrupt to an eventfd: [`acrn_irqfd`].
    ACRN_IOCTL_IRQFD = iow::<acrn_irqfd>(0x71);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_abi() {
        let expected = [
            0xc030_a210,
            0x0000_a211,
            0x0000_a212,
            0x0000_a213,
            0x0000_a215,
            0x4128_a216,
            0x4010_a223,
            0x4008_a224,
            0x4008_a225,
            0x4008_a231,
            0x0000_a232,
            0x0000_a233,
            0x0000_a234,
            0x0000_a235,
            0x4020_a241,
            0x4020_a242,
            0x4014_a253,
            0x4014_a254,
            0x4024_a255,
            0x4024_a256,
            0x4068_a257,
            0x4068_a258,
            0x40c0_a259,
            0x40c0_a25a,
            0xc008_a260,
            0x4020_a270,
            0x4018_a271,
        ];
        assert_eq!(ALL.len(), 27);
        for ((number, name), expected) in ALL.iter().zip(expected) {
            assert_eq!(*number, expected, "{name}");
        }
    }
}
