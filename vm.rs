// SPDX-License-Identifier: GPL-2.0

//! A User VM, from CREATE_VM to DESTROY_VM.

use crate::{
    abstractions::{
        contiguous::Contiguous,
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
        MmioDevice,
        Stopped,
        VmId, //
    },
    interrupts::{
        Injected,
        Interrupts, //
    },
    ioeventfd::IoEventFds,
    ioreq::{
        IoRequests,
        RequestPage,
        VcpuCount, //
    },
    irqfd::IrqFds,
    mm::GuestMemory,
    passthrough::{
        PassthroughDevices,
        PciDevices,
        PCI_OWNERS, //
    },
    power,
    status::{
        Status,
        VmState, //
    },
    uapi,
};
use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Mutex,
        MutexGuard, //
    },
    uaccess::UserSlice, //
};

/// A VM, and the resources of the Service VM that it uses.
#[pin_data]
pub(crate) struct Vm {
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
    /// Held during a hypercall that changes the VM, so that `id` names this VM meanwhile, unless
    /// DESTROY_VM timed out before: then it may name another VM.
    #[pin]
    control: Mutex<PassthroughDevices>,
    /// A [`VmState`]. Changes under `control`.
    state: Atomic<u32>,
    /// DESTROY_VM has returned `ETIMEDOUT`, as ACRN does for a VM that it has destroyed. Changes
    /// under `control`.
    destroy_timed_out: Atomic<bool>,
    _count: Counted,
}

