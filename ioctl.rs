// SPDX-License-Identifier: GPL-2.0

//! `/dev/acrn_hsm`: one open file is one place for a VM, and a table of commands.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        object_count::{
            self,
            Counted, //
        },
        rwsem::RwSemaphore, //
    },
    hypercall::{
        self,
        PtdevInterrupt, //
    },
    mm::Segment,
    power::{
        Layout,
        Question, //
    },
    registry,
    uapi::{
        self,
        command, //
    },
    vm::Vm,
};
use kernel::{
    c_str,
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    page::PAGE_MASK,
    prelude::*,
    seq_file::SeqFile,
    seq_print, static_lock_class,
    sync::Arc,
    transmute::FromBytes,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// What stands behind an open file.
enum Place {
    /// No VM: before CREATE_VM, and after DESTROY_VM.
    Empty,
    /// A VM.
    Taken(Arc<Vm>),
}

impl Place {
    /// The VM. Fails with `EINVAL` if there is none, with `ENODEV` if the hypervisor has it no more.
    fn vm(&self) -> Result<&Vm> {
        let Self::Taken(vm) = self else {
            return Err(EINVAL);
        };
        vm.check_alive()?;
        Ok(vm)
    }
}

/// An open file of the device.
///
/// Commands hold `place` shared while they run, so that the VM does not go away under them; what
/// changes the VM as a whole holds it alone. Waiting for requests holds nothing.
#[pin_data]
pub(crate) struct HsmFile {
    #[pin]
    place: RwSemaphore<Place>,
    _live: Counted,
}

/// The argument of a command: a number, or the address of a structure.
#[derive(Clone, Copy)]
struct Argument {
    value: usize,
    layout: Layout,
}

impl Argument {
    fn bytes(self, length: usize) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.value), length)
    }

    fn slice<T>(self) -> UserSlice {
        self.bytes(size_of::<T>())
    }

    /// A structure at the start of the page that the address is in.
    fn page_slice<T>(self) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.value & PAGE_MASK), size_of::<T>())
    }

    fn copy<T: FromBytes>(self) -> Result<T> {
        self.slice::<T>().reader().read()
    }

    fn contiguous<T: FromBytes>(self) -> Result<Contiguous<T>> {
        Contiguous::from_user(self.slice::<T>().reader())
    }

    fn segment(self) -> Result<Segment> {
        self.copy::<uapi::acrn_vm_memmap>()?.try_into()
    }

    fn ptdev_interrupt(self) -> Result<Contiguous<PtdevInterrupt>> {
        Contiguous::new(self.copy::<uapi::acrn_ptdev_irq>()?.into())
    }
}

