// SPDX-License-Identifier: GPL-2.0

//! The page of I/O requests that the hypervisor, user space and this driver share.
//!
//! Layout and states: `struct acrn_io_request` in `uapi/acrn.h`. User space can write any byte at any
//! time, so each field is read once, with an atomic load, and only the copy is used.

use crate::{
    abstractions::shared_page::SharedPage,
    uapi, //
};
use core::{
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        ordering,
        Atomic, //
    },
};

/// Slots in the page, and the most vCPUs a VM can have.
pub(crate) const SLOTS: u16 = uapi::ACRN_IO_REQUEST_MAX as u16;
static_assert!(SLOTS as usize * size_of::<uapi::acrn_io_request>() <= PAGE_SIZE);

/// Index of a slot, which is the id of the vCPU that uses it.
///
/// # Invariants
///
/// Less than [`SLOTS`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct VcpuId(u16);

impl VcpuId {
    /// The vCPU's bit in a mask of vCPUs.
    pub(crate) fn bit(self) -> u32 {
        1 << self.0
    }
}

impl From<VcpuId> for u16 {
    fn from(vcpu: VcpuId) -> u16 {
        vcpu.0
    }
}

impl kernel::fmt::Display for VcpuId {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        kernel::fmt::Display::fmt(&self.0, f)
    }
}

/// Number of vCPUs of a VM.
///
/// # Invariants
///
/// At most [`SLOTS`].
#[derive(Clone, Copy)]
pub(crate) struct VcpuCount(u16);

impl VcpuCount {
    /// `count` vCPUs; `EINVAL` if the request page has no slots for that many.
    pub(crate) fn new(count: u16) -> Result<Self> {
        if count > SLOTS {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above.
        Ok(Self(count))
    }

    /// The number.
    pub(crate) fn get(self) -> u16 {
        self.0
    }

    /// All vCPUs.
    pub(crate) fn ids(self) -> impl Iterator<Item = VcpuId> {
        // INVARIANT: Less than the count, which is at most `SLOTS`.
        (0..self.0).map(VcpuId)
    }

    /// The vCPU that `id` names, if there is one.
    pub(crate) fn id(self, id: u32) -> Option<VcpuId> {
        // INVARIANT: As in `ids`.
        u16::try_from(id).ok().filter(|id| *id < self.0).map(VcpuId)
    }
}

/// A request page, pinned for as long as this lives.
///
/// # Invariants
///
/// `address` is the kernel's address of `page`.
pub(crate) struct RequestPage {
    address: NonNull<u8>,
    page: SharedPage,
}

// SAFETY: The page is accessed with atomics only.
unsafe impl Send for RequestPage {}
// SAFETY: As above.
unsafe impl Sync for RequestPage {}

impl RequestPage {
    /// Pins the page at the user address `address`, which must be page-aligned.
    pub(crate) fn pin(address: u64) -> Result<Self> {
        let address = usize::try_from(address).map_err(|_| EINVAL)?;
        if address % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let page = SharedPage::pin(address)?;
        // INVARIANT: The address of `page`.
        Ok(Self {
            address: page.as_ptr().ok_or(EFAULT)?,
            page,
        })
    }

    /// The page, to be lent to the hypervisor and taken back.
    pub(super) fn shared(&self) -> &SharedPage {
        &self.page
    }

    /// The slot of a vCPU.
    pub(crate) fn slot(&self, vcpu: VcpuId) -> Slot<'_> {
        Slot { page: self, vcpu }
    }

    fn field(&self, vcpu: VcpuId, offset: usize) -> &Atomic<u32> {
        let offset = usize::from(vcpu.0) * size_of::<uapi::acrn_io_request>() + offset;
        // SAFETY: By the invariant of `VcpuId` and the offsets used in `Slot`, this is inside the
        // page, which is mapped while `self` lives; the kernel only uses atomics there. Offsets are
        // multiples of 4.
        unsafe { Atomic::from_ptr(self.address.add(offset).cast::<u32>().as_ptr()) }
    }
}

