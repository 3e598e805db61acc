// SPDX-License-Identifier: GPL-2.0

//! I/O requests: accesses of a User VM that the Service VM must complete.
//!
//! The hypervisor writes a request to the vCPU's slot of the VM's [`RequestPage`], makes it PENDING
//! and sends an upcall. The dispatcher then finds a handler: the driver itself handles accesses to
//! PCI configuration ports and writes that signal an ioeventfd, and gives all other requests to the
//! device model. A request without a handler stays PENDING until a client is created.

pub(crate) mod access;
mod client;
pub(crate) mod ioeventfd_table;
mod pci_config;
mod request_page;
mod slot;
mod vcpu;

pub(crate) use client::Client;
pub(crate) use request_page::RequestPage;
pub(crate) use vcpu::{
    VcpuCount,
    VcpuId, //
};

use crate::{
    abstractions::{
        eventfd::EventFd,
        tracepoints::{
            acrn_ioreq_dispatch,
            acrn_ioreq_finish,
            Handler, //
        },
        tsc::{
            self,
            Tsc, //
        },
    },
    hypercall::{
        self,
        Destroyed,
        VmId, //
    },
};
use access::{
    Access,
    Direction,
    Space, //
};
use ioeventfd_table::Table;
use kernel::{
    interrupt::LocalInterruptDisabled,
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
    ConfigAccess, //
};
use slot::{
    Completed,
    Slot, //
};

/// The ioeventfds of a VM, as the dispatcher uses them.
pub(crate) type IoEventFdTable = Table<Arc<EventFd>>;

/// Whether requests are dispatched.
#[derive(PartialEq, Eq)]
enum Dispatch {
    On,
    /// The VM is being reset or destroyed.
    Off,
    /// The VM is destroyed.
    Ended,
}

/// Whether the driver notifies the hypervisor of completions (NOTIFY_REQUEST_FINISH).
///
/// ACRN resumes a vCPU on a notification even if its VM is paused, and crashes on a RESET_VM or
/// DESTROY_VM of such a VM. So there are no notifications between PAUSE_VM and RESET_VM. None is
/// needed: RESET_VM makes the hypervisor forget its requests.
#[derive(Clone, Copy)]
enum Notification {
    On,
    /// PAUSE_VM, RESET_VM or DESTROY_VM is in progress, or START_VM of a VM that may be paused.
    /// Notifications are held back, and sent if the VM is not paused afterwards.
    Held(Owed),
    /// The VM is paused or gone.
    Off,
}

impl Notification {
    /// Returns the notifications that are held back.
    fn owed(self) -> Owed {
        match self {
            Self::Held(owed) => owed,
            Self::On | Self::Off => Owed::default(),
        }
    }
}

/// The vCPUs for which a notification is held back, by [`VcpuId::bit`].
#[derive(Clone, Copy, Default)]
struct Owed(u32);

struct State {
    client: Option<Arc<Client>>,
    pci_address: AddressRegister,
    dispatch: Dispatch,
    notification: Notification,
    ioeventfds: IoEventFdTable,
    counts: Counts,
}

/// The number of requests so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Handled by the device model.
    pub(crate) device_model: u64,
    /// Handled by an ioeventfd.
    pub(crate) ioeventfd: u64,
    /// Handled by the PCI configuration ports.
    pub(crate) pci_config: u64,
    /// Dispatched by the upcall.
    pub(crate) upcall: Work,
    /// Dispatched by the backlog thread.
    pub(crate) thread: Work,
}

impl Counts {
    fn total(&self) -> u64 {
        self.device_model
            .wrapping_add(self.ioeventfd)
            .wrapping_add(self.pci_config)
    }
}

/// The requests that one context has dispatched.
#[derive(Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) requests: u64,
    cycles: u64,
}

impl Work {
    /// Returns the time that the work took.
    pub(crate) fn nanoseconds(&self) -> u64 {
        let whole = self.cycles / tsc::cycles_per_ms();
        let rest = self.cycles % tsc::cycles_per_ms();
        whole
            .saturating_mul(1_000_000)
            .saturating_add(rest * 1_000_000 / tsc::cycles_per_ms())
    }
}

