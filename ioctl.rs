// SPDX-License-Identifier: GPL-2.0

//! `/dev/acrn_hsm`: an open file has a slot for a VM, and a table of commands.
//!
//! This decodes commands. A command that needs the state of the VM is a method of [`Vm`] or of one
//! of its parts; any other is forwarded to a hypercall.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        object_count::{
            self,
            Counted, //
        },
        rwsem::{
            new_rwsem,
            RwSemaphore, //
        },
    },
    hypercall::{
        self,
        MmioDevice,
        PtdevInterrupt, //
    },
    power::PmCommand,
    registry,
    uapi::{
        self,
        Abi,
        Reserved, //
    },
    vm::Vm,
};
use kernel::{
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    page::PAGE_MASK,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc,
    transmute::FromBytes,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// The slot for a VM: empty before CREATE_VM and after DESTROY_VM.
#[derive(Default)]
struct VmSlot(Option<Arc<Vm>>);

impl VmSlot {
    /// Returns the VM.
    ///
    /// Fails with `EINVAL` if there is none, and with `ENODEV` if the hypervisor has destroyed it.
    fn vm(&self) -> Result<&Vm> {
        let vm = self.0.as_ref().ok_or(EINVAL)?;
        vm.check_alive()?;
        Ok(vm)
    }
}

/// An open file of the device.
///
/// Commands hold `vm` shared while they run, so that the VM stays. Commands that change the VM as
/// a whole hold it exclusively. A wait for requests does not hold it.
#[pin_data]
pub(crate) struct HsmFile {
    #[pin]
    vm: RwSemaphore<VmSlot>,
    _count: Counted,
}

/// The argument of a command: a number, or the address of a structure.
#[derive(Clone, Copy)]
struct Argument {
    value: usize,
    abi: Abi,
}

impl Argument {
    fn bytes(self, length: usize) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.value), length)
    }

    fn slice<T>(self) -> UserSlice {
        self.bytes(size_of::<T>())
    }

    /// Returns the slice of a structure at the beginning of the page that contains the address.
    fn page_slice<T>(self) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.value & PAGE_MASK), size_of::<T>())
    }

    /// Copies a structure.
    ///
    /// Fails with `EFAULT` if it cannot be read, and with `EINVAL` if a reserved field is not 0.
    fn copy<T: FromBytes + Reserved>(self) -> Result<T> {
        let argument: T = self.slice::<T>().reader().read()?;
        argument
            .is_reserved_zero()
            .then_some(argument)
            .ok_or(EINVAL)
    }

    /// Copies the first `length` bytes of a structure to memory that the hypervisor can access.
    /// Fails as [`Self::copy`].
    fn copy_contiguous<T: FromBytes + Reserved>(self, length: usize) -> Result<Contiguous<T>> {
        let argument = Contiguous::<T>::from_user(self.bytes(length).reader())?;
        argument
            .is_reserved_zero()
            .then_some(argument)
            .ok_or(EINVAL)
    }

    /// Copies a structure to memory that the hypervisor can access. Fails as [`Self::copy`].
    fn contiguous<T: FromBytes + Reserved>(self) -> Result<Contiguous<T>> {
        self.copy_contiguous(size_of::<T>())
    }

    fn ptdev_interrupt(self) -> Result<Contiguous<PtdevInterrupt>> {
        Contiguous::new(self.copy::<uapi::acrn_ptdev_irq>()?.into())
    }

    fn mmio_device(self) -> Result<Contiguous<MmioDevice>> {
        Contiguous::new(self.copy::<uapi::acrn_mmiodev>()?.try_into()?)
    }
}

