// SPDX-License-Identifier: GPL-2.0

//! A User VM, from CREATE_VM to DESTROY_VM.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        debugfs::{
            Folder,
            FolderWithFile, //
        },
        object_count::{
            self,
            Counted, //
        },
    },
    hypercall::{
        self,
        Created,
        Destroyed,
        InterruptMonitor,
        Stopped,
        VmId, //
    },
    interrupts::{
        Interrupts,
        Sent, //
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
    passthrough::PassedThrough,
    power,
    status::Status,
    uapi,
};
use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
    uaccess::UserSlice, //
};

/// A VM that the hypervisor has, and what of the Service VM it may use.
///
/// [`crate::registry`] knows all of them, and destroys them.
#[pin_data]
pub(crate) struct Vm {
    parts: Arc<Parts>,
    /// Goes before the VM's id may be another's.
    #[pin]
    exhibit: Mutex<Exhibit>,
}

/// What debugfs shows of a VM.
struct Exhibit {
    /// The folder for all VMs; without it there is none for this one.
    parent: Option<Arc<Folder>>,
    folder: Option<FolderWithFile<Parts>>,
}

#[pin_data]
struct Parts {
    id: VmId,
    #[pin]
    requests: IoRequests,
    #[pin]
    ioeventfds: IoEventFds,
    interrupts: Arc<Interrupts>,
    #[pin]
    irqfds: IrqFds,
    #[pin]
    memory: GuestMemory,
    /// Held while the hypervisor is told to change the VM, so that it is the VM that `id` names.
    #[pin]
    control: Mutex<PassedThrough>,
    /// A [`Phase`]. Changes under `control`.
    phase: Atomic<u32>,
    _live: Counted,
}

/// What the VM was last told to be. It may have stopped by itself since.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Created,
    Running,
    Paused,
    /// The hypervisor has it no more.
    Ended,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Created, Self::Running, Self::Paused, Self::Ended];
}

impl Exhibit {
    /// Makes the folder of debugfs. A VM can do without.
    fn show(&mut self, parts: &Arc<Parts>) {
        let name = CString::try_from_fmt(fmt!("vm{}", parts.id)).ok();
        self.folder = self
            .parent
            .clone()
            .zip(name)
            .map(|(parent, name)| FolderWithFile::new(parent, &name, c"status", parts.clone()));
    }
}

impl Parts {
    /// Does not wait.
    fn phase(&self) -> Phase {
        let number = self.phase.load(ordering::Acquire);
        let mut all = Phase::ALL.into_iter();
        all.find(|phase| *phase as u32 == number)
            .unwrap_or(Phase::Ended)
    }