/// A pass over the slots of a VM.
pub(crate) struct Pass {
    /// The cycles that the pass took.
    pub(crate) cycles: u64,
    /// A vCPU whose request has no handler, if there is one.
    pub(crate) unhandled: Option<VcpuId>,
}

/// The I/O requests of a VM.
#[pin_data]
pub(crate) struct IoRequests {
    vm: VmId,
    vcpus: VcpuCount,
    page: RequestPage,
    /// Taken by the upcall. Serialises all changes of slots by the kernel.
    #[pin]
    state: SpinLockIrq<State>,
}

impl IoRequests {
    /// Returns an initialiser for the requests of `vm`.
    pub(crate) fn new(vm: VmId, vcpus: VcpuCount, page: RequestPage) -> impl PinInit<Self> {
        pin_init!(Self {
            vm,
            vcpus,
            page,
            state <- new_spinlock_irq!(
                State {
                    client: None,
                    pci_address: AddressRegister::from(0),
                    dispatch: Dispatch::On,
                    notification: Notification::On,
                    ioeventfds: IoEventFdTable::default(),
                    counts: Counts::default(),
                },
                "acrn_ioreq"
            ),
        })
    }

    /// Tells the hypervisor to write requests to the page.
    pub(crate) fn set_page(&self) -> Result {
        hypercall::set_ioreq_buffer(self.vm, self.page.shared())
    }

    /// Returns whether a request is pending. Any context.
    pub(crate) fn are_pending(&self) -> bool {
        self.vcpus
            .ids()
            .any(|vcpu| self.page.slot(vcpu).is_pending())
    }

    /// Dispatches all pending requests in one pass over the slots, which began at `begin`. Hard-IRQ
    /// context, unless the kernel is PREEMPT_RT.
    #[cfg_attr(CONFIG_PREEMPT_RT, expect(dead_code))]
    pub(crate) fn dispatch_in_upcall(&self, irq: &LocalInterruptDisabled, begin: Tsc) -> Pass {
        let state = &mut *self.state.lock_with(irq);
        self.pass(state, begin, |counts| &mut counts.upcall)
    }

    /// Dispatches all pending requests as [`Self::dispatch_in_upcall`] does, in the thread that
    /// does the upcall's work on PREEMPT_RT.
    #[cfg_attr(not(CONFIG_PREEMPT_RT), expect(dead_code))]
    pub(crate) fn dispatch_in_upcall_thread(&self, begin: Tsc) -> Pass {
        self.pass(&mut self.state.lock(), begin, |counts| &mut counts.upcall)
    }

    /// Dispatches all pending requests in the backlog thread.
    pub(crate) fn dispatch_in_backlog_thread(&self, begin: Tsc) -> Pass {
        self.pass(&mut self.state.lock(), begin, |counts| &mut counts.thread)
    }

    fn pass(
        &self,
        state: &mut State,
        begin: Tsc,
        work: impl FnOnce(&mut Counts) -> &mut Work,
    ) -> Pass {
        let before = state.counts.total();
        let unhandled = self.scan(state);
        let requests = state.counts.total().wrapping_sub(before);
        let cycles = Tsc::now().since(begin);
        let work = work(&mut state.counts);
        work.requests = work.requests.wrapping_add(requests);
        work.cycles = work.cycles.wrapping_add(cycles);
        Pass { cycles, unhandled }
    }

    /// Returns a vCPU whose request has no handler, if there is one.
    fn scan(&self, state: &mut State) -> Option<VcpuId> {
        if state.dispatch != Dispatch::On {
            return None;
        }
        let mut unhandled = None;
        for vcpu in self.vcpus.ids() {
            let slot = self.page.slot(vcpu);
            if slot.is_pending() && !self.dispatch_slot(slot, state) {
                unhandled = Some(vcpu);
            }
        }
        unhandled
    }

