// SPDX-License-Identifier: GPL-2.0

//! I/O requests: what a User VM does that somebody in the Service VM must answer.
//!
//! The hypervisor writes a request into the vCPU's slot of the VM's [`RequestPage`], makes it
//! PENDING and sends an upcall. The dispatcher then takes it: accesses to PCI configuration ports are folded,
//! writes that an ioeventfd is for signal it, the rest is handed to the device model. A request that nobody
//! can take stays PENDING, and is looked at again when a client comes.

mod client;
mod pci_config;
mod request_page;

pub(crate) use client::Client;
pub(crate) use request_page::{
    Access,
    Direction,
    RequestPage,
    Space,
    VcpuCount, //
};

use crate::{
    abstractions::{
        tracepoints::{
            acrn_ioreq_dispatch,
            acrn_ioreq_finish,
            Taker, //
        },
        tsc::{
            self,
            Moment, //
        },
    },
    hypercall::{
        self,
        Destroyed,
        VmId, //
    },
    ioeventfd, //
};
use kernel::{
    prelude::*,
    sync::{
        new_spinlock_irq,
        Arc,
        SpinLockIrq,
        SpinLockIrqGuard, //
    },
};
use pci_config::{
    AddressRegister,
    Meaning, //
};
use request_page::{
    Completed,
    Slot,
    VcpuId, //
};

/// Whether requests are dispatched.
#[derive(PartialEq, Eq)]
enum Dispatch {
    On,
    /// The VM is being reset, or is destroyed.
    Off,
}

/// Whether the hypervisor is told of completions (NOTIFY_REQUEST_FINISH).
///
/// ACRN lets the vCPU run on for it even if its VM is paused, and does not survive a RESET_VM or
/// DESTROY_VM of such a VM. So it is not told between PAUSE_VM and RESET_VM, which needs no word: the
/// hypervisor forgets the request.
#[derive(Clone, Copy)]
enum Notification {
    On,
    /// PAUSE_VM, RESET_VM or DESTROY_VM is under way: what it owes is sent if that fails.
    Undecided(Owed),
    /// The VM is paused or gone.
    Off,
}

/// vCPUs whose completion the hypervisor was not told of yet, by [`VcpuId::bit`].
#[derive(Clone, Copy, Default)]
struct Owed(u32);

struct State {
    client: Option<Arc<Client>>,
    pci_address: AddressRegister,
    dispatch: Dispatch,
    notification: Notification,
    ioeventfds: ioeventfd::Table,
    counts: Counts,
}

/// How many requests there were.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Taken by the device model.
    pub(crate) device_model: u64,
    /// Taken by an ioeventfd.
    pub(crate) ioeventfd: u64,
    /// Taken by the PCI configuration ports.
    pub(crate) pci_config: u64,
    /// Served by the upcall.
    pub(crate) upcall: Work,
    /// Served by the thread that does the rest.
    pub(crate) thread: Work,
}

impl Counts {
    fn taken(&self) -> u64 {
        self.device_model
            .wrapping_add(self.ioeventfd)
            .wrapping_add(self.pci_config)
    }
}

/// What one [`Server`] has done.
#[derive(Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) requests: u64,
    cycles: u64,
}

impl Work {
    /// What it took.
    pub(crate) fn nanoseconds(&self) -> u64 {
        let whole = self.cycles / tsc::per_millisecond();
        let rest = self.cycles % tsc::per_millisecond();
        whole
            .saturating_mul(1_000_000)
            .saturating_add(rest * 1_000_000 / tsc::per_millisecond())
    }
}

/// By whom requests are served.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    /// The upcall, or the thread that does its work on PREEMPT_RT.
    Upcall,
    /// The thread that does the rest.
    Thread,
}

/// One pass over the slots of a VM.
pub(crate) struct Pass {
    /// What it took.
    pub(crate) cycles: u64,
    /// A vCPU whose request nobody can take.
    pub(crate) left: Option<VcpuId>,
}

/// The I/O requests of one VM.
#[pin_data]
pub(crate) struct IoRequests {
    vm: VmId,
    vcpus: VcpuCount,
    page: RequestPage,
    /// Taken by the upcall. Serialises all changes of slots that the kernel makes.
    #[pin]
    state: SpinLockIrq<State>,
}

impl IoRequests {
    /// Makes an initialiser for the requests of `vm`.
    pub(crate) fn new(vm: VmId, vcpus: VcpuCount, page: RequestPage) -> impl PinInit<Self> {
        pin_init!(Self {
            vm,
            vcpus,
            page,
            state <- new_spinlock_irq!(
                State {
                    client: None,
                    pci_address: AddressRegister::default(),
                    dispatch: Dispatch::On,
                    notification: Notification::On,
                    ioeventfds: ioeventfd::Table::default(),
                    counts: Counts::default(),
                },
                "acrn_ioreq"
            ),
        })
    }

