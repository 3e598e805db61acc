// SPDX-License-Identifier: GPL-2.0

//! All User VMs of this driver: what the upcall walks, and what is left when a file is closed whose
//! VM the hypervisor would not give up.

use crate::{
    abstractions::{
        acrn_guest::Upcall,
        debugfs_folder::Folder,
        irq_list::{
            IrqList,
            Writer, //
        },
    },
    vm::Vm,
};
use kernel::{
    prelude::*,
    sync::{
        global_lock,
        Arc, //
    },
};

static VMS: IrqList<Vm> = IrqList::new();

/// Changes to the list, and the VMs in it that have no file any more.
pub(crate) struct Registry {
    writer: Writer<Vm>,
    /// There is room for every VM in the list.
    orphans: KVec<Arc<Vm>>,
    listed: usize,
}

impl Registry {
    const fn new() -> Self {
        Self {
            // SAFETY: `new` is called once, for `REGISTRY`.
            writer: unsafe { Writer::new(&VMS) },
            orphans: KVec::new(),
            listed: 0,
        }
    }
}

global_lock! {
    // SAFETY: `init` runs before the device and the upcall exist, which lead to all other uses.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry::new();
}

global_lock! {
    // SAFETY: As for `REGISTRY`.
    /// `/sys/kernel/debug/acrn_hsm`, while the module is in service.
    unsafe(uninit) static DEBUG: Mutex<Option<Arc<Folder>>> = None;
}

/// Takes the module's VMs into service; what is left of them goes when this is dropped.
pub(crate) struct VmList(());

impl VmList {
    /// Called once, before the device and the upcall.
    pub(crate) fn init() -> Self {
        // SAFETY: The module's initialiser calls this once.
        unsafe { REGISTRY.init() };
        // SAFETY: As above.
        unsafe { DEBUG.init() };
        // Without memory for it there is none.
        *DEBUG.lock() = Arc::new(Folder::new(c"acrn_hsm"), GFP_KERNEL).ok();
        Self(())
    }
}

impl Drop for VmList {
    fn drop(&mut self) {
        // First, so that no folder comes back for an orphan that stays.
        *DEBUG.lock() = None;
        bury_orphans();
        let mut registry = REGISTRY.lock();
        registry.writer.clear();
        for orphan in core::mem::take(&mut registry.orphans) {
            pr_err!(
                "VM {}: the hypervisor keeps it, its memory stays pinned\n",
                orphan.id()
            );
            // The kernel would call code of the module that is gone.
            orphan.stop_watching();
            // The hypervisor may still write to its pages: nobody else may get them.
            core::mem::forget(orphan);
        }
    }
}

/// The folder of debugfs for all VMs.
pub(crate) fn debug_folder() -> Option<Arc<Folder>> {
    DEBUG.lock().clone()
}

/// Adds a VM, so that its requests are served.
pub(crate) fn add(vm: Arc<Vm>) -> Result {
    let mut guard = REGISTRY.lock();
    let registry = &mut *guard;
    let missing = (registry.listed + 1).saturating_sub(registry.orphans.len());
    registry.orphans.reserve(missing, GFP_KERNEL)?;
    registry.writer.add(vm)?;
    registry.listed += 1;
    Ok(())
}

/// Takes a VM off that the hypervisor has destroyed. After this no upcall uses it.
pub(crate) fn remove(vm: &Arc<Vm>) {
    let mut registry = REGISTRY.lock();
    registry.writer.remove(vm);
    registry.listed -= 1;
}

/// Keeps a VM that has no file any more and that the hypervisor would not destroy.
pub(crate) fn adopt(vm: Arc<Vm>) {
    // There is room, by the invariant of `orphans`.
    let _ = REGISTRY.lock().orphans.push_within_capacity(vm);
}

/// Tries again to destroy the VMs that have no file any more.
pub(crate) fn bury_orphans() {
    let mut guard = REGISTRY.lock();
    let registry = &mut *guard;
    let writer = &mut registry.writer;
    let listed = &mut registry.listed;
    registry.orphans.retain(|orphan| {
        let refused = orphan.pause_and_destroy().is_err();
        if !refused {
            writer.remove(orphan);
            *listed -= 1;
        }
        refused
    });
}

/// Serves the requests of all VMs.
pub(crate) struct Dispatcher;

impl Upcall for Dispatcher {
    fn upcall() {
        VMS.for_each(|vm| vm.requests().dispatch());
    }
}
