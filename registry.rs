// SPDX-License-Identifier: GPL-2.0

//! All User VMs of this driver: their creation and destruction, and what is left when a file is closed
//! whose VM the hypervisor would not give up.
//!
//! CREATE_VM and DESTROY_VM are made under one lock, because they decide which VM an id names.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        debugfs::Folder,
        object_count::LiveObjects,
        ratelimit::pr_err_ratelimited,
        reboot_notifier::Reboot, //
    },
    dispatcher,
    hypercall::{
        self,
        Created,
        VmId, //
    },
    ioreq::RequestPage,
    uapi,
    vm::Vm,
};
use kernel::{
    prelude::*,
    sync::{
        global_lock,
        Arc, //
    },
};

/// The VMs that the hypervisor has: those that the dispatcher serves.
pub(crate) struct Registry {
    /// Those that have no file any more. There is room for all VMs.
    orphans: KVec<Arc<Vm>>,
    /// The folder of debugfs for all VMs, while the module is in service.
    folder: Option<Arc<Folder>>,
    /// Whether VMs may be created: not when the kernel goes down.
    is_open: bool,
}

impl Registry {
    const fn new() -> Self {
        Self {
            orphans: KVec::new(),
            folder: None,
            is_open: true,
        }
    }

    /// Adds a VM, so that its requests are served.
    fn add(&mut self, vm: Arc<Vm>) -> Result {
        let missing = (dispatcher::count() + 1).saturating_sub(self.orphans.len());
        self.orphans.reserve(missing, GFP_KERNEL_ACCOUNT)?;
        dispatcher::add(vm)
    }

    /// Takes a VM off that the hypervisor has no more. After this the dispatcher does not use it.
    fn remove(&mut self, vm: &Arc<Vm>) {
        dispatcher::remove(vm);
        self.orphans.retain(|orphan| !Arc::ptr_eq(orphan, vm));
    }

    /// Ends the VM that had the id of the one just created, if there is such a VM: the hypervisor had
    /// destroyed it, though it returned an error.
    fn end_replaced(&mut self, created: &Created) -> Option<Arc<Vm>> {
        let (vm, proof) = dispatcher::find(|vm| created.replaces(vm.id()))?;
        vm.end(proof);
        self.remove(&vm);
        Some(vm)
    }
}

global_lock! {
    // SAFETY: `init` runs before the device, the upcall and the reboot notifier exist, which lead to
    // all other uses.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry::new();
}

/// The registry is in service for as long as this lives; what is left of VMs goes when it is dropped.
pub(crate) struct Service(());

impl Service {
    /// Takes the registry into service.
    ///
    /// # Safety
    ///
    /// Called once, before any other function of this module is.
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: By the contract of this function.
        unsafe {
            dispatcher::init();
            REGISTRY.init();
        }
        let folder = Folder::new(c"acrn_hsm");
        folder.add_file(c"objects", &LiveObjects);
        // Without memory for it there is none.
        REGISTRY.lock().folder = Arc::new(folder, GFP_KERNEL).ok();
        Self(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        bury_orphans();
        let mut registry = REGISTRY.lock();
        registry.folder = None;
        dispatcher::clear();
        for orphan in core::mem::take(&mut registry.orphans) {
            pr_err!(
                "VM {}: the hypervisor keeps it, its memory stays pinned\n",
                orphan.id()
            );
            // The kernel would call code of the module that is gone.
            orphan.hide();
            orphan.stop_watching();
            // The hypervisor may still write to its pages, which nothing else may get.
            core::mem::forget(orphan);
        }
    }
}

/// A VM that the hypervisor just made and that the list has not taken over. Destroyed on drop.
struct Fresh(Option<VmId>);

impl Drop for Fresh {
    fn drop(&mut self) {
        let Some(id) = self.0 else {
            return;
        };
        // The hypervisor destroys paused VMs only. If PAUSE_VM fails, DESTROY_VM tells what is wrong.
        let _ = hypercall::pause_vm(id);
        if let Err(error) = hypercall::destroy_vm(id) {
            pr_err_ratelimited!("VM {}: cannot be destroyed: {:?}\n", id, error);
        }
    }
}