    /// Has the hypervisor put requests into the page from now on.
    pub(crate) fn set_page(&self) -> Result {
        hypercall::set_ioreq_buffer(self.vm, self.page.shared())
    }

    /// Whether there is something to dispatch. Any context.
    pub(crate) fn are_pending(&self) -> bool {
        self.vcpus
            .ids()
            .any(|vcpu| self.page.slot(vcpu).is_pending())
    }

    /// Takes every pending request, in one pass over the slots that `begun` just now. Any context in which a
    /// `spinlock_t` may be taken.
    pub(crate) fn dispatch(&self, server: Server, begun: Moment) -> Pass {
        let mut state = self.state.lock();
        let before = state.counts.taken();
        let left = self.scan(&mut state);
        let requests = state.counts.taken().wrapping_sub(before);
        let cycles = Moment::now().since(begun);
        let work = match server {
            Server::Upcall => &mut state.counts.upcall,
            Server::Thread => &mut state.counts.thread,
        };
        work.requests = work.requests.wrapping_add(requests);
        work.cycles = work.cycles.wrapping_add(cycles);
        Pass { cycles, left }
    }

    /// Returns a vCPU whose request nobody can take.
    fn scan(&self, state: &mut State) -> Option<VcpuId> {
        if state.dispatch == Dispatch::Off {
            return None;
        }
        let mut left = None;
        for vcpu in self.vcpus.ids() {
            let slot = self.page.slot(vcpu);
            if slot.is_pending() && !self.dispatch_slot(slot, state) {
                left = Some(vcpu);
            }
        }
        left
    }

    /// Returns whether there is somebody who can take the request.
    fn dispatch_slot(&self, slot: Slot<'_>, state: &mut State) -> bool {
        let mut config = None;
        let access = slot.access();
        if let Some(access) = &access {
            match state.pci_address.access(access) {
                Meaning::Done(value) => {
                    state.counts.pci_config += 1;
                    self.trace(slot, Taker::PciConfig, Some(access));
                    self.notify(state, slot.complete_pending(access, value));
                    return true;
                }
                Meaning::Config(address) => config = Some(address),
                Meaning::Other if state.ioeventfds.handle(access) => {
                    state.counts.ioeventfd += 1;
                    self.trace(slot, Taker::IoEventFd, Some(access));
                    self.notify(state, slot.complete_pending(access, 0));
                    return true;
                }
                Meaning::Other => {}
            }
        }

        let Some(client) = &state.client else {
            return false;
        };
        if let Some(address) = config {
            slot.set_pci_config(address);
        }
        if slot.hand_to_device_model() {
            state.counts.device_model += 1;
            self.trace(slot, Taker::DeviceModel, access.as_ref());
            client.assign(slot.vcpu());
        }
        true
    }

    fn trace(&self, slot: Slot<'_>, taker: Taker, access: Option<&Access>) {
        let (port, write, address, size) = access.map_or((false, false, 0, 0), |access| {
            let port = access.space == Space::Port;
            let write = access.direction != Direction::Read;
            (port, write, access.address, access.size)
        });
        let (vm, vcpu) = (self.vm.into(), slot.vcpu().into());
        acrn_ioreq_dispatch(vm, vcpu, taker as u32, port, write, address, size);
    }

    /// Tells the hypervisor about a completion, if it waits for the word and may have it.
    fn notify(&self, state: &mut State, completed: Option<Completed>) {
        if let Some(Completed::Notify(vcpu)) = completed {
            // It can only fail for a VM or vCPU that is not there, and then nothing waits.
            let _ = self.notify_vcpu(state, vcpu);
        }
    }

    /// The same for a request that is COMPLETE; fails as the hypercall. Under the lock, so that no
    /// notification is on its way when [`Notification`] changes.
    fn notify_vcpu(&self, state: &mut State, vcpu: VcpuId) -> Result {
        match &mut state.notification {
            Notification::On => hypercall::notify_request_finish(self.vm, u16::from(vcpu).into()),
            Notification::Undecided(owed) => {
                owed.0 |= vcpu.bit();
                Ok(())
            }
            Notification::Off => Ok(()),
        }
    }

    /// Puts another table of ioeventfds into service, in exchange for the one before. Process
    /// context.
    pub(crate) fn swap_ioeventfds(&self, table: &mut ioeventfd::Table) {
        let mut state = self.state.lock();
        core::mem::swap(&mut state.ioeventfds, table);
        self.scan(&mut state);
    }

    /// How many requests there were.
    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Whether the device model is a client.
    pub(crate) fn has_client(&self) -> bool {
        self.state.lock().client.is_some()
    }

    /// How many vCPUs the VM has.
    pub(crate) fn vcpus(&self) -> VcpuCount {
        self.vcpus
    }

