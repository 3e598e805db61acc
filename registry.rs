// SPDX-License-Identifier: GPL-2.0

//! All User VMs: their creation and destruction, and those that the hypervisor refused to destroy.
//!
//! CREATE_VM and DESTROY_VM are made under one lock, because they decide which VM an id names.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        debugfs::{
            Dir,
            DirWithFile, //
        },
        object_count::AllCounts,
        ratelimit::pr_err_ratelimited,
        reboot_notifier::Reboot, //
    },
    dispatcher::ServedVms,
    hypercall::{
        self,
        Created,
        VmId, //
    },
    ioreq::RequestPage,
    passthrough::{
        PciDevices,
        PCI_OWNERS, //
    },
    uapi,
    vm::Vm,
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        global_lock,
        Arc, //
    },
    types::ScopeGuard, //
};

/// The owner of a VM.
#[derive(PartialEq, Eq)]
enum Owner {
    /// An open file.
    File,
    /// None: the VM is an orphan.
    None,
}

/// The name of a VM, which ends at the first zero byte.
struct VmName([u8; 16]);

impl VmName {
    /// The beginning of the name that ACRN makes for a VM without one. A number follows, which the
    /// Service VM does not know: the id that ACRN itself uses for the VM.
    const GENERATED: &'static [u8] = b"ACRN VM_";

    fn bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Returns whether the hypervisor may know a VM that was created with this name by the name
    /// `other`.
    ///
    /// ACRN looks for no VM if `other` is empty (`get_vmid_by_name`).
    fn may_be(&self, other: &Self) -> bool {
        let (own, other) = (self.bytes(), other.bytes());
        if own.is_empty() {
            let number = other.strip_prefix(Self::GENERATED);
            return number.is_some_and(|number| number.iter().all(u8::is_ascii_digit));
        }
        own == other
    }
}

struct Entry {
    vm: Arc<Vm>,
    name: VmName,
    /// The VM's directory in debugfs. Removed before the VM's id may name another VM.
    dir: Option<DirWithFile<Vm>>,
    owner: Owner,
}

impl Entry {
    /// Creates the directory in debugfs. The VM also works without it.
    fn create_dir(&mut self, parent: &Option<Arc<Dir>>) {
        let name = CString::try_from_fmt(fmt!("vm{}", self.vm.id())).ok();
        self.dir = parent
            .clone()
            .zip(name)
            .map(|(parent, name)| DirWithFile::new(parent, &name, c"status", self.vm.clone()));
    }
}

/// All VMs that the hypervisor has not destroyed.
struct Registry {
    entries: KVec<Entry>,
    /// `None` before the module is initialised and after it was cleaned up.
    served: Option<Arc<ServedVms>>,
    /// The directory of the driver in debugfs.
    dir: Option<Arc<Dir>>,
    /// Whether VMs may be created: not once the kernel goes down.
    is_open: bool,
}

impl Registry {
    const fn new() -> Self {
        Self {
            entries: KVec::new(),
            served: None,
            dir: None,
            is_open: true,
        }
    }

    /// Adds a VM, whose requests are dispatched from now on.
    fn add(&mut self, vm: Arc<Vm>, name: VmName) -> Result {
        self.entries.reserve(1, GFP_KERNEL_ACCOUNT)?;
        self.served.as_ref().ok_or(ENODEV)?.add(vm.clone())?;
        let mut entry = Entry {
            vm,
            name,
            dir: None,
            owner: Owner::File,
        };
        entry.create_dir(&self.dir);
        self.entries
            .push_within_capacity(entry)
            .map_err(|_| ENOMEM)?;
        Ok(())
    }

    /// Removes a VM that the hypervisor has destroyed. Neither the upcall nor a thread uses it any
    /// more once this returns.
    fn remove(&mut self, vm: &Arc<Vm>) {
        if let Some(served) = &self.served {
            served.remove(vm);
        }
        self.entries.retain(|entry| !Arc::ptr_eq(&entry.vm, vm));
    }

