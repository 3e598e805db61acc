// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The request page of a VM: slots of `struct acrn_io_request`, one per vCPU.

use crate::phys;
use acrn_uapi::{
    ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_TYPE_MMIO, acrn_io_request, acrn_mmio_request,
    acrn_pio_request,
};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};
use zerocopy::IntoBytes;

/// Number of slots of a page.
pub const SLOTS: usize = 16;
/// Size of a slot in bytes.
pub const SLOT_SIZE: usize = size_of::<acrn_io_request>();

/// An I/O request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// `ACRN_IOREQ_TYPE_*`.
    pub kind: u32,
    /// The access is a write.
    pub write: bool,
    /// Port or address.
    pub address: u64,
    /// Width of the access in bytes.
    pub size: usize,
    /// Value of a write.
    pub value: u64,
}

/// A slot of a request page. The Service VM may write to all of it at any time.
pub struct Slot {
    base: u64,
}

impl Slot {
    /// Returns the slot of vCPU `index` in `page`, `None` if `page` is 0.
    pub fn in_page(page: u64, index: usize) -> Option<Self> {
        // SET_IOREQ_BUFFER has checked that the page is RAM of the Service VM.
        (page != 0 && index < SLOTS).then_some(Self { base: page + (index * SLOT_SIZE) as u64 })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: The word is aligned and inside a page that SET_IOREQ_BUFFER found to be RAM of
        // the Service VM, which is always mapped. All accesses to the shared memory are atomic.
        unsafe { &*((self.base + offset as u64) as *const AtomicU32) }
    }

    /// Returns `processed`.
    pub fn state(&self) -> u32 {
        self.word(offset_of!(acrn_io_request, processed)).load(Ordering::Acquire)
    }

    /// Sets `processed`, after all earlier writes to the slot.
    pub fn set_state(&self, state: u32) {
        self.word(offset_of!(acrn_io_request, processed)).store(state, Ordering::Release);
    }

    /// Toggles `completion_polling`.
    pub fn toggle_polling(&self) {
        let word = self.word(offset_of!(acrn_io_request, completion_polling));
        word.store(u32::from(word.load(Ordering::Relaxed) == 0), Ordering::Release);
    }

    /// Returns all bytes of the slot.
    pub fn bytes(&self) -> [u8; SLOT_SIZE] {
        let mut out = [0; SLOT_SIZE];
        phys::read_bytes(self.base, &mut out).expect("checked by SET_IOREQ_BUFFER");
        out
    }

    /// Overwrites the slot from `offset` on.
    pub fn write(&self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= SLOT_SIZE);
        phys::write_bytes(self.base + offset as u64, data).expect("checked by SET_IOREQ_BUFFER");
    }

    /// Writes `request` into the slot.
    pub fn fill(&self, request: &Request, polling: bool) {
        let direction = u32::from(request.write);
        let (address, size) = (request.address, request.size as u64);
        self.write(offset_of!(acrn_io_request, type_), request.kind.as_bytes());
        self.write(offset_of!(acrn_io_request, completion_polling), u32::from(polling).as_bytes());
        let at = offset_of!(acrn_io_request, reqs);
        if request.kind == ACRN_IOREQ_TYPE_MMIO {
            let value = request.value;
            self.write(
                at,
                acrn_mmio_request { direction, reserved: 0, address, size, value }.as_bytes(),
            );
        } else {
            // Written field by field, because the structure ends in padding.
            self.write(at, [direction, 0].as_bytes());
            self.write(at + offset_of!(acrn_pio_request, address), [address, size].as_bytes());
            self.write(at + offset_of!(acrn_pio_request, value), (request.value as u32).as_bytes());
        }
    }

    /// Returns the value of a completed read of type `kind`.
    pub fn value(&self, kind: u32) -> u64 {
        let at = offset_of!(acrn_io_request, reqs);
        if kind == ACRN_IOREQ_TYPE_MMIO {
            let low = self.word(at + offset_of!(acrn_mmio_request, value)).load(Ordering::Relaxed);
            let high =
                self.word(at + offset_of!(acrn_mmio_request, value) + 4).load(Ordering::Relaxed);
            u64::from(high) << 32 | u64::from(low)
        } else {
            u64::from(self.word(at + offset_of!(acrn_pio_request, value)).load(Ordering::Relaxed))
        }
    }
}

/// Makes all slots of `page` FREE.
pub fn free_all(page: u64) {
    for slot in (0..SLOTS).filter_map(|i| Slot::in_page(page, i)) {
        slot.set_state(ACRN_IOREQ_STATE_FREE);
    }
}