/// Makes a VM (CREATE_VM), and writes its id and number of vCPUs to `parameter`.
///
/// As upstream does, fails with `EINVAL` for any reason of the hypervisor's. Fails with `ENODEV` when the
/// kernel goes down.
pub(crate) fn create(parameter: &mut Contiguous<uapi::acrn_vm_creation>) -> Result<Arc<Vm>> {
    if parameter.reserved0 != 0 || parameter.reserved1 != 0 {
        return Err(EINVAL);
    }
    bury_orphans();
    // Not under the lock: it may have to wait for user space.
    let page = RequestPage::pin(parameter.ioreq_buf).map_err(|_| EINVAL)?;
    let mut replaced = None;
    let listed = create_listed(parameter, page, &mut replaced);
    if let Some(replaced) = replaced {
        clean_up(&replaced);
    }
    let vm = listed?;
    if vm.set_request_page().is_err() {
        release(vm);
        return Err(EINVAL);
    }
    Ok(vm)
}

/// Makes a VM that is on the list. `replaced` is set to the one that had its id, which is to be cleaned
/// up.
fn create_listed(
    parameter: &mut Contiguous<uapi::acrn_vm_creation>,
    page: RequestPage,
    replaced: &mut Option<Arc<Vm>>,
) -> Result<Arc<Vm>> {
    let mut registry = REGISTRY.lock();
    if !registry.is_open {
        return Err(ENODEV);
    }
    let created = hypercall::create_vm(parameter).map_err(|error| {
        pr_debug!("the hypervisor does not create a VM: {:?}\n", error);
        EINVAL
    })?;
    *replaced = registry.end_replaced(&created);
    let mut fresh = Fresh(Some(created.vm));
    let vm = Vm::new(&created, page, registry.folder.clone())?;
    registry.add(vm.clone())?;
    fresh.0 = None;
    Ok(vm)
}

/// Destroys a VM (DESTROY_VM), which must be paused: `EPERM`, and it stays as it was.
pub(crate) fn destroy(vm: &Arc<Vm>) -> Result {
    let mut registry = REGISTRY.lock();
    vm.destroy()?;
    registry.remove(vm);
    drop(registry);
    clean_up(vm);
    Ok(())
}

/// Gives a VM up in any state, because its file is closed. If the hypervisor will not destroy
/// it, it stays listed with all its pins, and is tried again when the next VM is made.
pub(crate) fn release(vm: Arc<Vm>) {
    vm.let_go();
    let mut registry = REGISTRY.lock();
    match pause_and_destroy(&vm) {
        Ok(()) => registry.remove(&vm),
        // It ended before.
        Err(_) if vm.check_alive().is_err() => {}
        Err(error) => {
            pr_err_ratelimited!("VM {}: cannot be destroyed: {:?}\n", vm.id(), error);
            vm.requests().destroy_client();
            // There is room, by the invariant of `orphans`.
            let _ = registry.orphans.push_within_capacity(vm);
            return;
        }
    }
    drop(registry);
    clean_up(&vm);
}

/// The hypervisor destroys paused VMs only; PAUSE_VM does nothing to one that is paused.
fn pause_and_destroy(vm: &Vm) -> Result {
    // If it fails, DESTROY_VM tells what is wrong.
    let _ = vm.pause_for_good();
    vm.destroy()
}

/// Does away with what is left of a VM that has ended, which may take long: not under the lock.
fn clean_up(vm: &Vm) {
    vm.take_devices().quiesce(vm.id());
    vm.let_go();
    vm.release_memory();
}

/// Tries again to destroy the VMs that have no file any more.
fn bury_orphans() {
    let mut tried = 0;
    loop {
        let mut registry = REGISTRY.lock();
        let Some(orphan) = registry.orphans.get(tried).cloned() else {
            return;
        };
        if pause_and_destroy(&orphan).is_ok() {
            registry.remove(&orphan);
            drop(registry);
            clean_up(&orphan);
        } else {
            tried += 1;
        }
    }
}

/// Ends all VMs when the kernel goes down: the next one knows nothing of them, but their vCPUs and devices
/// would go on using memory.
pub(crate) struct Shutdown;

impl Reboot for Shutdown {
    fn reboot() {
        let mut registry = REGISTRY.lock();
        registry.is_open = false;
        let mut last = None;
        while let Some(vm) = dispatcher::next(last) {
            last = Some(vm.id());
            if let Err(error) = pause_and_destroy(&vm) {
                pr_err!("VM {}: outlives the kernel: {:?}\n", vm.id(), error);
                continue;
            }
            registry.remove(&vm);
            vm.take_devices().quiesce(vm.id());
        }
    }
}