    /// Returns whether the request has a handler.
    fn dispatch_slot(&self, slot: Slot<'_>, state: &mut State) -> bool {
        let mut config = None;
        let access = slot.access();
        if let Some(access) = &access {
            match state.pci_address.access(access) {
                ConfigAccess::Done(value) => {
                    state.counts.pci_config += 1;
                    self.trace(slot, Handler::PciConfig, Some(access));
                    self.notify(state, slot.complete_pending(access, value));
                    return true;
                }
                ConfigAccess::Config(address) => config = Some(address),
                ConfigAccess::Other if state.ioeventfds.handle(access) => {
                    state.counts.ioeventfd += 1;
                    self.trace(slot, Handler::IoEventFd, Some(access));
                    self.notify(state, slot.complete_pending(access, 0));
                    return true;
                }
                ConfigAccess::Other => {}
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
            self.trace(slot, Handler::DeviceModel, access.as_ref());
            client.assign(slot.vcpu());
        }
        true
    }

    fn trace(&self, slot: Slot<'_>, handler: Handler, access: Option<&Access>) {
        let (port, write, address, size) = access.map_or((false, false, 0, 0), |access| {
            let port = access.space == Space::Port;
            let write = access.direction != Direction::Read;
            (port, write, access.address, access.size)
        });
        let (vm, vcpu) = (self.vm.into(), slot.vcpu().into());
        acrn_ioreq_dispatch(vm, vcpu, handler as u32, port, write, address, size);
    }

    /// Notifies the hypervisor of a completion, unless it polls or must not be notified.
    fn notify(&self, state: &mut State, completed: Option<Completed>) {
        if let Some(Completed::Notify(vcpu)) = completed {
            // Fails only for a VM or vCPU that does not exist, which waits for nothing.
            let _ = self.notify_vcpu(state, vcpu);
        }
    }

    /// Notifies the hypervisor that the request of `vcpu` is COMPLETE. Fails as the hypercall does.
    /// Under the lock, so that no notification is in progress when [`Notification`] changes.
    fn notify_vcpu(&self, state: &mut State, vcpu: VcpuId) -> Result {
        match &mut state.notification {
            Notification::On => hypercall::notify_request_finish(self.vm, u16::from(vcpu).into()),
            Notification::Held(owed) => {
                owed.0 |= vcpu.bit();
                Ok(())
            }
            Notification::Off => Ok(()),
        }
    }

    /// Swaps the table of ioeventfds for another one, and dispatches requests again. Process
    /// context.
    pub(crate) fn swap_ioeventfds(&self, table: &mut IoEventFdTable) {
        let mut state = self.state.lock();
        core::mem::swap(&mut state.ioeventfds, table);
        self.scan(&mut state);
    }

    /// Returns the number of requests so far.
    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Returns whether the device model is a client.
    pub(crate) fn has_client(&self) -> bool {
        self.state.lock().client.is_some()
    }

    /// Returns the number of vCPUs.
    pub(crate) fn vcpus(&self) -> VcpuCount {
        self.vcpus
    }

    /// Makes the device model a client (CREATE_IOREQ_CLIENT), and gives it the requests that are
    /// pending. Process context.
    ///
    /// Fails with `EEXIST` if it is a client, and with `ENODEV` if the VM is destroyed: nothing
    /// would end the wait of the client.
    pub(crate) fn create_client(&self) -> Result {
        let client = Client::new()?;
        let mut state = self.state.lock();
        if state.dispatch == Dispatch::Ended {
            return Err(ENODEV);
        }
        if state.client.is_some() {
            return Err(EEXIST);
        }
        state.client = Some(client);
        self.scan(&mut state);
        Ok(())
    }

    /// Returns the client, for waiting (ATTACH_IOREQ_CLIENT).
    ///
    /// Fails with `ENODEV` if there is none.
    pub(crate) fn client(&self) -> Result<Arc<Client>> {
        self.state.lock().client.clone().ok_or(ENODEV)
    }

    /// Destroys the client, if there is one (DESTROY_IOREQ_CLIENT). Threads that wait for requests
    /// return `ENODEV`, and the requests are completed as if no device existed.
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

    /// Completes the request of `vcpu`, which the device model has answered
    /// (NOTIFY_REQUEST_FINISH).
    ///
    /// Fails with `EINVAL` if there is no such vCPU, or if the device model does not have its
    /// request. Does nothing without a client: a device model that shuts down may be late.
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

    /// Completes all requests as if no device existed (CLEAR_VM_IOREQ).
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

    /// Runs `pause`. If it succeeds, the hypervisor is not notified of completions until the VM is
    /// reset. Requests are dispatched, and completed in memory, all the time.
    pub(crate) fn pause_with<T>(&self, pause: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, mut state) = self.hold_notifications(Dispatch::On, pause);
        if result.is_ok() {
            state.notification = Notification::Off;
        }
        result
    }