    /// `ENODEV` if the hypervisor has the VM no more.
    fn check_alive(&self) -> Result {
        match self.phase() {
            Phase::Ended => Err(ENODEV),
            Phase::Created | Phase::Running | Phase::Paused => Ok(()),
        }
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, ordering::Release);
    }

    /// How it is. Does not wait.
    fn status(&self) -> Status {
        Status {
            vm: self.id,
            phase: self.phase(),
            vcpus: self.requests.vcpus().get(),
            mapped_bytes: self.memory.mapped_bytes(),
            parked_bytes: self.memory.parked_bytes(),
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
    /// Makes the kernel's side of a VM that the hypervisor has just created. `folder` is that of
    /// debugfs for all VMs.
    pub(crate) fn new(
        created: &Created,
        page: RequestPage,
        folder: Option<Arc<Folder>>,
    ) -> Result<Arc<Self>> {
        let id = created.vm;
        let vcpus = VcpuCount::new(created.vcpus)?;
        let memory = GuestMemory::new(id)?;
        let interrupts = Arc::pin_init(Interrupts::new(id)?, GFP_KERNEL_ACCOUNT)?;
        let parts = Arc::pin_init(
            pin_init!(Parts {
                id,
                requests <- IoRequests::new(created.vm, vcpus, page),
                ioeventfds <- IoEventFds::new(),
                irqfds <- IrqFds::new(created.vm, interrupts.clone()),
                interrupts,
                memory <- memory,
                control <- new_mutex!(PassedThrough::default()),
                phase: Atomic::new(Phase::Created as u32),
                _live: Counted::new(&object_count::VMS),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut exhibit = Exhibit {
            parent: folder,
            folder: None,
        };
        exhibit.show(&parts);
        Arc::pin_init(
            pin_init!(Self {
                parts,
                exhibit <- new_mutex!(exhibit),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The hypervisor's id.
    pub(crate) fn id(&self) -> VmId {
        self.parts.id
    }

    /// How it is. Does not wait.
    pub(crate) fn status(&self) -> Status {
        self.parts.status()
    }

    /// Fails with `ENODEV` if the hypervisor has the VM no more.
    pub(crate) fn check_alive(&self) -> Result {
        self.parts.check_alive()
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

    /// Has the hypervisor put requests into the VM's page from now on.
    pub(crate) fn set_request_page(&self) -> Result {
        self.controlled(|_| self.parts.requests.set_page())
    }

    /// Runs `command` while the VM is the one that its id names, with no other such command beside it.
    ///
    /// Fails with `ENODEV` if the hypervisor has the VM no more.
    fn controlled<T>(&self, command: impl FnOnce(&mut PassedThrough) -> Result<T>) -> Result<T> {
        let mut devices = self.parts.control.lock();
        self.check_alive()?;
        command(&mut devices)
    }

    /// START_VM.
    pub(crate) fn start(&self) -> Result {
        self.controlled(|_| {
            self.parts.memory.started();
            hypercall::start_vm(self.parts.id)?;
            self.parts.set_phase(Phase::Running);
            Ok(())
        })
    }

    /// PAUSE_VM.
    pub(crate) fn pause(&self) -> Result {
        // Unpins memory when no lock is held.
        self.pause_and(|stopped| self.parts.memory.stopped(stopped))
            .map(drop)
    }

    /// PAUSE_VM of a VM that is to be destroyed, which gives back all its memory.
    pub(crate) fn pause_for_good(&self) -> Result {
        self.pause_and(|_| ())
    }

    fn pause_and<T>(&self, then: impl FnOnce(&Stopped) -> T) -> Result<T> {
        let parts = &self.parts;
        self.controlled(|_| {
            let pause = || hypercall::pause_vm(parts.id);
            let stopped = parts
                .irqfds
                .stop_with(|| parts.requests.pause_with(pause))?;
            parts.set_phase(Phase::Paused);
            Ok(then(&stopped))
        })
    }

    /// RESET_VM. The caller sees to it that no other command for the VM is under way.
    pub(crate) fn reset(&self) -> Result {
        let parts = &self.parts;
        let released = self.controlled(|_| {
            let reset = || hypercall::reset_vm(parts.id);
            let stopped = parts.requests.reset_with(reset)?;
            parts.interrupts.resume();
            parts.set_phase(Phase::Created);
            Ok(parts.memory.stopped(&stopped))
        });
        // Unpins memory when no lock is held.
        released.map(drop)
    }

    /// Destroys the VM (DESTROY_VM), which must be paused: `EPERM`, and it goes on as it was.
    pub(crate) fn destroy(&self) -> Result {
        let mut exhibit = self.exhibit.lock();
        self.controlled(|_| {
            exhibit.folder = None;
            let ended = self.end_with(|| hypercall::destroy_vm(self.parts.id));
            if ended.is_err() {
                exhibit.show(&self.parts);
            }
            ended
        })
    }

    /// Ends the VM without a hypercall: the hypervisor has another one with its id.
    pub(crate) fn end(&self, proof: Destroyed) {
        self.exhibit.lock().folder = None;
        // It fails if the VM has ended already.
        let _ = self.controlled(|_| self.end_with(|| Ok(proof)));
    }

    /// Runs `destroy`, after which the hypervisor may give the VM's id to another, while nothing of
    /// the VM goes by that id. If it fails, the VM goes on. Under `control`.
    fn end_with(&self, destroy: impl FnOnce() -> Result<Destroyed>) -> Result {
        let parts = &self.parts;
        parts
            .irqfds
            .stop_with(|| parts.memory.end_with(|| parts.requests.end_with(destroy)))?;
        parts.set_phase(Phase::Ended);
        Ok(())
    }

    /// Lets go of what user space gave the VM, before the VM ends or after it has.
    pub(crate) fn let_go(&self) {
        self.parts.irqfds.clear();
        self.parts.ioeventfds.clear(&self.parts.requests);
    }

    /// Gives back the memory of a VM that has ended.
    pub(crate) fn release_memory(&self) {
        self.parts.memory.release();
    }

    /// The devices that were passed through to the VM, which has none then.
    pub(crate) fn take_devices(&self) -> PassedThrough {
        core::mem::take(&mut *self.parts.control.lock())
    }

    /// Takes away what debugfs shows of the VM, for good.
    pub(crate) fn hide(&self) {
        let mut exhibit = self.exhibit.lock();
        exhibit.folder = None;
        exhibit.parent = None;
    }

    /// SET_VCPU_REGS.
    pub(crate) fn set_vcpu_regs(&self, registers: &Contiguous<uapi::acrn_vcpu_regs>) -> Result {
        if !registers.reserved_is_zero() {
            return Err(EINVAL);
        }
        self.controlled(|_| hypercall::set_vcpu_regs(self.parts.id, registers))
    }

    /// INJECT_MSI.
    pub(crate) fn inject_msi(&self, msi: &uapi::acrn_msi_entry) -> Result {
        self.send(|interrupts| interrupts.inject_msi(msi))
    }

    /// SET_IRQLINE.
    pub(crate) fn set_irqline(&self, line: u64) -> Result {
        self.send(|interrupts| interrupts.set_irqline(line))
    }

    /// Sends an interrupt, if need be when it is known whether the VM is to have it.
    fn send(&self, send: impl Fn(&Interrupts) -> Sent) -> Result {
        loop {
            match send(&self.parts.interrupts) {
                Sent::Told(result) | Sent::Dropped(result) => return result,
                // It is held for as long as that is being decided.
                Sent::Undecided => self.controlled(|_| Ok(()))?,
            }
        }
    }

    /// VM_INTR_MONITOR.
    pub(crate) fn monitor_interrupts(&self, page: UserSlice) -> Result {
        let (reader, mut writer) = page.reader_writer();
        let mut monitor = Contiguous::<InterruptMonitor>::from_user(reader)?;
        self.controlled(|_| hypercall::vm_intr_monitor(self.parts.id, &mut monitor))?;
        writer.write(&monitor.0)
    }

    /// Makes a hypercall that tells the hypervisor about a device of the VM.
    pub(crate) fn device<T>(
        &self,
        hypercall: fn(VmId, &Contiguous<T>) -> Result,
        device: &Contiguous<T>,
    ) -> Result {
        self.controlled(|_| hypercall(self.parts.id, device))
    }

    /// ASSIGN_PCIDEV.
    pub(crate) fn assign_pcidev(&self, device: &Contiguous<uapi::acrn_pcidev>) -> Result {
        self.controlled(|devices| {
            devices.reserve_one()?;
            // Nothing is released by there being one more.
            drop(self.parts.memory.set_devices(devices.count() + 1));
            let assigned = hypercall::assign_pcidev(self.parts.id, device);
            if assigned.is_ok() {
                devices.add(device.phys_bdf);
            }
            Ok((assigned, self.parts.memory.set_devices(devices.count())))
        })
        .and_then(|(assigned, _released)| assigned)
    }

    /// DEASSIGN_PCIDEV.
    pub(crate) fn deassign_pcidev(&self, device: &Contiguous<uapi::acrn_pcidev>) -> Result {
        let released = self.controlled(|devices| {
            hypercall::deassign_pcidev(self.parts.id, device)?;
            devices.remove(device.phys_bdf);
            Ok(self.parts.memory.set_devices(devices.count()))
        });
        // Unpins memory when no lock is held.
        released.map(drop)
    }

    /// PM_GET_CPU_STATE.
    pub(crate) fn cpu_state(&self, question: power::Question) -> Result<power::Answer> {
        self.controlled(|_| question.ask(self.parts.id))
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
