// SPDX-License-Identifier: GPL-2.0

//! Serves the I/O requests of all VMs, when the hypervisor says that there are some.
//!
//! The upcall serves them where it lands, within a [`Budget`] of each VM. What is beyond that stays PENDING,
//! which makes the guest wait, for a kernel thread that the scheduler treats as user space. On PREEMPT_RT,
//! where the locks of a VM sleep, a thread of FIFO priority does what the upcall does elsewhere.

mod budget;

use crate::{
    abstractions::{
        acrn_guest::Upcall,
        kthread::{
            KernelThread,
            Policy,
            Work, //
        },
        ratelimit::pr_err_ratelimited,
        sched::cond_resched, //
        tsc::Moment,
    },
    hypercall::VmId,
    ioreq::Server,
    vm::Vm,
};
use budget::Budget;
use kernel::{
    alloc::kvec::PushError,
    prelude::*,
    sync::{
        global_lock,
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

/// A VM, and what the upcall may spend on it.
struct Served {
    vm: Arc<Vm>,
    budget: Budget,
}

global_lock! {
    // SAFETY: `init` below runs before anything else that this module has.
    unsafe(uninit) static SERVED: SpinLockIrq<KVec<Served>> = KVec::new();
}

/// Prepares the list of VMs.
///
/// # Safety
///
/// Called once, before any other function of this module is.
pub(crate) unsafe fn init() {
    // SAFETY: By the contract of this function.
    unsafe { SERVED.init() };
}

/// Adds a VM, so that its requests are served. Process context.
pub(crate) fn add(vm: Arc<Vm>) -> Result {
    let mut new = Served {
        vm,
        budget: Budget::default(),
    };
    // Memory comes and goes without the lock.
    let mut room = KVec::new();
    loop {
        let mut served = SERVED.lock();
        match served.push_within_capacity(new) {
            Ok(()) => return Ok(()),
            Err(PushError(back)) => new = back,
        }
        if room.capacity() > served.len() {
            for old in served.drain_all() {
                // There is room.
                let _ = room.push_within_capacity(old);
            }
            core::mem::swap(&mut *served, &mut room);
            continue;
        }
        let wanted = served.len() + 1;
        drop(served);
        room.reserve(wanted, GFP_KERNEL_ACCOUNT)?;
    }
}

/// Takes a VM off. After this neither upcall nor thread uses it. Process context.
pub(crate) fn remove(vm: &Arc<Vm>) {
    let mut served = SERVED.lock();
    let index = served.iter().position(|entry| Arc::ptr_eq(&entry.vm, vm));
    let removed = index.and_then(|index| served.remove(index).ok());
    // The VM may go with this, without the lock.
    drop(served);
    drop(removed);
}

/// Takes all VMs off. Process context.
pub(crate) fn clear() {
    let served = core::mem::take(&mut *SERVED.lock());
    drop(served);
}

/// How many VMs there are.
pub(crate) fn count() -> usize {
    SERVED.lock().len()
}

/// The VM that comes after the one called `last`, or first, in the order of ids.
pub(crate) fn next(last: Option<VmId>) -> Option<Arc<Vm>> {
    next_of(&SERVED.lock(), last).cloned()
}

fn next_of(served: &[Served], last: Option<VmId>) -> Option<&Arc<Vm>> {
    let vms = served.iter().map(|entry| &entry.vm);
    vms.filter(|vm| last.is_none_or(|last| vm.id() > last))
        .min_by_key(|vm| vm.id())
}

/// The first VM for which `look` has something, which may not sleep, and what that is.
pub(crate) fn find<T>(mut look: impl FnMut(&Vm) -> Option<T>) -> Option<(Arc<Vm>, T)> {
    let served = SERVED.lock();
    let mut found = served
        .iter()
        .filter_map(|entry| Some((&entry.vm, look(&entry.vm)?)));
    found.next().map(|(vm, value)| (vm.clone(), value))
}

/// What the thread pauses after each pass. Without it a guest that asks for more than its share would have all that the
/// scheduler gives the thread, and interrupt others at that rate.
const PAUSE: Delta = Delta::from_micros(30);

/// Serves what is beyond the budget, and has the log know of requests that nobody takes.
struct Rest;

impl Work for Rest {
    const NAME: &'static CStr = c"acrn_ioreq_rest";

    fn run(&self) {
        let mut last = None;
        loop {
            // Held for one VM at a time, which is bounded. VMs come and go in between.
            let served = SERVED.lock();
            let Some(vm) = next_of(&served, last) else {
                drop(served);
                fsleep(PAUSE);
                return;
            };
            let id = vm.id();
            let pass = vm.requests().dispatch(Server::Thread, Moment::now());
            drop(served);
            if let Some(vcpu) = pass.left {
                pr_err_ratelimited!("VM {}: a request of vCPU {} waits for a client\n", id, vcpu);
            }
            last = Some(id);
            cond_resched();
        }
    }
}

/// Serves all VMs within their budgets. On one CPU at a time.
struct Prompt {
    rest: KernelThread<Rest>,
}

impl Prompt {
    /// One pass over the slots of each VM. Any context in which a `spinlock_t` may be taken.
    fn serve(&self) {
        let mut served = SERVED.lock();
        let vms = served.len();
        let mut is_done = true;
        for entry in served.iter_mut() {
            let requests = entry.vm.requests();
            if !requests.are_pending() {
                continue;
            }
            let now = Moment::now();
            if !entry.budget.allows(now) {
                is_done = false;
                continue;
            }
            let pass = requests.dispatch(Server::Upcall, now);
            entry.budget.pay(pass.cycles, vms);
            is_done &= pass.left.is_none();
        }
        drop(served);
        if !is_done {
            self.rest.wake();
        }
    }
}

/// Receives the upcall.
pub(crate) struct Dispatcher {
    #[cfg(not(CONFIG_PREEMPT_RT))]
    prompt: Prompt,
    #[cfg(CONFIG_PREEMPT_RT)]
    prompt: KernelThread<Prompt>,
}

impl Dispatcher {
    /// Makes the threads. Process context.
    pub(crate) fn new() -> Result<Self> {
        let prompt = Prompt {
            rest: KernelThread::start(Rest, Policy::Normal)?,
        };
        #[cfg(CONFIG_PREEMPT_RT)]
        let prompt = KernelThread::start(prompt, Policy::Fifo)?;
        Ok(Self { prompt })
    }
}

impl Upcall for Dispatcher {
    fn upcall(&self) {
        #[cfg(not(CONFIG_PREEMPT_RT))]
        self.prompt.serve();
        #[cfg(CONFIG_PREEMPT_RT)]
        self.prompt.wake();
    }
}

#[cfg(CONFIG_PREEMPT_RT)]
impl Work for Prompt {
    const NAME: &'static CStr = c"acrn_ioreq";

    fn run(&self) {
        self.serve();
    }
}