    /// Returns whether a VM may have this name, and certainly exists.
    fn has_name(&self, name: &VmName) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.name.may_be(name) && !entry.vm.memory().may_be_gone())
    }

    fn entry(&mut self, vm: &Arc<Vm>) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| Arc::ptr_eq(&entry.vm, vm))
    }

    /// Destroys a VM by `destroy`, and removes it if that succeeds. Returns the PCI devices that
    /// the hypervisor may have returned, which the caller must quiesce.
    fn destroy(&mut self, vm: &Arc<Vm>, destroy: fn(&Vm) -> Result) -> (Result, PciDevices) {
        // Waits for readers, so not between the hypercalls of `destroy`.
        if let Some(entry) = self.entry(vm) {
            entry.dir = None;
        }
        let destroyed = destroy(vm);
        let devices = match destroyed {
            Err(EPERM) => PciDevices::default(),
            // The hypervisor may have destroyed the VM all the same.
            _ => vm.take_devices(),
        };
        if destroyed.is_ok() {
            self.remove(vm);
        } else {
            let parent = self.dir.clone();
            if let Some(entry) = self.entry(vm) {
                entry.create_dir(&parent);
            }
        }
        (destroyed, devices)
    }

    /// Ends and removes the VM whose id the new VM has, if there is one: the hypervisor had
    /// destroyed it, although it returned an error.
    fn end_replaced(&mut self, created: &Created) -> Option<Arc<Vm>> {
        let mut entries = self.entries.iter_mut();
        let (entry, proof) = entries.find_map(|entry| {
            // SAFETY: The new VM is not in the registry yet.
            let proof = unsafe { created.replaces(entry.vm.id()) };
            proof.map(|proof| (entry, proof))
        })?;
        entry.dir = None;
        let vm = entry.vm.clone();
        vm.end(proof);
        self.remove(&vm);
        Some(vm)
    }

    /// Returns the orphan with the index `index`.
    fn orphan(&self, index: usize) -> Option<Arc<Vm>> {
        let entries = self.entries.iter();
        let mut orphans = entries.filter(|entry| entry.owner == Owner::None);
        orphans.nth(index).map(|entry| entry.vm.clone())
    }

    /// Returns the VM that follows the VM `last`, or the first one, in the order of ids.
    fn next(&self, last: Option<VmId>) -> Option<Arc<Vm>> {
        let vms = self.entries.iter().map(|entry| &entry.vm);
        vms.filter(|vm| last.is_none_or(|last| vm.id() > last))
            .min_by_key(|vm| vm.id())
            .cloned()
    }
}

global_lock! {
    // SAFETY: `Service::new` initialises it before the device, the upcall and the reboot notifier
    // exist, and all other uses come from those.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry::new();
}

/// The registry in service. Dropping this cleans it up.
pub(crate) struct Service {
    served: Arc<ServedVms>,
}

impl Service {
    /// Puts the registry into service.
    ///
    /// # Safety
    ///
    /// Must be called once, before any other function of this module.
    pub(crate) unsafe fn new() -> Result<Self> {
        // SAFETY: By the contract of this function.
        unsafe { REGISTRY.init() };
        // SAFETY: As above.
        unsafe { PCI_OWNERS.init() };
        let served = ServedVms::new()?;
        let dir = Dir::new(c"acrn_hsm");
        dir.add_file(c"objects", &AllCounts);
        let mut registry = REGISTRY.lock();
        registry.served = Some(served.clone());
        // The driver works without a directory in debugfs.
        registry.dir = Arc::new(dir, GFP_KERNEL).ok();
        Ok(Self { served })
    }

    /// Returns the VMs whose requests are dispatched.
    pub(crate) fn served(&self) -> Arc<ServedVms> {
        self.served.clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        retry_orphans();
        let mut registry = REGISTRY.lock();
        let entries = core::mem::take(&mut registry.entries);
        registry.served = None;
        registry.dir = None;
        for Entry { vm, dir, .. } in entries {
            pr_err!("VM {}: not destroyed, its memory stays pinned\n", vm.id());
            // The kernel would call code of a module that no longer exists.
            drop(dir);
            vm.memory().remove_notifiers();
            self.served.remove(&vm);
            // The hypervisor may still write to its pages, which must not be used for anything
            // else.
            core::mem::forget(vm);
        }
    }
}

/// Creates a VM (CREATE_VM), and writes its id and number of vCPUs to `parameter`.
///
/// # Errors
///
/// - `EINVAL` if the request page cannot be pinned, if another VM has the name, if there is not
///   enough memory, or if the hypervisor fails for any reason, as in upstream's driver.
/// - `ENODEV` if the kernel goes down.
pub(crate) fn create(parameter: &mut Contiguous<uapi::acrn_vm_creation>) -> Result<Arc<Vm>> {
    retry_orphans();
    // Not under the lock: user space may delay this.
    let page = RequestPage::pin(parameter.ioreq_buf).map_err(|_| EINVAL)?;
    let mut replaced = None;
    let created = create_registered(parameter, page, &mut replaced);
    if let Some(replaced) = replaced {
        clean_up(&replaced);
    }
    let vm = created?;
    if vm.set_request_page().is_err() {
        release(vm);
        return Err(EINVAL);
    }
    Ok(vm)
}

