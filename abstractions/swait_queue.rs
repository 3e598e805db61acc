// SPDX-License-Identifier: GPL-2.0

//! Simple wait queues, which hard-IRQ context can wake on any kernel, PREEMPT_RT included.
//!
//! [`kernel::sync::CondVar`] has a lock that sleeps on PREEMPT_RT.
//!
//! C header: [`include/linux/swait.h`](srctree/include/linux/swait.h)

use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    task::{
        Task,
        TASK_INTERRUPTIBLE, //
    },
    types::Opaque,
};

/// Creates a [`SwaitQueue`] initialiser with the given name and a new lock class.
macro_rules! new_swait_queue {
    ($name:literal $(,)?) => {
        $crate::abstractions::swait_queue::SwaitQueue::new(
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_swait_queue;

/// Exposes the kernel's `struct swait_queue_head`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::swait_queue::{new_swait_queue, SwaitQueue};
/// use kernel::sync::atomic::{ordering, Atomic};
///
/// #[pin_data]
/// struct Flag {
///     is_set: Atomic<bool>,
///     #[pin]
///     wait_queue: SwaitQueue,
/// }
///
/// fn wait(flag: &Flag) -> Result {
///     flag.wait_queue.wait_interruptible(|| flag.is_set.load(ordering::Acquire))
/// }
///
/// fn set(flag: &Flag) {
///     flag.is_set.store(true, ordering::Release);
///     flag.wait_queue.wake_one();
/// }
///
/// let flag = KBox::pin_init(
///     pin_init!(Flag {
///         is_set: Atomic::new(false),
///         wait_queue <- new_swait_queue!("flag"),
///     }),
///     GFP_KERNEL,
/// )?;
/// set(&flag);
/// wait(&flag)?;
/// ```
///
/// # Invariants
///
/// `head` is initialised and pinned.
#[pin_data]
pub(crate) struct SwaitQueue {
    #[pin]
    head: Opaque<bindings::swait_queue_head>,
}

// SAFETY: The C functions on the queue take its own lock, so any thread may call them.
unsafe impl Send for SwaitQueue {}
// SAFETY: As above.
unsafe impl Sync for SwaitQueue {}

impl SwaitQueue {
    /// Returns an initialiser. `name` and `key` are for lockdep; see [`new_swait_queue!`].
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid for writes, `name` and `key` live forever.
            // INVARIANT: Initialised here, pinned by `#[pin]`.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_swait_queue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Sleeps until `condition` holds. Process context.
    ///
    /// Code that makes the condition true must call [`Self::wake_one`] or [`Self::wake_all`]
    /// afterwards. Fails with `ERESTARTSYS` if a signal arrives.
    pub(crate) fn wait_interruptible(&self, condition: impl Fn() -> bool) -> Result {
        if condition() {
            return Ok(());
        }

        let entry = Opaque::<bindings::swait_queue>::uninit();
        let wait = entry.get();
        // SAFETY: `entry` is a local that does not move until `finish_swait` has taken it off the
        // queue. An empty list points to itself.
        unsafe {
            (*wait).task = Task::current_raw();
            (*wait).task_list.next = &raw mut (*wait).task_list;
            (*wait).task_list.prev = &raw mut (*wait).task_list;
        }
        let result = loop {
            // SAFETY: The queue is initialised by the type invariant, the entry above.
            let interrupted = unsafe {
                bindings::prepare_to_swait_event(self.head.get(), wait, TASK_INTERRUPTIBLE)
            };
            if condition() {
                break Ok(());
            }
            if interrupted != 0 {
                break Err(ERESTARTSYS);
            }
            // SAFETY: Process context, with no spinlock held.
            unsafe { bindings::schedule() };
        };
        // SAFETY: This task prepared the entry on this queue.
        unsafe { bindings::finish_swait(self.head.get(), wait) };
        result
    }

    /// Wakes one waiter. Any context.
    pub(crate) fn wake_one(&self) {
        // SAFETY: The queue is initialised by the type invariant.
        unsafe { bindings::swake_up_one(self.head.get()) };
    }

    /// Wakes all waiters. Process context, with interrupts enabled.
    pub(crate) fn wake_all(&self) {
        // SAFETY: The queue is initialised by the type invariant.
        unsafe { bindings::swake_up_all(self.head.get()) };
    }
}
