// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The request page, shared by the hypervisor, the driver and the device model.

use std::marker::PhantomData;
use std::mem::{offset_of, size_of};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use acrn_uapi::{
    ACRN_IO_REQUEST_MAX, ACRN_IOREQ_STATE_PROCESSING, ACRN_IOREQ_TYPE_MMIO, acrn_io_request,
    acrn_io_request_buffer, acrn_mmio_request, acrn_pci_request, acrn_pio_request,
};

use crate::request::RawRequest;
use crate::{Error, MalformedRequest, Operation, Request, Result};

const PAGE_SIZE: usize = size_of::<acrn_io_request_buffer>();

const REQS: usize = offset_of!(acrn_io_request, reqs);

/// The page of 16 slots, one for each vCPU.
///
/// The hypervisor writes the page at any time, with values that the guest chooses. All accesses are
/// atomic, and no value is trusted: a [`Request`] is a copy that is checked once.
#[derive(Debug)]
pub struct RequestPage {
    /// # Invariants
    ///
    /// A mapping of `PAGE_SIZE` bytes, aligned to `PAGE_SIZE`, that this object owns.
    page: NonNull<u8>,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for RequestPage {}
// SAFETY: all accesses to the page are atomic.
unsafe impl Sync for RequestPage {}

impl RequestPage {
    /// Maps a page of zeros, as shared anonymous memory.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn new() -> Result<Self> {
        // SAFETY: the kernel chooses the address of this new anonymous mapping.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(Error::last(Operation::MapRequestPage));
        }
        match NonNull::new(page.cast()) {
            // INVARIANT: mapped above.
            Some(page) => Ok(RequestPage { page }),
            None => Err(Error::new(Operation::MapRequestPage, libc::ENOMEM)),
        }
    }

    /// Returns its address in this process.
    pub fn address(&self) -> u64 {
        self.page.as_ptr() as u64
    }

    /// Returns the slot of a vCPU, or `None` if `vcpu` is 16 or more.
    pub fn slot(&self, vcpu: u32) -> Option<Slot<'_>> {
        if vcpu >= ACRN_IO_REQUEST_MAX {
            return None;
        }
        let offset = vcpu as usize * size_of::<acrn_io_request>();
        // SAFETY: by the check above the slot is inside the page.
        let slot = unsafe { self.page.add(offset) };
        // INVARIANT: a slot of a page that stays mapped for `'_`.
        Some(Slot {
            slot,
            page: PhantomData,
        })
    }

    /// Returns all slots, with their vCPUs.
    pub fn slots(&self) -> impl Iterator<Item = (u32, Slot<'_>)> {
        (0..ACRN_IO_REQUEST_MAX).filter_map(|vcpu| Some((vcpu, self.slot(vcpu)?)))
    }
}

impl Drop for RequestPage {
    fn drop(&mut self) {
        // SAFETY: by the type invariant this object owns the mapping. No slot borrows it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE_SIZE) };
    }
}

/// The slot of a vCPU.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// # Invariants
    ///
    /// An `acrn_io_request` in a mapped page, aligned to 256, for `'a`.
    slot: NonNull<u8>,
    page: PhantomData<&'a RequestPage>,
}