impl Vm {
    /// Creates the kernel's part of a VM that the hypervisor has just created.
    ///
    /// Fails with `EINVAL` if the VM has more vCPUs than the request page has slots.
    pub(crate) fn new(created: &Created, page: RequestPage) -> Result<Arc<Self>> {
        let id = created.vm();
        let vcpus = VcpuCount::new(created.vcpus())?;
        let memory = GuestMemory::new(created)?;
        let interrupts = Arc::pin_init(Interrupts::new(id)?, GFP_KERNEL_ACCOUNT)?;
        Arc::pin_init(
            pin_init!(Self {
                id,
                requests <- IoRequests::new(created.vm(), vcpus, page),
                ioeventfds <- IoEventFds::new(),
                irqfds <- IrqFds::new(created.vm(), interrupts.clone()),
                interrupts,
                memory <- memory,
                control <- new_mutex!(PassthroughDevices::default()),
                state: Atomic::new(VmState::Created as u32),
                destroy_timed_out: Atomic::new(false),
                _count: Counted::new(&object_count::VMS),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the hypervisor's id of the VM.
    pub(crate) fn id(&self) -> VmId {
        self.id
    }

    /// Returns a snapshot of the VM. Does not wait.
    pub(crate) fn status(&self) -> Status {
        Status {
            vm: self.id,
            state: self.state(),
            vcpus: self.requests.vcpus().get(),
            mapped_bytes: self.memory.mapped_bytes(),
            parked_bytes: self.memory.parked_bytes(),
            has_client: self.requests.has_client(),
            ioeventfds: self.ioeventfds.count(),
            irqfds: self.irqfds.count(),
            requests: self.requests.counts(),
        }
    }

    fn state(&self) -> VmState {
        VmState::from_number(self.state.load(ordering::Acquire))
    }

    fn set_state(&self, state: VmState) {
        self.state.store(state as u32, ordering::Release);
    }

    /// Fails with `ENODEV` if the hypervisor has destroyed the VM.
    pub(crate) fn check_alive(&self) -> Result {
        match self.state() {
            VmState::Ended => Err(ENODEV),
            VmState::Created | VmState::Running | VmState::Paused => Ok(()),
        }
    }

    /// Returns the I/O requests.
    pub(crate) fn requests(&self) -> &IoRequests {
        &self.requests
    }

    /// Returns the ioeventfds.
    pub(crate) fn ioeventfds(&self) -> &IoEventFds {
        &self.ioeventfds
    }

    /// Returns the irqfds.
    pub(crate) fn irqfds(&self) -> &IrqFds {
        &self.irqfds
    }

    /// Returns the memory.
    pub(crate) fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Tells the hypervisor to write requests to the VM's request page.
    pub(crate) fn set_request_page(&self) -> Result {
        self.with_control(|_| self.requests.set_page())
    }

    /// Runs `command` while the VM's id names this VM, one command at a time.
    ///
    /// Fails with `ENODEV` if the hypervisor has destroyed the VM, which it has as well if
    /// DESTROY_VM timed out: the id may name another VM, of which the driver does not know until
    /// CREATE_VM returns.
    ///
    /// Other hypercalls with the id need no such check. Interrupts and notifications end when the
    /// VM is paused, and the hypervisor destroys paused VMs only. They would continue only if a
    /// PAUSE_VM had failed as well, although it paused the VM. What UNSET_MEMSEG and MMU notifiers
    /// unmap, another VM does not have yet.
    fn with_control<T>(
        &self,
        command: impl FnOnce(&mut PassthroughDevices) -> Result<T>,
    ) -> Result<T> {
        let mut devices = self.lock_control()?;
        if self.destroy_timed_out.load(ordering::Relaxed) {
            return Err(ENODEV);
        }
        command(&mut devices)
    }

    /// Locks `control`, even if DESTROY_VM timed out. For DESTROY_VM itself, which the registry
    /// makes while no VM is created.
    ///
    /// Fails with `ENODEV` if the hypervisor has destroyed the VM.
    fn lock_control(&self) -> Result<MutexGuard<'_, PassthroughDevices>> {
        let devices = self.control.lock();
        self.check_alive()?;
        Ok(devices)
    }

    /// Starts the VM (START_VM).
    pub(crate) fn start(&self) -> Result {
        self.with_control(|_| {
            self.memory.started();
            let start = || hypercall::start_vm(self.id);
            self.irqfds.start_with(|| self.requests.start_with(start))?;
            self.set_state(VmState::Running);
            Ok(())
        })
    }

    /// Pauses the VM (PAUSE_VM).
    pub(crate) fn pause(&self) -> Result {
        let released = self.with_control(|_| self.pause_and(|pause| self.memory.pause_with(pause)));
        // Unpins the pages here, where no lock of the VM is held.
        released.map(drop)
    }

    /// Pauses the VM by `run`, which makes the hypercall once. Under `control`.
    fn pause_and<T>(
        &self,
        run: impl FnOnce(&dyn Fn() -> Result<Option<Stopped>>) -> Result<T>,
    ) -> Result<T> {
        let was_paused = self.state() == VmState::Paused;
        let pause = || {
            let pause = || hypercall::pause_vm(self.id);
            let paused = self.requests.pause_with(pause)?;
            // SAFETY: The VM was not paused. `run` makes the hypercall once, and `control` is
            // locked.
            Ok((!was_paused).then(|| unsafe { paused.stopped() }))
        };
        let result = self.irqfds.stop_with(|| run(&pause))?;
        self.set_state(VmState::Paused);
        Ok(result)
    }

    /// Resets the VM (RESET_VM). The caller ensures that no other command for the VM is in
    /// progress.
    pub(crate) fn reset(&self) -> Result {
        let released = self.with_control(|_| {
            let reset = || hypercall::reset_vm(self.id);
            let proof = self.requests.reset_with(reset)?;
            self.interrupts.resume();
            self.set_state(VmState::Created);
            Ok(self.memory.reset(&proof))
        });
        // Unpins the pages here, where no lock of the VM is held.
        released.map(drop)
    }

    /// Destroys the VM (DESTROY_VM).
    ///
    /// Fails with `EPERM` if the VM is not paused, and leaves it as it was.
    pub(crate) fn destroy(&self) -> Result {
        let mut devices = self.lock_control()?;
        // The hypervisor destroys no other.
        if self.state() == VmState::Paused {
            devices.give_back_mmio(self.id);
        }
        self.destroy_without_mmio(&mut devices)
    }

    /// Pauses and destroys the VM, which the device model cannot reset or start in between.
    pub(crate) fn pause_and_destroy(&self) -> Result {
        let mut devices = self.lock_control()?;
        // If this fails, DESTROY_VM returns the error that matters. If not, the end of the VM
        // releases all pins.
        let _ = self.pause_and(|pause| pause().map(drop));
        devices.give_back_mmio(self.id);
        self.destroy_without_mmio(&mut devices)
    }

    /// Destroys the VM, whose MMIO devices were given back. It gets them again if it was not
    /// paused. Under `control`.
    fn destroy_without_mmio(&self, devices: &mut PassthroughDevices) -> Result {
        let destroyed = self.destroy_with(|| hypercall::destroy_vm(self.id));
        if destroyed == Err(EPERM) {
            devices.assign_mmio_again(self.id);
        }
        destroyed
    }

    /// Ends the VM without a hypercall: the hypervisor has given its id to another VM.
    pub(crate) fn end(&self, proof: Destroyed) {
        // Fails only if the VM has ended before.
        let _ = self
            .lock_control()
            .and_then(|_control| self.destroy_with(|| Ok(proof)));
        // The hypervisor has returned them an unknown time ago.
        let _ = self.take_devices();
    }

    /// Runs `destroy`, after which the hypervisor may give the VM's id to another VM, while nothing
    /// uses the id. If it fails, the VM is as before, or may be gone. Under `control`.
    fn destroy_with(&self, destroy: impl FnOnce() -> Result<Destroyed>) -> Result {
        let destroyed = self.irqfds.stop_with(|| {
            self.memory
                .destroy_with(|| self.requests.destroy_with(destroy))
        });
        if destroyed == Err(ETIMEDOUT) {
            self.destroy_timed_out.store(true, ordering::Relaxed);
        }
        destroyed?;
        self.set_state(VmState::Ended);
        Ok(())
    }

    /// Releases all eventfds.
    pub(crate) fn release_eventfds(&self) {
        self.irqfds.clear();
        self.ioeventfds.clear(&self.requests);
    }

    /// Returns whether the VM has PCI devices.
    pub(crate) fn has_pci_devices(&self) -> bool {
        self.control.lock().have_pci()
    }

    /// Takes the PCI devices, as [`PassthroughDevices::take`].
    pub(crate) fn take_devices(&self) -> PciDevices {
        self.control.lock().take(self.id)
    }

    /// Injects an MSI (INJECT_MSI).
    pub(crate) fn inject_msi(&self, msi: &uapi::acrn_msi_entry) -> Result {
        self.inject(|interrupts| interrupts.inject_msi(msi, None))
    }

    /// Drives an interrupt line (SET_IRQLINE).
    pub(crate) fn set_irqline(&self, line: u64) -> Result {
        self.inject(|interrupts| interrupts.set_irqline(line))
    }

    /// Injects an interrupt. Waits while it is held back.
    fn inject(&self, inject: impl Fn(&Interrupts) -> Injected) -> Result {
        loop {
            match inject(&self.interrupts) {
                Injected::Sent(result) | Injected::Dropped(result) => return result,
                // `control` is locked for as long as injection is held back.
                Injected::Held => drop(self.lock_control()?),
            }
        }
    }

    /// Reads interrupt counts (VM_INTR_MONITOR).
    pub(crate) fn monitor_interrupts(&self, page: UserSlice) -> Result {
        let (reader, mut writer) = page.reader_writer();
        let mut monitor = Contiguous::<InterruptMonitor>::from_user(reader)?;
        self.with_control(|_| hypercall::vm_intr_monitor(self.id, &mut monitor))?;
        writer.write(monitor.counts())
    }

    /// Makes a hypercall that needs nothing but its parameter.
    pub(crate) fn forward<T>(
        &self,
        hypercall: fn(VmId, &Contiguous<T>) -> Result,
        parameter: &Contiguous<T>,
    ) -> Result {
        self.with_control(|_| hypercall(self.id, parameter))
    }

    /// Passes a PCI device through to the VM (ASSIGN_PCIDEV). Waits while it, or any other, is
    /// quiesced.
    pub(crate) fn assign_pcidev(&self, device: &Contiguous<uapi::acrn_pcidev>) -> Result {
        let _owners = PCI_OWNERS.lock();
        self.with_control(|devices| {
            devices.reserve()?;
            // Adding a device releases no pins.
            drop(self.memory.set_devices(devices.count() + 1));
            let assigned = hypercall::assign_pcidev(self.id, device);
            if assigned.is_ok() {
                devices.add(device.phys_bdf);
            }
            Ok((assigned, self.memory.set_devices(devices.count())))
        })
        .and_then(|(assigned, _released)| assigned)
    }

    /// Takes a PCI device back (DEASSIGN_PCIDEV).
    pub(crate) fn deassign_pcidev(&self, device: &Contiguous<uapi::acrn_pcidev>) -> Result {
        let released = self.with_control(|devices| {
            hypercall::deassign_pcidev(self.id, device)?;
            devices.remove(device.phys_bdf);
            Ok(self.memory.set_devices(devices.count()))
        });
        // Unpins the pages here, where no lock of the VM is held.
        released.map(drop)
    }

    /// Passes an MMIO device through to the VM (ASSIGN_MMIODEV).
    pub(crate) fn assign_mmiodev(&self, device: Contiguous<MmioDevice>) -> Result {
        self.with_control(|devices| devices.assign_mmio(self.id, device))
    }

    /// Takes an MMIO device back (DEASSIGN_MMIODEV).
    pub(crate) fn deassign_mmiodev(&self, device: &Contiguous<MmioDevice>) -> Result {
        self.with_control(|devices| devices.deassign_mmio(self.id, device))
    }

    /// Reads power management data of a CPU (PM_GET_CPU_STATE).
    pub(crate) fn cpu_state(&self, command: power::PmCommand) -> Result<power::Answer> {
        self.with_control(|_| command.run(self.id))
    }
}

impl fmt::Display for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}
