// SPDX-License-Identifier: GPL-2.0

//! Requests of a 32-bit program: by `int 0x80`, with all memory below 4 GiB.
//!
//! A 64-bit process may make them, too, so the test-bed needs no second set of libraries.

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

/// The device as opened by a 32-bit program.
pub struct CompatDevice(Device);

impl CompatDevice {
    /// Opens the device. The error says why the test must be skipped.
    pub fn open() -> Result<Self, String> {
        Device::open().map(Self)
    }

    /// Makes a request whose argument is a number, or an address without user memory.
    pub fn number(&self, request: u32, argument: u32) -> Result<(), Errno> {
        // SAFETY: The driver gets no address of Rust's memory.
        unsafe { self.call(request, argument) }
    }

    /// Makes a request without an argument.
    pub fn plain(&self, request: u32) -> Result<(), Errno> {
        self.number(request, 0)
    }

    /// Makes a request whose argument is at `offset` of `memory`.
    pub fn at(&self, request: u32, memory: &GuestMemory, offset: usize) -> Result<(), Errno> {
        let address = u32::try_from(memory.address() + offset as u64);
        // SAFETY: A `GuestMemory` is no memory of Rust's, and is only accessed by volatile reads
        // and writes.
        unsafe { self.call(request, address.expect("memory below 4 GiB")) }
    }

    /// Makes a request with bytes that end where accessible memory ends. Returns the bytes
    /// afterwards.
    pub fn bytes(&self, request: u32, bytes: &[u8]) -> Result<Vec<u8>, Errno> {
        let memory = GuestMemory::low(2 * PAGE);
        memory.unmap(PAGE, PAGE);
        let offset = PAGE - bytes.len();
        memory.write_bytes(offset, bytes);
        self.at(request, &memory, offset)?;
        Ok((offset..PAGE).map(|at| memory.read(at)).collect())
    }

    /// Makes a request with a structure. Returns the structure afterwards.
    pub fn with<T: FromBytes + IntoBytes + Immutable>(
        &self,
        request: u32,
        value: &T,
    ) -> Result<T, Errno> {
        let bytes = self.bytes(request, value.as_bytes())?;
        Ok(T::read_from_bytes(&bytes).expect("as many bytes as before"))
    }

    /// Registers the VM, so that it is destroyed before the file is closed.
    pub fn learn(&self) {
        cleanup::register(&self.0);
    }

    /// The same file as used by a 64-bit program.
    pub fn wide(&self) -> &Device {
        &self.0
    }

    /// # Safety
    ///
    /// The driver may read and write the bytes at `argument` that the number of the request
    /// implies.
    unsafe fn call(&self, request: u32, argument: u32) -> Result<(), Errno> {
        let status: i64;
        // SAFETY: The caller guarantees that the driver may access the argument. A system call by
        // this gate preserves all registers except RAX, and on some kernels R8 to R11. RBX, which
        // the compiler reserves, is restored.
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