impl<'a> Slot<'a> {
    fn u32_at(&self, offset: usize) -> &'a AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < size_of::<acrn_io_request>());
        // SAFETY: by the check and the type invariant the address is aligned and inside the page.
        // All accesses of this process to the page are atomic.
        unsafe { AtomicU32::from_ptr(self.slot.add(offset).as_ptr().cast()) }
    }

    fn u64_at(&self, offset: usize) -> &'a AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < size_of::<acrn_io_request>());
        // SAFETY: as in `u32_at`.
        unsafe { AtomicU64::from_ptr(self.slot.add(offset).as_ptr().cast()) }
    }

    fn value(&self) -> usize {
        REQS + offset_of!(acrn_pio_request, value)
    }

    /// Loads the state, one of `ACRN_IOREQ_STATE_*`, with acquire ordering.
    pub fn state(&self) -> u32 {
        self.u32_at(offset_of!(acrn_io_request, processed))
            .load(Ordering::Acquire)
    }

    /// Stores the state, with release ordering. A device model leaves this to the driver.
    pub fn set_state(&self, state: u32) {
        self.u32_at(offset_of!(acrn_io_request, processed))
            .store(state, Ordering::Release);
    }

    /// Returns whether the driver completes this request by itself.
    pub fn is_kernel_handled(&self) -> bool {
        self.u32_at(offset_of!(acrn_io_request, kernel_handled))
            .load(Ordering::Relaxed)
            != 0
    }

    /// Returns whether the device model must serve this request.
    ///
    /// The state is then PROCESSING, and the driver does not complete the request by itself.
    pub fn is_ours(&self) -> bool {
        self.state() == ACRN_IOREQ_STATE_PROCESSING && !self.is_kernel_handled()
    }

    /// Returns a copy of the request. The state does not matter.
    ///
    /// # Errors
    ///
    /// Fails if the type or direction is unknown, or the width is impossible.
    pub fn request(&self) -> std::result::Result<Request, MalformedRequest> {
        let load32 = |offset| self.u32_at(offset).load(Ordering::Relaxed);
        let load64 = |offset| self.u64_at(offset).load(Ordering::Relaxed);
        Request::try_from(RawRequest {
            kind: load32(offset_of!(acrn_io_request, type_)),
            direction: load32(REQS + offset_of!(acrn_pio_request, direction)),
            address: load64(REQS + offset_of!(acrn_pio_request, address)),
            size: load64(REQS + offset_of!(acrn_pio_request, size)),
            value: load64(self.value()),
            device: load32(REQS + offset_of!(acrn_pci_request, dev)),
            function: load32(REQS + offset_of!(acrn_pci_request, func)),
            register: load32(REQS + offset_of!(acrn_pci_request, reg)),
        })
    }

    /// Stores the value of a read in the slot.
    ///
    /// The vCPU takes it after [`Vm::notify_request_finish`](crate::Vm::notify_request_finish).
    pub fn answer(&self, value: u64) {
        let kind = self
            .u32_at(offset_of!(acrn_io_request, type_))
            .load(Ordering::Relaxed);
        if kind == ACRN_IOREQ_TYPE_MMIO {
            self.u64_at(self.value()).store(value, Ordering::Relaxed);
        } else {
            self.u32_at(self.value())
                .store(value as u32, Ordering::Relaxed);
        }
    }

    /// Fills in all of the slot but the state, as the hypervisor does. For tests.
    pub fn fill(&self, kind: u32, direction: u32, address: u64, size: u64, value: u64) {
        let store32 = |offset, value| self.u32_at(offset).store(value, Ordering::Relaxed);
        store32(offset_of!(acrn_io_request, type_), kind);
        store32(REQS + offset_of!(acrn_pio_request, direction), direction);
        self.u64_at(REQS + offset_of!(acrn_pio_request, address))
            .store(address, Ordering::Relaxed);
        self.u64_at(REQS + offset_of!(acrn_pio_request, size))
            .store(size, Ordering::Relaxed);
        self.u64_at(self.value()).store(value, Ordering::Relaxed);
    }
}

/// The value has the same offset in all three types.
const _: () = assert!(
    offset_of!(acrn_pio_request, value) == offset_of!(acrn_mmio_request, value)
        && offset_of!(acrn_pio_request, value) == offset_of!(acrn_pci_request, value)
        && offset_of!(acrn_pio_request, size) == offset_of!(acrn_pci_request, size)
        && offset_of!(acrn_pci_request, bus) == offset_of!(acrn_pci_request, value) + 4
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Target, Width};
    use acrn_uapi::*;

    #[test]
    fn there_are_sixteen_slots_in_a_page_of_zeros() {
        let page = RequestPage::new().unwrap();
        assert_eq!(page.slots().count(), 16);
        assert!(page.slot(16).is_none());
        assert_eq!(page.address() % 4096, 0);
        assert!(
            page.slots()
                .all(|(_, slot)| slot.state() == ACRN_IOREQ_STATE_PENDING)
        );
    }

    #[test]
    fn a_request_is_ours_only_while_processing_and_not_the_kernels() {
        let page = RequestPage::new().unwrap();
        let slot = page.slot(15).unwrap();
        assert!(!slot.is_ours());
        slot.set_state(ACRN_IOREQ_STATE_PROCESSING);
        assert!(slot.is_ours());
        slot.u32_at(132).store(1, Ordering::Relaxed);
        assert!(!slot.is_ours());
    }

    #[test]
    fn requests_come_out_as_they_went_in() {
        let page = RequestPage::new().unwrap();
        let slot = page.slot(3).unwrap();
        slot.fill(
            ACRN_IOREQ_TYPE_PORTIO,
            ACRN_IOREQ_DIR_WRITE,
            0x60,
            2,
            0xabcd,
        );
        let request = slot.request().unwrap();
        assert_eq!(request.target, Target::Port(0x60));
        assert_eq!(request.direction, Direction::Write);
        assert_eq!(request.width, Width::Two);
        assert_eq!(request.value, 0xabcd);
    }

    #[test]
    fn an_answer_to_a_config_read_leaves_the_bus_alone() {
        let page = RequestPage::new().unwrap();
        let slot = page.slot(0).unwrap();
        slot.fill(ACRN_IOREQ_TYPE_PCICFG, ACRN_IOREQ_DIR_READ, 0, 4, 9 << 32);
        slot.answer(u64::MAX);
        let Target::PciConfig { bus, .. } = slot.request().unwrap().target else {
            panic!()
        };
        assert_eq!(bus, 9);
        assert_eq!(slot.u32_at(88).load(Ordering::Relaxed), u32::MAX);
    }
}