#[vtable]
impl MiscDevice for HsmFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        KBox::pin_init(
            pin_init!(Self {
                place <- RwSemaphore::new(
                    Place::Empty,
                    c_str!("acrn_hsm_file"),
                    static_lock_class!(),
                ),
                _live: Counted::new(&object_count::FILES),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn release(mut device: Self::Ptr, _file: &File) {
        let place = RwSemaphore::get_mut(device.as_mut().project().place);
        if let Place::Taken(vm) = core::mem::replace(place, Place::Empty) {
            registry::release(vm);
        }
    }

    fn ioctl(device: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let argument = Argument {
            value: arg,
            layout: Layout::Native,
        };
        device.command(cmd, argument)
    }

    #[cfg(CONFIG_COMPAT)]
    fn compat_ioctl(device: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let argument = Argument {
            value: arg,
            layout: Layout::I386,
        };
        let cmd = match cmd {
            command::VM_INTR_MONITOR_I386 => command::VM_INTR_MONITOR,
            command::SET_VCPU_REGS_I386 => {
                let bytes = argument.bytes(command::VCPU_REGS_I386);
                let set = |vm: &Vm| vm.set_vcpu_regs(&Contiguous::from_user(bytes.reader())?);
                return device.with_vm(set).map(|()| 0);
            }
            cmd => cmd,
        };
        device.command(cmd, argument)
    }

    fn show_fdinfo(device: Pin<&Self>, seq_file: &SeqFile, _file: &File) {
        // A process decides how long its commands take: looking at it does not wait for them.
        match device.place.try_read().as_deref() {
            Some(Place::Taken(vm)) => seq_print!(seq_file, "{}", vm.status()),
            Some(Place::Empty) => seq_print!(seq_file, "state:\tempty\n"),
            None => seq_print!(seq_file, "state:\tbusy\n"),
        }
    }
}

/// Commands for a VM that exists and that do not change whether it does.
fn vm_command(vm: &Vm, cmd: u32, argument: Argument) -> Result {
    match cmd {
        command::START_VM => vm.start(),
        command::PAUSE_VM => vm.pause(),
        command::SET_VCPU_REGS => vm.set_vcpu_regs(&argument.contiguous()?),
        command::INJECT_MSI => vm.inject_msi(&argument.copy()?),
        command::VM_INTR_MONITOR => {
            vm.monitor_interrupts(argument.page_slice::<hypercall::InterruptCounts>())
        }
        command::SET_IRQLINE => vm.set_irqline(argument.value as u64),
        command::SET_MEMSEG => vm.set_memory_segment(argument.segment()?),
        command::UNSET_MEMSEG => vm.unset_memory_segment(argument.segment()?),
        command::CREATE_IOREQ_CLIENT => vm.requests().create_client(),
        command::DESTROY_IOREQ_CLIENT => {
            vm.requests().destroy_client();
            Ok(())
        }
        command::NOTIFY_REQUEST_FINISH => {
            let notify: uapi::acrn_ioreq_notify = argument.copy()?;
            if notify.reserved != 0 || notify.vmid != vm.id().into() {
                return Err(EINVAL);
            }
            vm.requests().finish(notify.vcpu)
        }
        command::CLEAR_VM_IOREQ => {
            vm.requests().clear();
            Ok(())
        }
        command::SET_PTDEV_INTR => {
            vm.device(hypercall::set_ptdev_intr, &argument.ptdev_interrupt()?)
        }
        command::RESET_PTDEV_INTR => {
            vm.device(hypercall::reset_ptdev_intr, &argument.ptdev_interrupt()?)
        }
        command::ASSIGN_PCIDEV => vm.assign_pcidev(&argument.contiguous()?),
        command::DEASSIGN_PCIDEV => vm.deassign_pcidev(&argument.contiguous()?),
        command::ASSIGN_MMIODEV => vm.device(hypercall::assign_mmiodev, &argument.contiguous()?),
        command::DEASSIGN_MMIODEV => {
            vm.device(hypercall::deassign_mmiodev, &argument.contiguous()?)
        }
        command::CREATE_VDEV => vm.device(hypercall::create_vdev, &argument.contiguous()?),
        command::DESTROY_VDEV => vm.device(hypercall::destroy_vdev, &argument.contiguous()?),
        command::PM_GET_CPU_STATE => {
            let answer = vm.cpu_state(Question::new(argument.copy()?))?;
            answer.write(|length| argument.bytes(length), argument.layout)
        }
        command::IOEVENTFD => vm.ioeventfds().configure(vm.requests(), &argument.copy()?),
        command::IRQFD => vm.irqfds().configure(&argument.copy()?),
        _ => Err(ENOTTY),
    }
}

impl HsmFile {
    fn command(&self, cmd: u32, argument: Argument) -> Result<isize> {
        match cmd {
            command::CREATE_VM => self.create(argument),
            command::DESTROY_VM => self.destroy(),
            command::RESET_VM => self.exclusively(Vm::reset),
            command::ATTACH_IOREQ_CLIENT => {
                // Not under the lock: DESTROY_VM must be able to end the wait.
                let client = self.with_vm(|vm| vm.requests().client())?;
                client.wait()
            }
            _ => self.with_vm(|vm| vm_command(vm, cmd, argument)),
        }?;
        Ok(0)
    }

    /// CREATE_VM: fails with `EEXIST` while there is a VM.
    fn create(&self, argument: Argument) -> Result {
        let mut place = self.place.write_killable()?;
        if let Place::Taken(vm) = &*place {
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
        *place = Place::Taken(vm);
        Ok(())
    }

    /// DESTROY_VM: the place is empty after success only.
    fn destroy(&self) -> Result {
        let mut place = self.place.write_killable()?;
        let Place::Taken(vm) = &*place else {
            return Err(EINVAL);
        };
        registry::destroy(vm)?;
        *place = Place::Empty;
        Ok(())
    }

    /// Runs `command` on the VM, beside others.
    fn with_vm<T>(&self, command: impl FnOnce(&Vm) -> Result<T>) -> Result<T> {
        command(self.place.read_killable()?.vm()?)
    }

    /// Runs `command` on the VM, with no other beside it.
    fn exclusively(&self, command: impl FnOnce(&Vm) -> Result) -> Result {
        command(self.place.write_killable()?.vm()?)
    }
}