    /// Makes the device model a client (CREATE_IOREQ_CLIENT), and gives it what is already pending.
    ///
    /// `EEXIST` if it is one. Process context.
    pub(crate) fn create_client(&self) -> Result {
        let client = Client::new()?;
        let mut state = self.state.lock();
        if state.client.is_some() {
            return Err(EEXIST);
        }
        state.client = Some(client);
        self.scan(&mut state);
        Ok(())
    }

    /// The client, for waiting on it (ATTACH_IOREQ_CLIENT); `ENODEV` if there is none.
    pub(crate) fn client(&self) -> Result<Arc<Client>> {
        self.state.lock().client.clone().ok_or(ENODEV)
    }

    /// Ends the client (DESTROY_IOREQ_CLIENT): who waits on it gets `ENODEV`, and what it had not
    /// finished is answered as if no device were there. Without a client it does nothing.
    pub(crate) fn destroy_client(&self) {
        let mut state = self.state.lock();
        let Some(client) = state.client.take() else {
            return;
        };
        for vcpu in client.take_all(self.vcpus) {
            self.notify(&mut state, self.page.slot(vcpu).abandon());
        }
        drop(state);
        client.close();
    }

    /// The device model answered the request of `vcpu` (NOTIFY_REQUEST_FINISH).
    ///
    /// `EINVAL` if there is no such vCPU, or its request is not with the device model. Without a
    /// client it does nothing: a device model that shuts down may be late.
    pub(crate) fn finish(&self, vcpu: u32) -> Result {
        let vcpu = self.vcpus.id(vcpu).ok_or(EINVAL)?;
        let mut state = self.state.lock();
        let Some(client) = &state.client else {
            return Ok(());
        };
        if !client.take(vcpu) {
            return Err(EINVAL);
        }
        acrn_ioreq_finish(self.vm.into(), vcpu.into());
        match self.page.slot(vcpu).complete_processing() {
            Some(Completed::Notify(vcpu)) => self.notify_vcpu(&mut state, vcpu),
            Some(Completed::Polled) => Ok(()),
            None => Err(EINVAL),
        }
    }

    /// Answers all requests as if no device were there (CLEAR_VM_IOREQ).
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        for vcpu in self.vcpus.ids() {
            let slot = self.page.slot(vcpu);
            let assigned = match &state.client {
                Some(client) => client.take(vcpu),
                None => false,
            };
            if assigned || slot.is_pending() {
                self.notify(&mut state, slot.abandon());
            }
        }
    }

    /// Runs `pause`. After success the hypervisor is told of no completion until the VM is reset;
    /// requests are dispatched and completed in memory all along.
    pub(crate) fn pause_with<T>(&self, pause: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, mut state) = self.undecided(Dispatch::On, pause);
        if result.is_ok() {
            state.notification = Notification::Off;
        }
        result
    }

    /// Runs `reset`, after which the hypervisor has all slots FREE, with dispatch held off.
    pub(crate) fn reset_with<T>(&self, reset: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, mut state) = self.undecided(Dispatch::Off, reset);
        if result.is_ok() {
            state.pci_address = AddressRegister::default();
            if let Some(client) = &state.client {
                client.take_all(self.vcpus).for_each(drop);
            }
            state.notification = Notification::On;
            state.dispatch = Dispatch::On;
        }
        result
    }

    /// Runs `destroy`, after which the hypervisor may give the VM's id to another, with dispatch held
    /// off for good. Waiting for requests then fails with `ENODEV`.
    pub(crate) fn end_with(
        &self,
        destroy: impl FnOnce() -> Result<Destroyed>,
    ) -> Result<Destroyed> {
        let (result, mut state) = self.undecided(Dispatch::Off, destroy);
        if let Ok(proof) = &result {
            self.page.shared().take_back(proof);
            state.notification = Notification::Off;
            let client = state.client.take();
            drop(state);
            if let Some(client) = client {
                client.close();
            }
        }
        result
    }

    /// Runs `change` with `dispatch`, while what is completed stays owed. If it fails, all goes on where
    /// it was, and what is owed is sent. Changes are serialised by the caller's lock.
    fn undecided<T>(
        &self,
        dispatch: Dispatch,
        change: impl FnOnce() -> Result<T>,
    ) -> (Result<T>, SpinLockIrqGuard<'_, State>) {
        let mut state = self.state.lock();
        let before = state.notification;
        if let Notification::On = before {
            state.notification = Notification::Undecided(Owed::default());
        }
        state.dispatch = dispatch;
        drop(state);
        let result = change();
        let mut state = self.state.lock();
        if result.is_err() {
            let owed = match state.notification {
                Notification::Undecided(owed) => owed,
                Notification::On | Notification::Off => Owed::default(),
            };
            state.notification = before;
            for vcpu in self.vcpus.ids() {
                if owed.0 & vcpu.bit() != 0 {
                    self.notify(&mut state, Some(Completed::Notify(vcpu)));
                }
            }
            state.dispatch = Dispatch::On;
            self.scan(&mut state);
        }
        (result, state)
    }
}