/// Creates a VM and adds it to the registry. Sets `replaced` to the VM that had its id, which the
/// caller must clean up.
fn create_registered(
    parameter: &mut Contiguous<uapi::acrn_vm_creation>,
    page: RequestPage,
    replaced: &mut Option<Arc<Vm>>,
) -> Result<Arc<Vm>> {
    let mut registry = REGISTRY.lock();
    if !registry.is_open {
        return Err(ENODEV);
    }
    let name = VmName(parameter.uuid);
    // ACRN would fail, but forget the name of that VM. It would take the slot of that VM for free
    // then, and refuse other new names as well.
    if registry.has_name(&name) {
        return Err(EINVAL);
    }
    let created = hypercall::create_vm(parameter).map_err(|error| {
        pr_debug!("the hypervisor cannot create a VM: {:?}\n", error);
        EINVAL
    })?;
    *replaced = registry.end_replaced(&created);
    let destroy_vm = ScopeGuard::new_with_data(created.vm(), |id| {
        // The hypervisor destroys paused VMs only. If this fails, DESTROY_VM returns the error
        // that matters.
        let _ = hypercall::pause_vm(id);
        if let Err(error) = hypercall::destroy_vm(id) {
            pr_err_ratelimited!("VM {}: cannot be destroyed: {:?}\n", id, error);
        }
    });
    let vm = Vm::new(&created, page).map_err(|_| EINVAL)?;
    let added = registry.add(vm.clone(), name);
    added.map_err(|_| EINVAL)?;
    destroy_vm.dismiss();
    Ok(vm)
}

/// Destroys a VM (DESTROY_VM).
///
/// Fails with `EPERM` if the VM is not paused, and leaves it as it was.
pub(crate) fn destroy(vm: &Arc<Vm>) -> Result {
    destroy_and_quiesce(vm, Vm::destroy)?;
    clean_up(vm);
    Ok(())
}

/// Pauses and destroys a VM in any state, because its file was closed.
///
/// If the hypervisor refuses, the VM becomes an orphan: it stays in the registry with all its pins,
/// and is destroyed when the next VM is created.
pub(crate) fn release(vm: Arc<Vm>) {
    vm.release_eventfds();
    let destroyed = destroy_and_quiesce(&vm, Vm::pause_and_destroy);
    let mut registry = REGISTRY.lock();
    match destroyed {
        Ok(()) => {}
        // It ended before.
        Err(_) if vm.check_alive().is_err() => {}
        Err(error) => {
            pr_err_ratelimited!("VM {}: cannot be destroyed: {:?}\n", vm.id(), error);
            vm.requests().destroy_client();
            if let Some(entry) = registry.entry(&vm) {
                entry.owner = Owner::None;
            }
            return;
        }
    }
    drop(registry);
    clean_up(&vm);
}

/// Destroys a VM as [`Registry::destroy`], and quiesces its PCI devices before another VM can get
/// them. May take long, so the quiescing is not done under the lock.
fn destroy_and_quiesce(vm: &Arc<Vm>, destroy: fn(&Vm) -> Result) -> Result {
    // The VM gets none meanwhile: its file is closed, or locked exclusively.
    let owners = vm.has_pci_devices().then(|| PCI_OWNERS.lock());
    let (destroyed, devices) = REGISTRY.lock().destroy(vm, destroy);
    if let Some(owners) = &owners {
        devices.quiesce(vm.id(), owners);
    }
    destroyed
}

/// Releases the resources of a VM that has ended. May take long, so it is not done under the lock.
fn clean_up(vm: &Vm) {
    vm.release_eventfds();
    vm.memory().release();
}

/// Tries again to destroy the orphans.
fn retry_orphans() {
    let mut kept = 0;
    loop {
        let Some(orphan) = REGISTRY.lock().orphan(kept) else {
            return;
        };
        if destroy_and_quiesce(&orphan, Vm::pause_and_destroy).is_ok() {
            clean_up(&orphan);
        } else if orphan.check_alive().is_ok() {
            kept += 1;
        }
    }
}

/// Destroys all VMs before the kernel goes down: the next kernel does not know them, but their
/// vCPUs and devices would continue to use memory.
pub(crate) struct Shutdown;

impl Reboot for Shutdown {
    fn reboot() {
        let owners = PCI_OWNERS.lock();
        let mut registry = REGISTRY.lock();
        registry.is_open = false;
        let mut last = None;
        while let Some(vm) = registry.next(last) {
            last = Some(vm.id());
            let (destroyed, devices) = registry.destroy(&vm, Vm::pause_and_destroy);
            if let Err(error) = destroyed {
                pr_err!("VM {}: not destroyed at shutdown: {:?}\n", vm.id(), error);
            }
            devices.quiesce(vm.id(), &owners);
        }
    }
}
