// SPDX-License-Identifier: GPL-2.0

//! A wait queue that hard-IRQ context can wake on every kind of kernel, PREEMPT_RT included.
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

/// Exposes the kernel's `struct swait_queue_head`.
///
/// # Invariants
///
/// `head` is initialised and pinned.
#[pin_data]
pub(crate) struct SimpleWaitQueue {
    #[pin]
    head: Opaque<bindings::swait_queue_head>,
}

// SAFETY: The C functions on the queue take its own lock, so any thread may call them.
unsafe impl Send for SimpleWaitQueue {}
// SAFETY: As above.
unsafe impl Sync for SimpleWaitQueue {}

impl SimpleWaitQueue {
    /// Makes an initialiser; `name` and `key` are for lockdep.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid for writes, `name` and `key` live for ever.
            // INVARIANT: Initialised here, pinned by `#[pin]`.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_swait_queue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Sleeps until `condition` holds. Process context only.
    ///
    /// Whoever makes the condition true must call [`Self::wake_one`] or [`Self::wake_all`] after it.
    /// A signal ends the wait with `ERESTARTSYS`.
    pub(crate) fn wait_interruptible(&self, condition: impl Fn() -> bool) -> Result {
        if condition() {
            return Ok(());
        }

        let entry = Opaque::<bindings::swait_queue>::uninit();
        let wait = entry.get();
        // SAFETY: `entry` is a local that does not move until `finish_swait` took it off the queue.
        // An empty list points to itself.
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
        // SAFETY: The entry was prepared on this queue by this task.
        unsafe { bindings::finish_swait(self.head.get(), wait) };
        result
    }

    /// Wakes one sleeper. Any context.
    pub(crate) fn wake_one(&self) {
        // SAFETY: The queue is initialised by the type invariant.
        unsafe { bindings::swake_up_one(self.head.get()) };
    }

    /// Wakes all sleepers. Process context, interrupts enabled.
    pub(crate) fn wake_all(&self) {
        // SAFETY: The queue is initialised by the type invariant.
        unsafe { bindings::swake_up_all(self.head.get()) };
    }
}
