// SPDX-License-Identifier: GPL-2.0

//! Dispatches the I/O requests of all VMs on an upcall.
//!
//! The upcall dispatches requests itself, within a [`Budget`] per VM. Requests beyond the budget
//! stay PENDING, which makes the guest wait, for the backlog thread, which is scheduled like user
//! space. On PREEMPT_RT, where the locks of a VM sleep, a thread of FIFO priority does the work of
//! the upcall.

mod budget;

use crate::{
    abstractions::{
        acrn_guest::Upcall,
        kthread::{
            KThread,
            Policy,
            Work, //
        },
        ratelimit::pr_err_ratelimited,
        sched::cond_resched,
        tsc::Tsc, //
    },
    hypercall::VmId,
    ioreq::{
        IoRequests,
        Pass, //
    },
    vm::Vm,
};
use budget::Budget;
use core::ops::DerefMut;
use kernel::{
    alloc::kvec::PushError,
    interrupt::LocalInterruptDisabled,
    prelude::*,
    sync::{
        new_mutex,
        new_spinlock_irq,
        Arc,
        Mutex,
        SpinLockIrq, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

/// A VM, and the budget that the upcall has for it.
struct ServedVm {
    vm: Arc<Vm>,
    budget: Budget,
}

/// The VMs whose requests are dispatched.
#[pin_data]
pub(crate) struct ServedVms {
    /// Held by the backlog thread while it uses a VM, which it does without `list`: the upcall
    /// would wait for it in hard-IRQ context, at the cost of VMs that are within their budgets.
    #[pin]
    backlog: Mutex<()>,
    #[pin]
    list: SpinLockIrq<KVec<ServedVm>>,
}

impl ServedVms {
    /// Creates an empty list.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                backlog <- new_mutex!((), "acrn_backlog"),
                list <- new_spinlock_irq!(KVec::new(), "acrn_served_vms"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a VM. Process context.
    pub(crate) fn add(&self, vm: Arc<Vm>) -> Result {
        let mut new = ServedVm {
            vm,
            budget: Budget::default(),
        };
        // Memory is allocated and freed without the lock.
        let mut room = KVec::new();
        loop {
            let mut list = self.list.lock();
            match list.push_within_capacity(new) {
                Ok(()) => return Ok(()),
                Err(PushError(back)) => new = back,
            }
            if room.capacity() > list.len() {
                for old in list.drain_all() {
                    // There is room.
                    let _ = room.push_within_capacity(old);
                }
                core::mem::swap(&mut *list, &mut room);
                continue;
            }
            let wanted = list.len() + 1;
            drop(list);
            room.reserve(wanted, GFP_KERNEL_ACCOUNT)?;
        }
    }

    /// Removes a VM. Neither the upcall nor a thread uses it any more once this returns. Process
    /// context.
    pub(crate) fn remove(&self, vm: &Arc<Vm>) {
        let mut list = self.list.lock();
        let index = list.iter().position(|served| Arc::ptr_eq(&served.vm, vm));
        let removed = index.and_then(|index| list.remove(index).ok());
        drop(list);
        // Waits for the backlog thread, which may use the VM.
        drop(self.backlog.lock());
        // This may drop the VM, which must not be done with a lock held.
        drop(removed);
    }
}

/// Returns the VM that follows the VM `last`, or the first one, in the order of ids.
fn next(list: &[ServedVm], last: Option<VmId>) -> Option<&Arc<Vm>> {
    let vms = list.iter().map(|served| &served.vm);
    vms.filter(|vm| last.is_none_or(|last| vm.id() > last))
        .min_by_key(|vm| vm.id())
}

/// The pause of the backlog thread after each pass. Without it, a guest that exceeds its budget
/// would use all the CPU time that the scheduler grants to the thread, and send upcalls all the
/// while.
const PAUSE: Delta = Delta::from_micros(30);

/// Dispatches requests beyond the budget, and logs requests without a handler.
struct Backlog {
    served: Arc<ServedVms>,
}

impl Work for Backlog {
    const NAME: &'static CStr = c"acrn_ioreq_rest";

    fn run(&self) {
        let mut last = None;
        loop {
            // Held for one VM at a time. VMs may come and go in between.
            let backlog = self.served.backlog.lock();
            let vm = next(&self.served.list.lock(), last).cloned();
            let Some(vm) = vm else {
                drop(backlog);
                fsleep(PAUSE);
                return;
            };
            let id = vm.id();
            let pass = vm.requests().dispatch_in_backlog_thread(Tsc::now());
            // Not the last reference: `ServedVms::remove` drops its own after this.
            drop(vm);
            drop(backlog);
            if let Some(vcpu) = pass.unhandled {
                pr_err_ratelimited!("VM {}: request of vCPU {} waits for a client\n", id, vcpu);
            }
            last = Some(id);
            cond_resched();
        }
    }
}

/// Dispatches requests within the budgets. On one CPU at a time.
struct UpcallWork {
    served: Arc<ServedVms>,
    backlog: KThread<Backlog>,
}

impl UpcallWork {
    /// Makes one pass over the slots of each VM with pending requests, by `dispatch`.
    fn run(
        &self,
        mut list: impl DerefMut<Target = KVec<ServedVm>>,
        dispatch: impl Fn(&IoRequests, Tsc) -> Pass,
    ) {
        let vms = list.len();
        let mut is_done = true;
        for served in list.iter_mut() {
            let requests = served.vm.requests();
            if !requests.are_pending() {
                continue;
            }
            let now = Tsc::now();
            if !served.budget.allows(now) {
                is_done = false;
                continue;
            }
            let pass = dispatch(requests, now);
            served.budget.charge(pass.cycles, vms);
            is_done &= pass.unhandled.is_none();
        }
        drop(list);
        if !is_done {
            self.backlog.wake();
        }
    }
}

/// The handler of the upcall.
pub(crate) struct Dispatcher {
    #[cfg(not(CONFIG_PREEMPT_RT))]
    upcall_work: UpcallWork,
    #[cfg(CONFIG_PREEMPT_RT)]
    upcall_work: KThread<UpcallWork>,
}

impl Dispatcher {
    /// Starts the threads. Process context.
    pub(crate) fn new(served: Arc<ServedVms>) -> Result<Self> {
        let backlog = Backlog {
            served: served.clone(),
        };
        let upcall_work = UpcallWork {
            served,
            backlog: KThread::start(backlog, Policy::Normal)?,
        };
        #[cfg(CONFIG_PREEMPT_RT)]
        let upcall_work = KThread::start(upcall_work, Policy::Fifo)?;
        Ok(Self { upcall_work })
    }
}

#[cfg(not(CONFIG_PREEMPT_RT))]
impl Upcall for Dispatcher {
    fn upcall(&self, irq: &LocalInterruptDisabled) {
        let list = self.upcall_work.served.list.lock_with(irq);
        self.upcall_work
            .run(list, |requests, now| requests.dispatch_in_upcall(irq, now));
    }
}

#[cfg(CONFIG_PREEMPT_RT)]
impl Upcall for Dispatcher {
    fn upcall(&self, _irq: &LocalInterruptDisabled) {
        self.upcall_work.wake();
    }
}

#[cfg(CONFIG_PREEMPT_RT)]
impl Work for UpcallWork {
    const NAME: &'static CStr = c"acrn_ioreq";

    fn run(&self) {
        let list = self.served.list.lock();
        UpcallWork::run(self, list, IoRequests::dispatch_in_upcall_thread);
    }
}
