// SPDX-License-Identifier: GPL-2.0

//! The device model as an ioreq client: the requests that it has, and how it waits for them.

use super::vcpu::{
    VcpuCount,
    VcpuId, //
};
use crate::abstractions::{
    object_count::{
        self,
        Counted, //
    },
    swait_queue::{
        new_swait_queue,
        SwaitQueue, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc, //
    },
};

/// The ioreq client of a VM.
///
/// `assigned` and `open` change under the lock of [`super::IoRequests`]. The waiter reads them
/// without it.
#[pin_data]
pub(crate) struct Client {
    /// The vCPUs whose request the device model has, by [`VcpuId::bit`].
    assigned: Atomic<u32>,
    /// The device model may wait here. Changes from true to false, once.
    open: Atomic<bool>,
    #[pin]
    waiters: SwaitQueue,
    _count: Counted,
}

impl Client {
    /// Creates a client without requests.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                assigned: Atomic::new(0),
                open: Atomic::new(true),
                waiters <- new_swait_queue!("acrn_ioreq_client"),
                _count: Counted::new(&object_count::CLIENTS),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Sleeps until the device model has a request. Process context.
    ///
    /// Returns at once while the device model has not completed a request that it was given before.
    /// Fails with `ENODEV` when the client is destroyed.
    ///
    /// A signal ends the wait without an error, as in upstream's driver: acrn-dm signals its thread
    /// to make it look at other events, and exits on any error.
    pub(crate) fn wait(&self) -> Result {
        let _interrupted = self.waiters.wait_interruptible(|| {
            self.assigned.load(ordering::Relaxed) != 0 || !self.open.load(ordering::Acquire)
        });
        if !self.open.load(ordering::Acquire) {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Gives the request of `vcpu` to the device model. Any context, under the lock.
    pub(super) fn assign(&self, vcpu: VcpuId) {
        let assigned = self.assigned.load(ordering::Relaxed);
        self.assigned
            .store(assigned | vcpu.bit(), ordering::Relaxed);
        self.waiters.wake_one();
    }

    /// Takes the request of `vcpu` back. Returns whether the device model had it. Under the lock.
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

    /// Ends all waits. Process context, not under the lock.
    pub(super) fn close(&self) {
        self.open.store(false, ordering::Release);
        self.waiters.wake_all();
    }
}
