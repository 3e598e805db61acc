// SPDX-License-Identifier: GPL-2.0

//! The device model as a client: which requests it has, and how it waits for them.

use super::request_page::{
    VcpuCount,
    VcpuId, //
};
use crate::abstractions::{
    object_count::{
        self,
        Counted, //
    },
    swait_queue::SimpleWaitQueue, //
};
use kernel::{
    c_str,
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

/// The device model's end of the I/O requests of one VM.
///
/// `assigned` and `open` change under the lock of [`super::IoRequests`]; the waiter reads them
/// without.
#[pin_data]
pub(crate) struct Client {
    /// vCPUs whose request is with the device model, by [`VcpuId::bit`].
    assigned: Atomic<u32>,
    /// The device model may wait here. Goes from true to false, once.
    open: Atomic<bool>,
    #[pin]
    waiters: SimpleWaitQueue,
    _live: Counted,
}

impl Client {
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                assigned: Atomic::new(0),
                open: Atomic::new(true),
                waiters <- SimpleWaitQueue::new(c_str!("acrn_ioreq_client"), static_lock_class!()),
                _live: Counted::new(&object_count::CLIENTS),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Sleeps until the device model has a request. Process context.
    ///
    /// Returns at once while one is left that it has not finished. Fails with `ENODEV` when the
    /// client is destroyed.
    ///
    /// A signal ends the wait without an error, as in upstream: acrn-dm signals its thread to have
    /// it look at other things, and ends on any error.
    pub(crate) fn wait(&self) -> Result {
        let _interrupted = self.waiters.wait_interruptible(|| {
            self.assigned.load(ordering::Relaxed) != 0 || !self.open.load(ordering::Acquire)
        });
        if !self.open.load(ordering::Acquire) {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Gives the device model the request of `vcpu`. Any context, under the lock.
    pub(super) fn assign(&self, vcpu: VcpuId) {
        let assigned = self.assigned.load(ordering::Relaxed);
        self.assigned
            .store(assigned | vcpu.bit(), ordering::Relaxed);
        self.waiters.wake_one();
    }

    /// Takes the request of `vcpu` back; whether it was there. Under the lock.
    pub(super) fn take(&self, vcpu: VcpuId) -> bool {
        let assigned = self.assigned.load(ordering::Relaxed);
        self.assigned
            .store(assigned & !vcpu.bit(), ordering::Relaxed);
        assigned & vcpu.bit() != 0
    }

    /// Takes all requests back. Under the lock.
    pub(super) fn take_all(&self, vcpus: VcpuCount) -> impl Iterator<Item = VcpuId> + '_ {
        vcpus.ids().filter(|vcpu| self.take(*vcpu))
    }

    /// Sends the waiters away. Process context, not under the lock.
    pub(super) fn close(&self) {
        self.open.store(false, ordering::Release);
        self.waiters.wake_all();
    }
}