    /// Runs `reset`. If it succeeds, the hypervisor has made all slots FREE, and is notified of the
    /// completions of requests that it makes afterwards. Nothing is dispatched meanwhile.
    pub(crate) fn reset_with<T>(&self, reset: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, mut state) = self.hold_notifications(Dispatch::Off, reset);
        if result.is_ok() {
            // The hypervisor has forgotten the requests whose notifications were held back.
            self.begin_anew(&mut state, Owed::default());
        }
        result
    }

    /// Runs `start`. If it succeeds, the VM was reset before, even if RESET_VM reported an error.
    pub(crate) fn start_with<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_stopped = matches!(self.state.lock().notification, Notification::Off);
        if !is_stopped {
            return start();
        }
        let (result, mut state) = self.hold_notifications(Dispatch::Off, start);
        if result.is_ok() {
            // The VM may have made requests before `start` returned.
            let owed = state.notification.owed();
            self.begin_anew(&mut state, owed);
        }
        result
    }

    /// Dispatches requests and notifies the hypervisor from now on, after a reset of the VM. `owed`
    /// are the notifications that were held back since the reset.
    fn begin_anew(&self, state: &mut State, owed: Owed) {
        state.pci_address = AddressRegister::from(0);
        if let Some(client) = &state.client {
            client.take_all(self.vcpus).for_each(drop);
        }
        state.notification = Notification::On;
        self.notify_owed(state, owed);
        state.dispatch = Dispatch::On;
        self.scan(state);
    }

    /// Runs `destroy`, after which the hypervisor may give the VM's id to another VM. Nothing is
    /// dispatched meanwhile. If `destroy` succeeds, nothing is dispatched afterwards either, and
    /// threads that wait for requests return `ENODEV`.
    pub(crate) fn destroy_with(
        &self,
        destroy: impl FnOnce() -> Result<Destroyed>,
    ) -> Result<Destroyed> {
        let (result, mut state) = self.hold_notifications(Dispatch::Off, destroy);
        if let Ok(proof) = &result {
            if proof.vm() == self.vm {
                // SAFETY: The proof is about this VM.
                unsafe { self.page.shared().take_back(proof) };
            }
            state.notification = Notification::Off;
            state.dispatch = Dispatch::Ended;
            let client = state.client.take();
            drop(state);
            if let Some(client) = client {
                client.close();
            }
        }
        result
    }

    /// Runs `change` while notifications are held back. `dispatch` says whether requests are
    /// dispatched meanwhile.
    ///
    /// If `change` fails, both are as before, and the notifications that were held back are sent.
    /// The caller's lock serialises changes.
    fn hold_notifications<T>(
        &self,
        dispatch: Dispatch,
        change: impl FnOnce() -> Result<T>,
    ) -> (Result<T>, SpinLockIrqGuard<'_, State>) {
        let mut state = self.state.lock();
        let held = Notification::Held(Owed::default());
        let before = core::mem::replace(&mut state.notification, held);
        state.dispatch = dispatch;
        drop(state);
        let result = change();
        let mut state = self.state.lock();
        if result.is_err() {
            let owed = state.notification.owed();
            state.notification = before;
            self.notify_owed(&mut state, owed);
            state.dispatch = Dispatch::On;
            self.scan(&mut state);
        }
        (result, state)
    }

    /// Makes notifications that were held back, unless the VM is paused or gone.
    fn notify_owed(&self, state: &mut State, owed: Owed) {
        for vcpu in self.vcpus.ids() {
            if owed.0 & vcpu.bit() != 0 {
                self.notify(state, Some(Completed::Notify(vcpu)));
            }
        }
    }
}
