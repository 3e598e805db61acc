// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that do their work each time they are woken.
//!
//! [`kernel::workqueue`] has no workers of FIFO priority, and on PREEMPT_RT hard-IRQ context may
//! not queue work.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::{
    bindings as own,
    swait_queue::{
        new_swait_queue,
        SwaitQueue, //
    },
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::from_err_ptr,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc, //
    },
};

/// The work of a thread.
pub(crate) trait Work: Send + Sync + 'static {
    /// The thread's name, of at most 15 characters.
    const NAME: &'static CStr;

    /// Does the work. Called in the thread, at least once after each [`KThread::wake`]. Process
    /// context.
    fn run(&self);
}

/// The initial scheduling policy of a thread. User space may change it (`chrt`).
pub(crate) enum Policy {
    /// `SCHED_OTHER`, as for user space.
    Normal,
    /// `SCHED_FIFO`, as for interrupt threads on PREEMPT_RT.
    #[cfg_attr(not(CONFIG_PREEMPT_RT), expect(dead_code))]
    Fifo,
}

#[pin_data]
struct Shared<W: Work> {
    work: W,
    woken: Atomic<bool>,
    #[pin]
    wait_queue: SwaitQueue,
}

/// A kernel thread. Dropping it waits for work in progress and ends the thread. Process context.
///
/// # Examples
///
/// ```
/// use crate::abstractions::kthread::{KThread, Policy, Work};
/// use kernel::sync::{Arc, Completion};
///
/// struct Complete(Arc<Completion>);
///
/// impl Work for Complete {
///     const NAME: &'static CStr = c"acrn_example";
///
///     fn run(&self) {
///         self.0.complete_all();
///     }
/// }
///
/// let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
/// let thread = KThread::start(Complete(done.clone()), Policy::Normal)?;
/// thread.wake();
/// done.wait_for_completion();
/// ```
///
/// # Invariants
///
/// `task` is a thread that runs [`Self::main`] on `shared`, and only `drop` stops it.
pub(crate) struct KThread<W: Work> {
    task: NonNull<c_void>,
    shared: Arc<Shared<W>>,
}

// SAFETY: The task may be woken and stopped by any thread; the rest is `Send` and `Sync`.
unsafe impl<W: Work> Send for KThread<W> {}
// SAFETY: As above.
unsafe impl<W: Work> Sync for KThread<W> {}

impl<W: Work> KThread<W> {
    /// Starts a thread. Process context.
    pub(crate) fn start(work: W, policy: Policy) -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared {
                work,
                woken: Atomic::new(false),
                wait_queue <- new_swait_queue!("kthread"),
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: `shared` exists until the thread has ended, by `drop`.
        let task = from_err_ptr(unsafe {
            own::hsm_kthread_create(
                Some(Self::main),
                ptr::from_ref(&*shared).cast_mut().cast(),
                W::NAME.as_char_ptr(),
            )
        })?;
        // INVARIANT: Created above.
        let thread = Self {
            task: NonNull::new(task).ok_or(ENOMEM)?,
            shared,
        };
        // SAFETY: The thread exists, by the type invariant.
        unsafe { own::hsm_kthread_begin(thread.task.as_ptr(), matches!(policy, Policy::Fifo)) };
        Ok(thread)
    }

    /// Makes the thread run its work. Any context, hard-IRQ context on PREEMPT_RT included.
    pub(crate) fn wake(&self) {
        // A thread that was woken before and has not begun since runs anyway.
        if !self.shared.woken.xchg(true, ordering::Full) {
            self.shared.wait_queue.wake_one();
        }
    }

    /// The function of the thread.
    ///
    /// # Safety
    ///
    /// `shared` must be a `Shared<W>` that exists until this returns.
    unsafe extern "C" fn main(shared: *mut c_void) -> c_int {
        // SAFETY: By the contract of this function.
        let shared = unsafe { &*shared.cast::<Shared<W>>() };
        // SAFETY: This is a kernel thread.
        let should_stop = || unsafe { own::hsm_kthread_should_stop() };
        while !should_stop() {
            // Full: the work sees all that was written before the wake-up.
            if shared.woken.xchg(false, ordering::Full) {
                shared.work.run();
                continue;
            }
            // Kernel threads receive no signals.
            let _ = shared
                .wait_queue
                .wait_interruptible(|| shared.woken.load(ordering::Relaxed) || should_stop());
        }
        0
    }
}

impl<W: Work> Drop for KThread<W> {
    fn drop(&mut self) {
        // SAFETY: Not stopped before, by the type invariant. Waits for the end of the thread.
        unsafe { own::hsm_kthread_stop(self.task.as_ptr()) };
    }
}
