// SPDX-License-Identifier: GPL-2.0

//! Requests as a 32-bit program makes them: by `int 0x80`, with all memory below 4 GiB.
//!
//! A 64-bit process may do that too, and spares the test-bed a second set of libraries.

use std::{
    arch::asm,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use acrn_selftests::{
    cleanup,
    device::Device,
    guest_memory::{GuestMemory, PAGE},
};
use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Number of `ioctl` on i386.
const IOCTL: i64 = 54;

/// The device as a 32-bit program has it open.
pub struct CompatDevice(Device);

impl CompatDevice {
    /// Opens it. The error says why the test has to be skipped.
    pub fn open() -> Result<Self, String> {
        Device::open().map(Self)
    }

    /// Makes a request whose argument is a number, or an address where no user memory can be.
    pub fn number(&self, request: u32, argument: u32) -> Result<(), Errno> {
        // SAFETY: the driver is given no memory of ours.
        unsafe { self.call(request, argument) }
    }

    /// Makes a request without an argument.
    pub fn plain(&self, request: u32) -> Result<(), Errno> {
        self.number(request, 0)
    }

    /// Makes a request whose argument is at `offset` of `area`.
    pub fn at(&self, request: u32, memory: &GuestMemory, offset: usize) -> Result<(), Errno> {
        let address = u32::try_from(memory.address() + offset as u64);
        // SAFETY: an `GuestMemory` is no memory of Rust's, and is only accessed by volatile reads and writes.
        unsafe { self.call(request, address.expect("memory below 4 GiB")) }
    }

    /// Makes a request with bytes that end where memory ends; what they are afterwards.
    pub fn bytes(&self, request: u32, bytes: &[u8]) -> Result<Vec<u8>, Errno> {
        let memory = GuestMemory::low(2 * PAGE);
        memory.unmap(PAGE, PAGE);
        let offset = PAGE - bytes.len();
        memory.write_bytes(offset, bytes);
        self.at(request, &memory, offset)?;
        Ok((offset..PAGE).map(|at| memory.read(at)).collect())
    }

    /// Makes a request with a structure, in and out.
    pub fn with<T: FromBytes + IntoBytes + Immutable>(
        &self,
        request: u32,
        value: &T,
    ) -> Result<T, Errno> {
        let bytes = self.bytes(request, value.as_bytes())?;
        Ok(T::read_from_bytes(&bytes).expect("as many bytes as before"))
    }

    /// From now on there is a VM to be ended before the file is closed.
    pub fn learn(&self) {
        cleanup::register(&self.0);
    }

    /// The same file, as a 64-bit program has it.
    pub fn wide(&self) -> &Device {
        &self.0
    }

    /// # Safety
    ///
    /// The driver may read and write what the number of the request says at `argument`.
    unsafe fn call(&self, request: u32, argument: u32) -> Result<(), Errno> {
        let status: i64;
        // SAFETY: by the contract of this function. A system call by this gate preserves all registers but
        // RAX, and on some kernels R8 to R11. RBX, which the compiler keeps for itself, is put back.
        unsafe {
            asm!(
                "xchg {file:r}, rbx",
                "int 0x80",
                "xchg {file:r}, rbx",
                file = inout(reg) i64::from(self.0.as_fd().as_raw_fd()) => _,
                inlateout("rax") IOCTL => status,
                in("rcx") u64::from(request),
                in("rdx") u64::from(argument),
                lateout("r8") _,
                lateout("r9") _,
                lateout("r10") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        // The result has 32 bits.
        match status as i32 {
            0.. => Ok(()),
            error => Err(Errno::from_raw(-error)),
        }
    }
}

impl AsFd for CompatDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
