// SPDX-License-Identifier: GPL-2.0

//! `/dev/acrn_hsm` without checks: any request with any argument.

use std::{
    env,
    fs::{File, OpenOptions},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::LazyLock,
};

use acrn_ioctls::RequestPage;
use acrn_uapi::{acrn_msi_entry, acrn_vm_creation, ioctl::*};
use nix::errno::Errno;
use zerocopy::FromBytes;

use crate::{cleanup, eventfd::Eventfd, guest_memory::GuestMemory};

/// MSI address of the vCPU with APIC id 0.
pub const APIC: u64 = 0xfee0_0000;

/// The argument of a request.
pub enum Argument<'a> {
    /// The address of the byte at this offset in a mapping.
    At(&'a GuestMemory, usize),
    /// A number, or an address without user memory: below 64 KiB or beyond user space.
    Number(u64),
}

impl Argument<'static> {
    /// An address in the first page, which is never mapped.
    pub const NULL: Self = Self::Number(0);
    /// An address beyond user space, which the kernel maps.
    pub const KERNEL: Self = Self::Number(0xffff_8880_0000_1000);
}

/// The open device.
pub struct Device(File);

impl Device {
    /// Opens the device. The error says why the test must be skipped.
    pub fn open() -> Result<Self, String> {
        let path = "/dev/acrn_hsm";
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Self).map_err(|error| format!("{path}: {error}"))
    }

    /// Makes a request.
    pub fn ioctl(&self, request: u32, argument: Argument<'_>) -> Result<(), Errno> {
        let argument = match argument {
            Argument::At(memory, offset) => memory.address() + offset as u64,
            Argument::Number(number) => number,
        };
        // SAFETY: The driver accesses no memory of Rust's there. The address is inside a mapping
        // that is only accessed by volatile reads and writes, or outside of user memory, as
        // `Number` requires.
        unsafe { self.call(request, argument) }
    }

    /// # Safety
    ///
    /// The driver may read and write the bytes at `argument` that the number of the request
    /// implies.
    unsafe fn call(&self, request: u32, argument: u64) -> Result<(), Errno> {
        // SAFETY: The caller guarantees it.
        let status = unsafe { libc::ioctl(self.0.as_raw_fd(), request as libc::Ioctl, argument) };
        Errno::result(status).map(drop)
    }

    /// Makes a request without an argument.
    pub fn plain(&self, request: u32) -> Result<(), Errno> {
        self.ioctl(request, Argument::NULL)
    }

    /// Makes a request with a structure.
    pub fn with<T: FromBytes>(&self, request: u32, value: &mut T) -> Result<(), Errno> {
        assert!(size_of::<T>() >= (request >> 16 & 0x3fff) as usize);
        // SAFETY: The value is borrowed mutably, it is as large as the request says, and any bytes
        // are a valid value.
        unsafe { self.call(request, (&raw mut *value) as u64) }
    }

    /// Makes CREATE_VM on the physical CPUs `cpus`.
    pub fn create(&self, page: &RequestPage, cpus: u64) -> Result<acrn_vm_creation, Errno> {
        self.create_with_flags(page, cpus, 0)
    }

    /// Makes CREATE_VM with `flags`.
    pub fn create_with_flags(
        &self,
        page: &RequestPage,
        cpus: u64,
        flags: u64,
    ) -> Result<acrn_vm_creation, Errno> {
        let mut creation = creation(page, cpus);
        creation.vm_flag = flags;
        self.create_as(creation)
    }

    /// Makes CREATE_VM with this argument.
    pub fn create_as(&self, mut creation: acrn_vm_creation) -> Result<acrn_vm_creation, Errno> {
        self.with(ACRN_IOCTL_CREATE_VM, &mut creation)?;
        cleanup::register(self);
        Ok(creation)
    }

    /// Makes IOEVENTFD for `len` bytes at `addr`.
    pub fn ioeventfd(&self, event: &Eventfd, flags: u32, addr: u64, len: u32) -> Result<(), Errno> {
        let mut argument = event.ioeventfd(flags, addr, len);
        self.with(ACRN_IOCTL_IOEVENTFD, &mut argument)
    }

    /// Makes IRQFD for an MSI.
    pub fn irqfd(
        &self,
        event: &Eventfd,
        flags: u32,
        msi_addr: u64,
        msi_data: u64,
    ) -> Result<(), Errno> {
        let mut argument = event.irqfd(flags, msi_addr, msi_data);
        self.with(ACRN_IOCTL_IRQFD, &mut argument)
    }

    /// Makes INJECT_MSI.
    pub fn inject_msi(&self, msi_addr: u64, msi_data: u64) -> Result<(), Errno> {
        let mut msi = acrn_msi_entry { msi_addr, msi_data };
        self.with(ACRN_IOCTL_INJECT_MSI, &mut msi)
    }

    /// Makes SET_IRQLINE.
    pub fn set_irqline(&self, gsi: u32, operation: u64) -> Result<(), Errno> {
        let argument = Argument::Number(u64::from(gsi) | operation << 32);
        self.ioctl(ACRN_IOCTL_SET_IRQLINE, argument)
    }

    /// Closes the file and leaves its VM to the driver.
    pub fn close(self) {
        cleanup::unregister(&self);
    }

    /// Duplicates the descriptor of an open file.
    pub fn sharing(file: &impl AsFd) -> Self {
        match file.as_fd().try_clone_to_owned() {
            Ok(file) => Self(file.into()),
            Err(error) => panic!("dup: {error}"),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        cleanup::destroy(self);
    }
}

/// Returns the parameter of CREATE_VM for a VM on the physical CPUs `cpus`.
///
/// The VM's name distinguishes this program's VMs from others, and VMs on different CPUs from each
/// other. A name keeps its VM id, so the id does not depend on the program that ran before.
pub fn creation(page: &RequestPage, cpus: u64) -> acrn_vm_creation {
    let mut creation = acrn_vm_creation {
        ioreq_buf: page.address(),
        cpu_affinity: cpus,
        ..Default::default()
    };
    let name = format!("{}-{cpus:x}", program());
    // The last byte stays zero.
    let len = name.len().min(creation.uuid.len() - 1);
    creation.uuid[..len].copy_from_slice(&name.as_bytes()[..len]);
    creation
}

/// Returns the name of this program. The harness calls it first, before a test lets allocations of
/// the kernel fail.
pub(crate) fn program() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let path = env::current_exe().expect("the program's path");
        let name = path.file_name().expect("the program's name");
        name.to_string_lossy().into_owned()
    });
    &NAME
}