/// Offsets in `struct acrn_io_request`.
mod offset {
    use super::*;

    pub(super) const TYPE: usize = offset_of!(uapi::acrn_io_request, type_);
    pub(super) const COMPLETION_POLLING: usize =
        offset_of!(uapi::acrn_io_request, completion_polling);
    pub(super) const KERNEL_HANDLED: usize = offset_of!(uapi::acrn_io_request, kernel_handled);
    pub(super) const PROCESSED: usize = offset_of!(uapi::acrn_io_request, processed);

    /// The union of the kinds of request.
    const REQUEST: usize = offset_of!(uapi::acrn_io_request, reqs);
    /// Common to all kinds.
    pub(super) const DIRECTION: usize = REQUEST;
    pub(super) const SIZE: usize = REQUEST + 16;
    /// Port I/O and MMIO.
    pub(super) const ADDRESS: usize = REQUEST + 8;
    /// 4 bytes for port I/O and PCI configuration space, 8 for MMIO.
    pub(super) const VALUE: usize = REQUEST + 24;
    /// PCI configuration space.
    pub(super) const BUS: usize = REQUEST + 28;
    pub(super) const DEVICE: usize = REQUEST + 32;
    pub(super) const FUNCTION: usize = REQUEST + 36;
    pub(super) const REGISTER: usize = REQUEST + 40;
}

/// Whether a guest reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    /// With the value written.
    Write(u64),
}

/// What an address is an address in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    Port,
    Memory,
}

/// An access of a guest to a port or to memory, copied out of a slot.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) direction: Direction,
    pub(crate) address: u64,
    /// 1 to 8 bytes.
    pub(crate) size: u64,
}

/// Address in PCI configuration space.
#[derive(Clone, Copy)]
pub(crate) struct PciConfigAddress {
    pub(crate) bus: u32,
    pub(crate) device: u32,
    pub(crate) function: u32,
    pub(crate) register: u32,
}

/// A request that became COMPLETE, and now owes the hypervisor a word.
#[must_use]
pub(crate) enum Completed {
    /// The vCPU sleeps until NOTIFY_REQUEST_FINISH.
    Notify(VcpuId),
    /// The hypervisor polls the slot.
    Polled,
}

/// One slot of the page.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    page: &'a RequestPage,
    vcpu: VcpuId,
}

