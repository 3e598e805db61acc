// SPDX-License-Identifier: GPL-2.0

//! A User VM, from CREATE_VM to DESTROY_VM.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        debugfs_folder::FolderWithFile,
        log::pr_err_ratelimited, //
    },
    hypercall::{
        self,
        Destroyed,
        InterruptMonitor,
        VmId, //
    },
    ioeventfd::IoEventFds,
    ioreq::{
        IoRequests,
        RequestPage,
        VcpuCount, //
    },
    irqfd::IrqFds,
    mm::{
        GuestMemory,
        Segment, //
    },
    status::Status,
    uapi, vm_list,
};
use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSlice, //
};

/// A VM that the hypervisor has, and what of the Service VM it may use.
///
/// May be dropped only when the hypervisor has destroyed the VM: its memory is unpinned then.
/// [`Vm::destroy`], [`Vm::release`] and [`vm_list`] see to that.
#[pin_data]
pub(crate) struct Vm {
    parts: Arc<Parts>,
    /// Goes before the VM's id may be another's.
    #[pin]
    folder: Mutex<Option<FolderWithFile<Parts>>>,
}

#[pin_data]
struct Parts {
    id: VmId,
    #[pin]
    requests: IoRequests,
    #[pin]
    ioeventfds: IoEventFds,
    #[pin]
    irqfds: IrqFds,
    #[pin]
    memory: GuestMemory,
    /// Held while the hypervisor is told to change it.
    #[pin]
    phase: Mutex<Phase>,
}

/// What the VM was last told to be. It may have stopped by itself since.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Created,
    Running,
    Paused,
}

/// A VM that the hypervisor just made and that has nothing of ours yet. Destroyed on drop.
struct Fresh(Option<VmId>);

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            if let Err(error) = pause_and_destroy(id) {
                pr_err_ratelimited!("VM {}: cannot be destroyed: {:?}\n", id, error);
            }
        }
    }
}

/// The hypervisor destroys paused VMs only; PAUSE does nothing to one that is paused.
fn pause_and_destroy(id: VmId) -> Result<Destroyed> {
    // If it fails, DESTROY tells what is wrong.
    let _ = hypercall::pause_vm(id);
    hypercall::destroy_vm(id)
}

impl Parts {
    /// Makes the folder of debugfs. A VM can do without.
    fn show(self: &Arc<Self>) -> Option<FolderWithFile<Self>> {
        let parent = vm_list::debug_folder()?;
        let name = CString::try_from_fmt(fmt!("vm{}", self.id)).ok()?;
        Some(FolderWithFile::new(parent, &name, c"status", self.clone()))
    }

