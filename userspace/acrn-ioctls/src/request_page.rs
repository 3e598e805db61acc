// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The page of I/O request slots, shared with the driver and the hypervisor.

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

/// The page of 16 slots, one a vCPU.
///
/// A VM and the hypervisor write it whenever they like, so all access is by atomics and nothing in it is
/// believed: a [`Request`] is a copy, checked once.
#[derive(Debug)]
pub struct RequestPage {
    /// # Invariants
    ///
    /// A mapping of `PAGE_SIZE` bytes, aligned to that, ours until drop.
    page: NonNull<u8>,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for RequestPage {}
// SAFETY: all access to the page is atomic.
unsafe impl Sync for RequestPage {}

impl RequestPage {
    /// A page of zeros, shared memory of its own.
    pub fn new() -> Result<Self> {
        // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
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
            // INVARIANT: just mapped.
            Some(page) => Ok(RequestPage { page }),
            None => Err(Error::new(Operation::MapRequestPage, libc::ENOMEM)),
        }
    }

    /// Where it lies in our address space.
    pub fn address(&self) -> u64 {
        self.page.as_ptr() as u64
    }

    /// The slot of a vCPU; `None` from 16 up.
    pub fn slot(&self, vcpu: u32) -> Option<Slot<'_>> {
        if vcpu >= ACRN_IO_REQUEST_MAX {
            return None;
        }
        let offset = vcpu as usize * size_of::<acrn_io_request>();
        // SAFETY: by the check the slot lies in the page.
        let slot = unsafe { self.page.add(offset) };
        // INVARIANT: a slot of a page that `'_` keeps mapped.
        Some(Slot {
            slot,
            page: PhantomData,
        })
    }

    /// All slots, with their vCPUs.
    pub fn slots(&self) -> impl Iterator<Item = (u32, Slot<'_>)> {
        (0..ACRN_IO_REQUEST_MAX).filter_map(|vcpu| Some((vcpu, self.slot(vcpu)?)))
    }
}

impl Drop for RequestPage {
    fn drop(&mut self) {
        // SAFETY: by the invariant it is our mapping, and no slot that borrows it is left.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE_SIZE) };
    }
}

/// One vCPU's slot.
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
        // SAFETY: by the check and the invariant it is aligned and in the page; everybody in this process
        // accesses the page by atomics.
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

    /// The state, one of `ACRN_IOREQ_STATE_*`, with acquire ordering.
    pub fn state(&self) -> u32 {
        self.u32_at(offset_of!(acrn_io_request, processed))
            .load(Ordering::Acquire)
    }

    /// Sets the state, with release ordering. A device model leaves that to the driver.
    pub fn set_state(&self, state: u32) {
        self.u32_at(offset_of!(acrn_io_request, processed))
            .store(state, Ordering::Release);
    }

    /// The driver answers this request by itself.
    pub fn is_kernel_handled(&self) -> bool {
        self.u32_at(offset_of!(acrn_io_request, kernel_handled))
            .load(Ordering::Relaxed)
            != 0
    }

    /// The vCPU waits for us: the state is PROCESSING, and the driver doesn't answer it by itself.
    pub fn is_ours(&self) -> bool {
        self.state() == ACRN_IOREQ_STATE_PROCESSING && !self.is_kernel_handled()
    }

    /// A copy of the request, whatever the state is.
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

    /// Puts the answer to a read into the slot. The vCPU gets it after
    /// [`Vm::notify_request_finish`](crate::Vm::notify_request_finish).
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

    /// Fills the slot in, as a hypervisor would, but for the state: for tests.
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

/// One offset does for the value of all three kinds.
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
