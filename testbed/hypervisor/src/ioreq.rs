// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! I/O requests: mini-ACRN's side of the shared page (`struct acrn_io_request`, one slot a vCPU).

use crate::vcpu::Vcpu;
use crate::vm::Vm;
use crate::{cpu, lapic, log, phys, trace};
use acrn_uapi::{
    ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_STATE_PENDING,
    ACRN_IOREQ_TYPE_MMIO, acrn_io_request, acrn_mmio_request, acrn_pio_request,
};
use core::hint::spin_loop;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use mini_acrn_channel::{ANY_VM, kind};
use zerocopy::IntoBytes;

/// Slots of a page.
pub const SLOTS: usize = 16;
/// Bytes of a slot.
pub const SLOT_SIZE: usize = size_of::<acrn_io_request>();
const DEFAULT_VECTOR: u8 = 0xF3;
/// CPU that gets all upcalls.
const UPCALL_CPU: usize = 0;

static VECTOR: AtomicU8 = AtomicU8::new(DEFAULT_VECTOR);

/// Sets the vector of the upcall.
pub fn set_vector(vector: u8) {
    VECTOR.store(vector, Ordering::Relaxed);
}

/// Tells the Service VM to look at its request pages.
pub fn upcall() {
    trace::push(kind::UPCALL, ANY_VM, &[], |_| {});
    lapic::send(cpu::lapic_id(UPCALL_CPU), VECTOR.load(Ordering::Relaxed));
}

/// What a vCPU asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// `ACRN_IOREQ_TYPE_*`.
    pub kind: u32,
    /// Write, not read.
    pub write: bool,
    /// Port or address.
    pub address: u64,
    /// Bytes.
    pub size: usize,
    /// Value of a write.
    pub value: u64,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Carried out; the value of a read.
    Done(u64),
    /// The vCPU is to stop.
    Stopped,
    /// The slot is not FREE, or there is no page.
    Refused,
}

/// One slot of a VM's page. The other side may write all of it at any time.
pub struct Slot {
    base: u64,
}

impl Slot {
    /// The slot of vCPU `index`, if the VM has a page.
    pub fn of(vm: &Vm, index: usize) -> Option<Self> {
        let page = vm.request_page.load(Ordering::Acquire);
        // SET_IOREQ_BUFFER checked that the page is the Service VM's RAM.
        (page != 0 && index < SLOTS).then_some(Self { base: page + (index * SLOT_SIZE) as u64 })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: an aligned word inside a page that SET_IOREQ_BUFFER found to be the Service VM's RAM, which
        // is always mapped; shared memory is accessed atomically.
        unsafe { &*((self.base + offset as u64) as *const AtomicU32) }
    }

    /// `processed`.
    pub fn state(&self) -> u32 {
        self.word(offset_of!(acrn_io_request, processed)).load(Ordering::Acquire)
    }

    /// Sets `processed`, after everything else that was written.
    pub fn set_state(&self, state: u32) {
        self.word(offset_of!(acrn_io_request, processed)).store(state, Ordering::Release);
    }

    /// Turns `completion_polling` round.
    pub fn turn_polling(&self) {
        let word = self.word(offset_of!(acrn_io_request, completion_polling));
        word.store(u32::from(word.load(Ordering::Relaxed) == 0), Ordering::Release);
    }

    /// All bytes.
    pub fn bytes(&self) -> [u8; SLOT_SIZE] {
        let mut out = [0; SLOT_SIZE];
        phys::read_bytes(self.base, &mut out).expect("checked by SET_IOREQ_BUFFER");
        out
    }

    /// Overwrites bytes from `offset` on.
    pub fn write(&self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= SLOT_SIZE);
        phys::write_bytes(self.base + offset as u64, data).expect("checked by SET_IOREQ_BUFFER");
    }

    fn fill(&self, request: &Request, polling: bool) {
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
            // Field by field: the structure ends in padding.
            self.write(at, [direction, 0].as_bytes());
            self.write(at + offset_of!(acrn_pio_request, address), [address, size].as_bytes());
            self.write(at + offset_of!(acrn_pio_request, value), (request.value as u32).as_bytes());
        }
    }

    fn value(&self, kind: u32) -> u64 {
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

fn record(what: u16, vm: &Vm, index: usize, bytes: &[u8]) {
    trace::push(what, vm.id, bytes, |r| r.p1 = index as u64);
}

/// Makes a slot PENDING, with a record of it.
pub fn publish(vm: &Vm, index: usize, slot: &Slot) {
    let mut bytes = slot.bytes();
    let at = offset_of!(acrn_io_request, processed);
    bytes[at..at + 4].copy_from_slice(&ACRN_IOREQ_STATE_PENDING.to_le_bytes());
    record(kind::REQUEST_PENDING, vm, index, &bytes);
    slot.set_state(ACRN_IOREQ_STATE_PENDING);
}

/// Makes a COMPLETE slot FREE, with a record of it. Any other state is recorded as wedged and stays.
pub fn consume(vm: &Vm, index: usize, slot: &Slot) -> bool {
    let complete = slot.state() == ACRN_IOREQ_STATE_COMPLETE;
    let what = if complete { kind::REQUEST_CONSUMED } else { kind::REQUEST_WEDGED };
    record(what, vm, index, &slot.bytes());
    if complete {
        slot.set_state(ACRN_IOREQ_STATE_FREE);
    }
    complete
}

/// Carries `request` to the Service VM and waits for the answer.
pub fn issue(vm: &Vm, vcpu: &Vcpu, index: usize, request: &Request) -> Reply {
    let Some(slot) = Slot::of(vm, index) else { return Reply::Refused };
    if slot.state() != ACRN_IOREQ_STATE_FREE {
        log!("VM {} vCPU {index}: its request slot is in state {}, not FREE", vm.id, slot.state());
        return Reply::Refused;
    }
    let polling = vm.polling.load(Ordering::Acquire);
    slot.fill(request, polling);
    publish(vm, index, &slot);
    upcall();
    let done =
        || if polling { slot.state() == ACRN_IOREQ_STATE_COMPLETE } else { vcpu.take_finished() };
    while !done() {
        if vcpu.is_stopping() {
            return Reply::Stopped;
        }
        if vcpu.is_paused() {
            vcpu.stand_in_request(polling);
        } else if polling {
            spin_loop();
        } else {
            vcpu.sleep();
        }
    }
    let value = slot.value(request.kind);
    consume(vm, index, &slot);
    Reply::Done(value)
}

/// Makes all slots FREE.
pub fn free_all(vm: &Vm) {
    for slot in (0..SLOTS).filter_map(|i| Slot::of(vm, i)) {
        slot.set_state(ACRN_IOREQ_STATE_FREE);
    }
}