    fn status(&self) -> Status {
        Status {
            vm: self.id,
            phase: *self.phase.lock(),
            vcpus: self.requests.vcpus().get(),
            mapped_bytes: self.memory.mapped_bytes(),
            has_client: self.requests.has_client(),
            ioeventfds: self.ioeventfds.count(),
            irqfds: self.irqfds.count(),
            requests: self.requests.counts(),
        }
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

impl Vm {
    /// Makes a VM (CREATE_VM), and writes its id and number of vCPUs to `parameter`.
    ///
    /// As upstream does, fails with `EINVAL` whatever the hypervisor's reason is.
    pub(crate) fn create(parameter: &mut Contiguous<uapi::acrn_vm_creation>) -> Result<Arc<Self>> {
        if parameter.reserved0 != 0 || parameter.reserved1 != 0 {
            return Err(EINVAL);
        }
        vm_list::bury_orphans();
        let user_page = parameter.ioreq_buf;
        let created = hypercall::create_vm(parameter).map_err(|error| {
            pr_debug!("the hypervisor does not create a VM: {:?}\n", error);
            EINVAL
        })?;
        let mut fresh = Fresh(Some(created.vm));
        let vcpus = VcpuCount::new(created.vcpus)?;
        let page = RequestPage::pin(user_page).map_err(|_| EINVAL)?;

        let id = created.vm;
        let memory = GuestMemory::new(id)?;
        let parts = Arc::pin_init(
            pin_init!(Parts {
                id,
                requests <- IoRequests::new(created.vm, vcpus, page),
                ioeventfds <- IoEventFds::new(),
                irqfds <- IrqFds::new(created.vm),
                phase <- new_mutex!(Phase::Created),
                memory <- memory,
            }),
            GFP_KERNEL,
        )?;
        let folder = parts.show();
        let vm = Arc::pin_init(
            pin_init!(Self {
                parts,
                folder <- new_mutex!(folder),
            }),
            GFP_KERNEL,
        )?;
        let address = Contiguous::new(vm.parts.requests.page_phys())?;
        vm_list::add(vm.clone())?;
        // From here on the list owns it.
        fresh.0 = None;
        if hypercall::set_ioreq_buffer(id, &address).is_err() {
            vm.release();
            return Err(EINVAL);
        }
        Ok(vm)
    }

    /// The hypervisor's id.
    pub(crate) fn id(&self) -> VmId {
        self.parts.id
    }

    /// How it is.
    pub(crate) fn status(&self) -> Status {
        self.parts.status()
    }

    /// Its I/O requests.
    pub(crate) fn requests(&self) -> &IoRequests {
        &self.parts.requests
    }

    /// Which of its writes signal an eventfd.
    pub(crate) fn ioeventfds(&self) -> &IoEventFds {
        &self.parts.ioeventfds
    }

    /// Which eventfds interrupt it.
    pub(crate) fn irqfds(&self) -> &IrqFds {
        &self.parts.irqfds
    }

    /// Destroys the VM (DESTROY_VM), which must be paused: `EPERM`, and it stays as it was.
    pub(crate) fn destroy(self: &Arc<Self>) -> Result {
        self.end_with(|| hypercall::destroy_vm(self.id()))?;
        vm_list::remove(self);
        Ok(())
    }

    /// Gives the VM up in whatever state it is. If the hypervisor will not destroy it, it stays
    /// listed with all its pins, and is tried again when the next VM is made.
    pub(crate) fn release(self: Arc<Self>) {
        self.parts.irqfds.clear();
        self.parts.ioeventfds.clear(&self.parts.requests);
        match self.pause_and_destroy() {
            Ok(()) => vm_list::remove(&self),
            Err(error) => {
                pr_err_ratelimited!("VM {}: cannot be destroyed: {:?}\n", self.parts.id, error);
                self.parts.requests.destroy_client();
                vm_list::adopt(self);
            }
        }
    }

    /// Pauses and destroys the VM; after success the caller takes it off the list.
    pub(crate) fn pause_and_destroy(&self) -> Result {
        self.end_with(|| pause_and_destroy(self.id()))
    }

    /// Runs `destroy`, after which the hypervisor may give the VM's id to another, while nothing of
    /// the VM goes by that id. If it fails, the VM goes on.
    fn end_with(&self, destroy: impl FnOnce() -> Result<Destroyed>) -> Result {
        let parts = &self.parts;
        let mut folder = self.folder.lock();
        *folder = None;
        let ended = parts.irqfds.end_with(|| {
            let destroy = || parts.requests.end_with(|| destroy().map(drop));
            parts.memory.end_with(destroy)
        });
        if ended.is_err() {
            *folder = parts.show();
        }
        ended
    }

    /// START_VM.
    pub(crate) fn start(&self) -> Result {
        self.change(Phase::Running, || hypercall::start_vm(self.parts.id))
    }

    /// PAUSE_VM.
    pub(crate) fn pause(&self) -> Result {
        self.change(Phase::Paused, || {
            hypercall::pause_vm(self.parts.id).map(drop)
        })
    }

    /// RESET_VM. The caller sees to it that no other command for the VM is under way.
    pub(crate) fn reset(&self) -> Result {
        self.change(Phase::Created, || {
            self.parts
                .requests
                .reset_with(|| hypercall::reset_vm(self.parts.id).map(drop))
        })
    }

    fn change(&self, to: Phase, command: impl FnOnce() -> Result) -> Result {
        let mut phase = self.parts.phase.lock();
        command()?;
        *phase = to;
        Ok(())
    }

    /// SET_VCPU_REGS.
    pub(crate) fn set_vcpu_regs(&self, registers: &Contiguous<uapi::acrn_vcpu_regs>) -> Result {
        if !registers.reserved_is_zero() {
            return Err(EINVAL);
        }
        hypercall::set_vcpu_regs(self.parts.id, registers)
    }

    /// INJECT_MSI.
    pub(crate) fn inject_msi(&self, msi: &Contiguous<uapi::acrn_msi_entry>) -> Result {
        hypercall::inject_msi(self.parts.id, msi)
    }

    /// SET_IRQLINE.
    pub(crate) fn set_irqline(&self, line: u64) -> Result {
        hypercall::set_irqline(self.parts.id, line)
    }

    /// VM_INTR_MONITOR.
    pub(crate) fn monitor_interrupts(&self, page: UserSlice) -> Result {
        let (mut reader, mut writer) = page.reader_writer();
        let mut monitor = Contiguous::new(InterruptMonitor(reader.read()?))?;
        hypercall::vm_intr_monitor(self.parts.id, &mut monitor)?;
        writer.write(&monitor.0)
    }

    /// Has the kernel tell no more when mappings of a process change. What was watched goes, if the
    /// hypervisor lets go of it.
    pub(crate) fn stop_watching(&self) {
        self.parts.memory.stop_watching();
    }

    /// SET_MEMSEG.
    pub(crate) fn set_memory_segment(&self, segment: Segment) -> Result {
        self.parts.memory.map(segment)
    }

    /// UNSET_MEMSEG.
    pub(crate) fn unset_memory_segment(&self, segment: Segment) -> Result {
        self.parts.memory.unmap(segment)
    }
}