impl Slot<'_> {
    /// The vCPU that the slot belongs to.
    pub(crate) fn vcpu(self) -> VcpuId {
        self.vcpu
    }

    fn read(self, offset: usize) -> u32 {
        self.page.field(self.vcpu, offset).load(ordering::Relaxed)
    }

    fn write(self, offset: usize, value: u32) {
        self.page
            .field(self.vcpu, offset)
            .store(value, ordering::Relaxed);
    }

    fn read_u64(self, offset: usize) -> u64 {
        u64::from(self.read(offset)) | u64::from(self.read(offset + 4)) << 32
    }

    /// Whether the hypervisor waits for this request to be taken. What it wrote before is visible
    /// after this.
    pub(crate) fn is_pending(self) -> bool {
        self.page
            .field(self.vcpu, offset::PROCESSED)
            .load(ordering::Acquire)
            == uapi::ACRN_IOREQ_STATE_PENDING
    }

    /// The request, if it is an access to a port or to memory that makes sense.
    pub(crate) fn access(self) -> Option<Access> {
        let space = match self.read(offset::TYPE) {
            uapi::ACRN_IOREQ_TYPE_PORTIO => Space::Port,
            uapi::ACRN_IOREQ_TYPE_MMIO => Space::Memory,
            _ => return None,
        };
        let size = self.read_u64(offset::SIZE);
        let value = || match space {
            Space::Port => self.read(offset::VALUE).into(),
            Space::Memory => self.read_u64(offset::VALUE),
        };
        matches!(size, 1..=8).then(|| Access {
            space,
            direction: match self.read(offset::DIRECTION) {
                uapi::ACRN_IOREQ_DIR_READ => Direction::Read,
                _ => Direction::Write(value()),
            },
            address: self.read_u64(offset::ADDRESS),
            size,
        })
    }

    /// Turns the request into one for PCI configuration space; size, direction and value stay.
    pub(crate) fn set_pci_config(self, address: PciConfigAddress) {
        self.write(offset::TYPE, uapi::ACRN_IOREQ_TYPE_PCICFG);
        self.write(offset::BUS, address.bus);
        self.write(offset::DEVICE, address.device);
        self.write(offset::FUNCTION, address.function);
        self.write(offset::REGISTER, address.register);
    }

    /// PENDING -> PROCESSING, for the device model. False if the request is not pending any more.
    pub(crate) fn hand_to_device_model(self) -> bool {
        self.write(offset::KERNEL_HANDLED, 0);
        self.transition(
            uapi::ACRN_IOREQ_STATE_PENDING,
            uapi::ACRN_IOREQ_STATE_PROCESSING,
        )
    }

    /// PENDING -> COMPLETE, for an access that the kernel handles; `value` is what a read returns.
    pub(crate) fn complete_pending(self, access: &Access, value: u32) -> Option<Completed> {
        if access.direction == Direction::Read {
            self.write(offset::VALUE, value);
            if access.space == Space::Memory {
                self.write(offset::VALUE + 4, 0);
            }
        }
        self.complete_from(uapi::ACRN_IOREQ_STATE_PENDING)
    }

    /// PROCESSING -> COMPLETE, with the value that the device model wrote. A device model may have
    /// made the slot COMPLETE itself: with upstream's driver that works.
    pub(crate) fn complete_processing(self) -> Option<Completed> {
        self.complete_from(uapi::ACRN_IOREQ_STATE_PROCESSING)
            .or_else(|| self.complete_from(uapi::ACRN_IOREQ_STATE_COMPLETE))
    }

    /// PENDING or PROCESSING -> COMPLETE, as if no device were there: reads return all ones. If the device
    /// model made the slot COMPLETE itself and has not notified yet, its answer stays.
    pub(crate) fn abandon(self) -> Option<Completed> {
        let state = self.read(offset::PROCESSED);
        if state == uapi::ACRN_IOREQ_STATE_COMPLETE {
            return self.complete_from(state);
        }
        if state != uapi::ACRN_IOREQ_STATE_PENDING && state != uapi::ACRN_IOREQ_STATE_PROCESSING {
            return None;
        }
        if self.read(offset::DIRECTION) == uapi::ACRN_IOREQ_DIR_READ {
            self.write(offset::VALUE, u32::MAX);
            if self.read(offset::TYPE) == uapi::ACRN_IOREQ_TYPE_MMIO {
                self.write(offset::VALUE + 4, u32::MAX);
            }
        }
        self.complete_from(state)
    }

    /// `from` -> COMPLETE. None if the slot was in another state: then somebody else completed it, or
    /// user space scribbled on it, and nothing is owed to the hypervisor.
    fn complete_from(self, from: u32) -> Option<Completed> {
        // A polling hypervisor may reuse the slot as soon as it is COMPLETE: read this before.
        let polling = self.read(offset::COMPLETION_POLLING) != 0;
        if !self.transition(from, uapi::ACRN_IOREQ_STATE_COMPLETE) {
            return None;
        }
        Some(if polling {
            Completed::Polled
        } else {
            Completed::Notify(self.vcpu)
        })
    }

    /// Moves the slot between states. A reader of the new state sees all that was written before.
    fn transition(self, from: u32, to: u32) -> bool {
        self.page
            .field(self.vcpu, offset::PROCESSED)
            .cmpxchg(from, to, ordering::Full)
            .is_ok()
    }
}