#[vtable]
impl MiscDevice for HsmFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        KBox::pin_init(
            pin_init!(Self {
                vm <- new_rwsem!(VmSlot::default(), "acrn_hsm_file"),
                _count: Counted::new(&object_count::FILES),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn release(mut device: Self::Ptr, _file: &File) {
        let slot = RwSemaphore::get_mut(device.as_mut().project().vm);
        if let Some(vm) = slot.0.take() {
            registry::release(vm);
        }
    }

    fn ioctl(device: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let argument = Argument {
            value: arg,
            abi: Abi::Native,
        };
        device.command(cmd, argument)
    }

    #[cfg(CONFIG_COMPAT)]
    fn compat_ioctl(device: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let argument = Argument {
            value: arg,
            abi: Abi::I386,
        };
        let cmd = match cmd {
            uapi::ACRN_IOCTL_VM_INTR_MONITOR_I386 => uapi::ACRN_IOCTL_VM_INTR_MONITOR,
            uapi::ACRN_IOCTL_SET_VCPU_REGS_I386 => {
                let set = |vm: &Vm| {
                    let registers = argument.copy_contiguous(uapi::VCPU_REGS_I386)?;
                    vm.forward(hypercall::set_vcpu_regs, &registers)
                };
                return device.with_vm(set).map(|()| 0);
            }
            cmd => cmd,
        };
        device.command(cmd, argument)
    }

    fn show_fdinfo(device: Pin<&Self>, seq_file: &SeqFile, _file: &File) {
        // A process decides how long its commands take, so this does not wait for them.
        match device.vm.try_read().as_deref() {
            Some(VmSlot(Some(vm))) => seq_print!(seq_file, "{}", vm.status()),
            Some(VmSlot(None)) => seq_print!(seq_file, "state:\tempty\n"),
            None => seq_print!(seq_file, "state:\tbusy\n"),
        }
    }
}

/// Runs a command that needs a VM and does not create or destroy it.
fn vm_command(vm: &Vm, cmd: u32, argument: Argument) -> Result {
    match cmd {
        uapi::ACRN_IOCTL_START_VM => vm.start(),
        uapi::ACRN_IOCTL_PAUSE_VM => vm.pause(),
        uapi::ACRN_IOCTL_SET_VCPU_REGS => {
            vm.forward(hypercall::set_vcpu_regs, &argument.contiguous()?)
        }
        uapi::ACRN_IOCTL_INJECT_MSI => vm.inject_msi(&argument.copy()?),
        uapi::ACRN_IOCTL_VM_INTR_MONITOR => {
            vm.monitor_interrupts(argument.page_slice::<hypercall::InterruptCounts>())
        }
        uapi::ACRN_IOCTL_SET_IRQLINE => vm.set_irqline(argument.value as u64),
        uapi::ACRN_IOCTL_SET_MEMSEG => {
            let segment: uapi::acrn_vm_memmap = argument.copy()?;
            vm.memory().map(segment.try_into()?)
        }
        uapi::ACRN_IOCTL_UNSET_MEMSEG => {
            let segment: uapi::acrn_vm_memmap = argument.copy()?;
            vm.memory().unmap(segment.try_into()?)
        }
        uapi::ACRN_IOCTL_CREATE_IOREQ_CLIENT => vm.requests().create_client(),
        uapi::ACRN_IOCTL_DESTROY_IOREQ_CLIENT => {
            vm.requests().destroy_client();
            Ok(())
        }
        uapi::ACRN_IOCTL_NOTIFY_REQUEST_FINISH => {
            let notify: uapi::acrn_ioreq_notify = argument.copy()?;
            if notify.vmid != vm.id().into() {
                return Err(EINVAL);
            }
            vm.requests().finish(notify.vcpu)
        }
        uapi::ACRN_IOCTL_CLEAR_VM_IOREQ => {
            vm.requests().clear();
            Ok(())
        }
        uapi::ACRN_IOCTL_SET_PTDEV_INTR => {
            vm.forward(hypercall::set_ptdev_intr, &argument.ptdev_interrupt()?)
        }
        uapi::ACRN_IOCTL_RESET_PTDEV_INTR => {
            vm.forward(hypercall::reset_ptdev_intr, &argument.ptdev_interrupt()?)
        }
        uapi::ACRN_IOCTL_ASSIGN_PCIDEV => vm.assign_pcidev(&argument.contiguous()?),
        uapi::ACRN_IOCTL_DEASSIGN_PCIDEV => vm.deassign_pcidev(&argument.contiguous()?),
        uapi::ACRN_IOCTL_ASSIGN_MMIODEV => vm.assign_mmiodev(argument.mmio_device()?),
        uapi::ACRN_IOCTL_DEASSIGN_MMIODEV => vm.deassign_mmiodev(&argument.mmio_device()?),
        uapi::ACRN_IOCTL_CREATE_VDEV => vm.forward(hypercall::create_vdev, &argument.contiguous()?),
        uapi::ACRN_IOCTL_DESTROY_VDEV => {
            vm.forward(hypercall::destroy_vdev, &argument.contiguous()?)
        }
        uapi::ACRN_IOCTL_PM_GET_CPU_STATE => {
            let answer = vm.cpu_state(PmCommand::from(argument.copy::<u64>()?))?;
            answer.write(|length| argument.bytes(length), argument.abi)
        }
        uapi::ACRN_IOCTL_IOEVENTFD => vm.ioeventfds().configure(vm.requests(), &argument.copy()?),
        uapi::ACRN_IOCTL_IRQFD => vm.irqfds().configure(&argument.copy()?),
        _ => Err(ENOTTY),
    }
}

impl HsmFile {
    fn command(&self, cmd: u32, argument: Argument) -> Result<isize> {
        match cmd {
            uapi::ACRN_IOCTL_CREATE_VM => self.create(argument),
            uapi::ACRN_IOCTL_DESTROY_VM => self.destroy(),
            uapi::ACRN_IOCTL_RESET_VM => self.vm.write_killable()?.vm()?.reset(),
            uapi::ACRN_IOCTL_ATTACH_IOREQ_CLIENT => {
                // Not under the lock: DESTROY_VM must be able to end the wait.
                let client = self.with_vm(|vm| vm.requests().client())?;
                client.wait()
            }
            _ => self.with_vm(|vm| vm_command(vm, cmd, argument)),
        }?;
        Ok(0)
    }

    /// Creates a VM (CREATE_VM).
    ///
    /// Fails with `EEXIST` if there is one.
    fn create(&self, argument: Argument) -> Result {
        let mut slot = self.vm.write_killable()?;
        if let Some(vm) = &slot.0 {
            vm.check_alive()?;
            return Err(EEXIST);
        }
        let mut parameter = argument.contiguous::<uapi::acrn_vm_creation>()?;
        let vm = registry::create(&mut parameter)?;
        let written = argument
            .slice::<uapi::acrn_vm_creation>()
            .writer()
            .write(&*parameter);
        if written.is_err() {
            registry::release(vm);
            return written;
        }
        slot.0 = Some(vm);
        Ok(())
    }

    /// Destroys the VM (DESTROY_VM). The slot is empty if this succeeds.
    fn destroy(&self) -> Result {
        let mut slot = self.vm.write_killable()?;
        registry::destroy(slot.0.as_ref().ok_or(EINVAL)?)?;
        slot.0 = None;
        Ok(())
    }

    /// Runs `command` on the VM. Other commands may run at the same time.
    fn with_vm<T>(&self, command: impl FnOnce(&Vm) -> Result<T>) -> Result<T> {
        command(self.vm.read_killable()?.vm()?)
    }
}
