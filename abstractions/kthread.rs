// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that do a piece of work each time they are woken.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::{
    bindings as own,
    swait_queue::SimpleWaitQueue, //
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
    static_lock_class,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc, //
    },
};

/// What a thread does.
pub(crate) trait Work: Send + Sync + 'static {
    /// The thread's name, of at most 15 characters.
    const NAME: &'static CStr;

    /// Runs in the thread, in process context, at least once after each [`KernelThread::wake`].
    fn run(&self);
}

/// How a thread is scheduled at first; user space may change it (`chrt`).
pub(crate) enum Policy {
    /// As user space is.
    Normal,
    /// As the threads of interrupts are on PREEMPT_RT.
    #[cfg_attr(not(CONFIG_PREEMPT_RT), expect(dead_code))]
    Fifo,
}

#[pin_data]
struct Shared<W: Work> {
    work: W,
    woken: Atomic<bool>,
    #[pin]
    sleeper: SimpleWaitQueue,
}

/// A thread, for as long as this lives. Dropping it waits for the work under way; process context.
///
/// # Invariants
///
/// `task` is a thread that runs [`Self::main`] on `shared` and that nobody else stops.
pub(crate) struct KernelThread<W: Work> {
    task: NonNull<c_void>,
    shared: Arc<Shared<W>>,
}

// SAFETY: The task may be woken and stopped by any thread; the rest is `Send` and `Sync`.
unsafe impl<W: Work> Send for KernelThread<W> {}
// SAFETY: As above.
unsafe impl<W: Work> Sync for KernelThread<W> {}

impl<W: Work> KernelThread<W> {
    /// Starts a thread. Process context.
    pub(crate) fn start(work: W, policy: Policy) -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared {
                work,
                woken: Atomic::new(false),
                // The class is the same for all threads.
                sleeper <- SimpleWaitQueue::new(c"kernel_thread", static_lock_class!()),
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: `shared` is there until the thread has ended, by `drop`.
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
        // SAFETY: The thread is there, by the type invariant.
        unsafe { own::hsm_kthread_begin(thread.task.as_ptr(), matches!(policy, Policy::Fifo)) };
        Ok(thread)
    }

    /// Has the thread do its work. Any context, hard-IRQ context on PREEMPT_RT included.
    pub(crate) fn wake(&self) {
        // If it was woken before and has not begun since, it is on its way.
        if !self.shared.woken.xchg(true, ordering::Full) {
            self.shared.sleeper.wake_one();
        }
    }

    /// The thread.
    ///
    /// # Safety
    ///
    /// `shared` must be a `Shared<W>` that is there until this returns.
    unsafe extern "C" fn main(shared: *mut c_void) -> c_int {
        // SAFETY: By the contract of this function.
        let shared = unsafe { &*shared.cast::<Shared<W>>() };
        // SAFETY: This is a kernel thread.
        let is_over = || unsafe { own::hsm_kthread_should_stop() };
        while !is_over() {
            // Full: the work sees what was there before the wake-up.
            if shared.woken.xchg(false, ordering::Full) {
                shared.work.run();
                continue;
            }
            // Kernel threads get no signals.
            let _ = shared
                .sleeper
                .wait_interruptible(|| shared.woken.load(ordering::Relaxed) || is_over());
        }
        0
    }
}

impl<W: Work> Drop for KernelThread<W> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant nobody has stopped it. Waits for its end.
        unsafe { own::hsm_kthread_stop(self.task.as_ptr()) };
    }
}
