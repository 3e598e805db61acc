// SPDX-License-Identifier: GPL-2.0

//! Pins of memory that was taken away from a VM, for as long as the VM may still reach it.
//!
//! The hypervisor deletes a mapping, and only asks for the translations that CPUs have of it to be flushed:
//! a vCPU goes on with them until it next leaves the guest. Those that an IOMMU has for a passed-through
//! device are not flushed at all before the device is de-assigned.

use crate::{
    abstractions::{
        lent_pages::{
            LentPages,
            Returned, //
        },
        object_count::{
            self,
            Counted, //
        },
    },
    hypercall::{
        Destroyed,
        Stopped, //
    },
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Mutex, //
    },
};

/// Pages that the hypervisor maps, or may still map. Allocated as an element of a [`PinList`], so that
/// putting them there cannot fail.
pub(super) struct Pins {
    pub(super) pages: LentPages,
    next: Option<KBox<Pins>>,
    _live: Counted,
}

impl Pins {
    /// Makes the memory for a value, before pages are lent.
    pub(super) fn room() -> Result<PinRoom> {
        Ok(KBox::new_uninit(GFP_KERNEL_ACCOUNT)?)
    }

    /// `pages`, in no list.
    pub(super) fn new(pages: LentPages, room: PinRoom) -> KBox<Self> {
        let pins = Self {
            pages,
            next: None,
            _live: Counted::new(&object_count::PINS),
        };
        KBox::write(room, pins)
    }

    fn bytes(&self) -> u64 {
        self.pages.runs().map(|run| run.len()).sum()
    }
}

/// Memory for [`Pins`].
pub(super) type PinRoom = KBox<core::mem::MaybeUninit<Pins>>;

/// Pins in no order. To drop the list leaks them.
#[derive(Default)]
pub(super) struct PinList(Option<KBox<Pins>>);

impl PinList {
    /// Adds pins.
    pub(super) fn push(&mut self, mut pins: KBox<Pins>) {
        pins.next = self.0.take();
        self.0 = Some(pins);
    }

    fn pop(&mut self) -> Option<KBox<Pins>> {
        let mut pins = self.0.take()?;
        self.0 = pins.next.take();
        Some(pins)
    }
}

impl Drop for PinList {
    fn drop(&mut self) {
        // One after the other: a list that drops its rest uses stack for each.
        while self.pop().is_some() {}
    }
}

/// Proof that nothing reaches memory that was taken away from a VM: no vCPU has been in the guest since, and
/// no device was the VM's; or the VM is gone.
struct Unreachable(());

// SAFETY: `State` makes it, and it goes with what is parked then, under the same lock.
unsafe impl Returned for Unreachable {}

/// Pins that nothing needs any more. To drop it unpins, which takes long, sleeps, and takes the mmap lock:
/// not to be done with a lock held.
#[must_use = "unpins when it is dropped, which must not be with a lock held"]
#[derive(Default)]
pub(crate) struct Released(Option<(PinList, Unreachable)>);

impl Released {
    /// Adds what `other` has.
    pub(super) fn append(&mut self, mut other: Self) {
        let Some((mut pins, proof)) = other.0.take() else {
            return;
        };
        let (all, _) = self.0.get_or_insert((PinList::default(), proof));
        while let Some(pins) = pins.pop() {
            all.push(pins);
        }
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        if let Some((mut pins, proof)) = self.0.take() {
            while let Some(pins) = pins.pop() {
                drop(KBox::into_inner(pins).pages.take_back(&proof));
            }
        }
    }
}

struct State {
    /// A vCPU may have been in the guest since the last proof that none is.
    vcpus_run: bool,
    devices: usize,
    /// The VM is gone.
    destroyed: Option<Destroyed>,
    parked: PinList,
    count: usize,
}

impl State {
    fn conclude(&self) -> Option<Unreachable> {
        let idle = !self.vcpus_run && self.devices == 0;
        (idle || self.destroyed.is_some()).then_some(Unreachable(()))
    }
}

/// The parked pins of one VM.
#[pin_data]
pub(super) struct Parking {
    #[pin]
    state: Mutex<State>,
    bytes: Atomic<u64>,
}

impl Parking {
    /// Pieces of memory that may be parked.
    const MAX_PARKED: usize = 1 << 14;

    /// That of a VM that has never run and has no devices.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State {
                vcpus_run: false,
                devices: 0,
                destroyed: None,
                parked: PinList::default(),
                count: 0,
            }, "acrn_parking"),
            bytes: Atomic::new(0),
        })
    }

    /// Bytes that are parked.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(ordering::Relaxed)
    }

    /// `ENOSPC` if no more memory can be parked. Parking takes the lock of the mappings, so there is room for
    /// as long as the caller holds that.
    pub(super) fn must_have_room(&self) -> Result {
        let state = self.state.lock();
        if state.count >= Self::MAX_PARKED && state.conclude().is_none() {
            return Err(ENOSPC);
        }
        Ok(())
    }

    /// Keeps `pins`, whose memory the hypervisor has deleted from the VM, for as long as is needed.
    pub(super) fn park(&self, pins: KBox<Pins>) -> Released {
        let bytes = pins.bytes();
        self.change(|state| {
            self.bytes.fetch_add(bytes, ordering::Relaxed);
            state.parked.push(pins);
            state.count += 1;
        })
    }

    /// From now on vCPUs may run.
    pub(super) fn started(&self) {
        self.state.lock().vcpus_run = true;
    }

    /// No vCPU is in the guest, and none was in it since `_proof` was made.
    pub(super) fn stopped(&self, _proof: &Stopped) -> Released {
        self.change(|state| state.vcpus_run = false)
    }

    /// The VM has so many passed-through devices.
    pub(super) fn set_devices(&self, count: usize) -> Released {
        self.change(|state| state.devices = count)
    }

    /// The VM is gone. What is parked stays, until [`Self::empty`].
    pub(super) fn end(&self, proof: Destroyed) {
        self.state.lock().destroyed = Some(proof);
    }

    /// Releases what is parked, and `mapped`, which the hypervisor has not deleted. What the VM may still
    /// reach is leaked, and its size returned as an error.
    pub(super) fn empty(&self, mut mapped: PinList) -> Result<Released, u64> {
        let (mut all, mut bytes) = (PinList::default(), 0);
        while let Some(pins) = mapped.pop() {
            bytes += pins.bytes();
            all.push(pins);
        }
        let state = self.state.lock();
        let proof = state.destroyed.as_ref().map(|_| Unreachable(()));
        drop(state);
        let mut released = self.change(|_| {});
        bytes += self.bytes();
        match proof {
            Some(proof) => {
                released.append(Released(Some((all, proof))));
                Ok(released)
            }
            None if bytes == 0 => Ok(released),
            None => Err(bytes),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Released {
        let mut state = self.state.lock();
        change(&mut state);
        let Some(proof) = state.conclude() else {
            return Released::default();
        };
        state.count = 0;
        self.bytes.store(0, ordering::Relaxed);
        Released(Some((core::mem::take(&mut state.parked), proof)))
    }
}
