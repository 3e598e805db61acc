// SPDX-License-Identifier: GPL-2.0

//! Pins of memory that was unmapped from a VM that may still access it.
//!
//! When the hypervisor deletes a mapping, it only requests a flush of the CPUs' translations: a
//! vCPU uses stale ones until it next leaves the guest. It does not flush the translations of an
//! IOMMU at all until the passed-through device is deassigned.
//!
//! A guest with a secure world may have moved memory there before. It keeps that memory, and the
//! hypervisor maps it again at RESET_VM. So all pins of such a VM stay until the VM is gone.

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
        ResetDone,
        Stopped,
        VmId, //
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

/// Pins of pages that the hypervisor maps, or that a VM may still access. An element of a
/// [`PinList`], so that adding it to one cannot fail.
pub(super) struct Pins {
    pub(super) pages: LentPages,
    next: Option<KBox<Pins>>,
    _count: Counted,
}

impl Pins {
    /// Allocates the memory for a value, before pages are lent.
    pub(super) fn allocate() -> Result<PinsMemory> {
        Ok(KBox::new_uninit(GFP_KERNEL_ACCOUNT)?)
    }

    /// Creates pins that are in no list.
    pub(super) fn new(pages: LentPages, memory: PinsMemory) -> KBox<Self> {
        let pins = Self {
            pages,
            next: None,
            _count: Counted::new(&object_count::PINS),
        };
        KBox::write(memory, pins)
    }

    fn bytes(&self) -> u64 {
        self.pages.runs().map(|run| run.len()).sum()
    }
}

/// Memory for [`Pins`].
pub(super) type PinsMemory = KBox<core::mem::MaybeUninit<Pins>>;

/// A list of pins. Dropping it leaks the pins.
#[derive(Default)]
pub(super) struct PinList(Option<KBox<Pins>>);

impl PinList {
    /// Adds pins to the list.
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
        // One by one: dropping the list recursively would use stack for each element.
        while self.pop().is_some() {}
    }
}

/// A proof that neither a vCPU nor a device of a VM can access memory that was unmapped from it
/// before: no vCPU has entered the guest since with a translation from before, no device was passed
/// through, and there is no secure world; or the VM is gone.
struct Unreachable(());

// SAFETY: Only `State` creates it, together with the pins that are parked, under the same lock, and
// `Released::never_mapped`, for pins of memory that its caller guarantees that no VM had.
unsafe impl Returned for Unreachable {}

/// Pins that were released. Dropping this unpins the pages, which takes long, sleeps, and takes the
/// mmap lock. So no mutex of a VM may be held.
#[must_use = "unpins pages when it is dropped, with no mutex of a VM held"]
#[derive(Default)]
pub(crate) struct Released(Option<(PinList, Unreachable)>);

impl Released {
    /// Releases pins without parking them.
    ///
    /// # Safety
    ///
    /// The hypervisor must not have mapped any memory of `pins` since it was lent.
    pub(super) unsafe fn never_mapped(pins: KBox<Pins>) -> Self {
        let mut list = PinList::default();
        list.push(pins);
        Self(Some((list, Unreachable(()))))
    }

    /// Adds the pins of `other`.
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
                let pages = KBox::into_inner(pins).pages;
                // SAFETY: The proof was created for these pins.
                drop(unsafe { pages.take_back(&proof) });
            }
        }
    }
}

struct State {
    /// A vCPU may be in the guest: the VM was started, and was not reset since.
    vcpus_run: bool,
    devices: usize,
    has_secure_world: bool,
    /// Present once the VM is gone.
    destroyed: Option<Destroyed>,
    parked: PinList,
    count: usize,
}

impl State {
    fn prove(&self) -> Option<Unreachable> {
        let idle = !self.vcpus_run && self.devices == 0 && !self.has_secure_world;
        (idle || self.destroyed.is_some()).then_some(Unreachable(()))
    }
}

/// The parked pins of a VM. Proofs about other VMs release none.
#[pin_data]
pub(super) struct Parking {
    vm: VmId,
    #[pin]
    state: Mutex<State>,
    bytes: Atomic<u64>,
}

impl Parking {
    /// The most groups of pins that may be parked.
    const MAX_PARKED: usize = 1 << 14;

    /// Returns an initialiser, for a VM that has never run and has no devices.
    pub(super) fn new(vm: VmId, has_secure_world: bool) -> impl PinInit<Self> {
        pin_init!(Self {
            vm,
            state <- new_mutex!(State {
                vcpus_run: false,
                devices: 0,
                has_secure_world,
                destroyed: None,
                parked: PinList::default(),
                count: 0,
            }, "acrn_parking"),
            bytes: Atomic::new(0),
        })
    }

    /// Returns the number of bytes that are parked.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(ordering::Relaxed)
    }

    /// Fails with `ENOSPC` if no more pins can be parked. If this succeeds, there is room as long
    /// as the caller holds the lock of the mappings.
    pub(super) fn check_room(&self) -> Result {
        let state = self.state.lock();
        if state.count >= Self::MAX_PARKED && state.prove().is_none() {
            return Err(ENOSPC);
        }
        Ok(())
    }

    /// Parks `pins`, whose memory the hypervisor has unmapped from the VM.
    pub(super) fn park(&self, pins: KBox<Pins>) -> Released {
        let bytes = pins.bytes();
        self.change(|state| {
            self.bytes.fetch_add(bytes, ordering::Relaxed);
            state.parked.push(pins);
            state.count += 1;
        })
    }

    /// Records that vCPUs may run from now on.
    pub(super) fn started(&self) {
        self.state.lock().vcpus_run = true;
    }

    /// Releases the pins that were parked before the vCPUs stopped. Those that are parked later
    /// stay, because an interrupt makes a vCPU of a paused VM run. To be called before more memory
    /// is unmapped.
    pub(super) fn stopped(&self, proof: &Stopped) -> Released {
        let mut state = self.state.lock();
        if proof.vm() == self.vm && state.devices == 0 && !state.has_secure_world {
            self.release(&mut state, Unreachable(()))
        } else {
            Released::default()
        }
    }

    /// Records that no vCPU runs until [`Self::started`].
    pub(super) fn reset(&self, proof: &ResetDone) -> Released {
        self.change(|state| state.vcpus_run &= proof.vm() != self.vm)
    }

    /// Records the number of passed-through devices.
    pub(super) fn set_devices(&self, count: usize) -> Released {
        self.change(|state| state.devices = count)
    }

    /// Records that the VM is gone. Pins stay parked until [`Self::empty`].
    pub(super) fn destroyed(&self, proof: Destroyed) {
        if proof.vm() == self.vm {
            self.state.lock().destroyed = Some(proof);
        }
    }

    /// Releases the parked pins and `mapped`, whose memory the hypervisor has not unmapped. Leaks
    /// those that the VM may still access, and returns their size in bytes as an error.
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
        match state.prove() {
            Some(proof) => self.release(&mut state, proof),
            None => Released::default(),
        }
    }

    fn release(&self, state: &mut State, proof: Unreachable) -> Released {
        state.count = 0;
        self.bytes.store(0, ordering::Relaxed);
        Released(Some((core::mem::take(&mut state.parked), proof)))
    }
}
