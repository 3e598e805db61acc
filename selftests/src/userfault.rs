// SPDX-License-Identifier: GPL-2.0

//! Memory whose pages are missing: the kernel waits when it needs one, for as long as a test wants it to.

use std::{
    fs::File,
    io::{self, Read},
    ops::Deref,
    os::fd::{AsRawFd, FromRawFd},
};

use crate::guest_memory::GuestMemory;

/// `_IOWR(0xAA, 0x3F, struct uffdio_api)`.
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;
/// `_IOWR(0xAA, 0x00, struct uffdio_register)`.
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;
const API: u64 = 0xaa;
const MODE_MISSING: u64 = 1;

/// The memory, whose missing pages our process must not touch.
pub struct UserfaultMemory {
    // Goes first: that ends the waiting.
    faults: File,
    memory: GuestMemory,
}

impl UserfaultMemory {
    /// `len` bytes. The error says why the test has to be skipped.
    pub fn new(len: usize) -> Result<Self, String> {
        Self::behind(0, len)
    }

    /// `len` bytes, of which the first `present` ones are ordinary memory. The error says why the test has to be
    /// skipped.
    pub fn behind(present: usize, len: usize) -> Result<Self, String> {
        Self::of(GuestMemory::anonymous(len), present)
    }

    /// The memory of `area`: what is missing of it now from the byte `present` on. The error says why the test has to be
    /// skipped.
    pub fn of(memory: GuestMemory, present: usize) -> Result<Self, String> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(|| format!("userfaultfd: {}", io::Error::last_os_error()))?;
        // SAFETY: a new descriptor, which nothing else uses.
        let faults = unsafe { File::from_raw_fd(fd) };
        configure(&faults, UFFDIO_API, &mut [API, 0, 0])?;
        let (start, rest) = (memory.address() + present as u64, memory.len() - present);
        let mut register = [start, rest as u64, MODE_MISSING, 0];
        configure(&faults, UFFDIO_REGISTER, &mut register)?;
        Ok(Self { faults, memory })
    }

    /// Returns when the kernel waits for a page.
    pub fn until_wanted(&self) {
        // A `struct uffd_msg`. It is not looked at: there is nothing that it could be but a fault.
        let mut message = [0; 32];
        (&self.faults).read_exact(&mut message).expect("a fault");
    }

    /// Gives a page of zeros to each fault that waits.
    pub fn provide(self) -> GuestMemory {
        drop(self.faults);
        self.memory
    }
}

/// Makes a request of which the structure consists of `words`.
fn configure<const WORDS: usize>(
    faults: &File,
    request: libc::Ioctl,
    words: &mut [u64; WORDS],
) -> Result<(), String> {
    assert_eq!(request >> 16 & 0x3fff, 8 * WORDS as libc::Ioctl);
    // SAFETY: the structure is borrowed mutably and as large as the request says. What is registered is an
    // `GuestMemory`, where the kernel may put pages at any time.
    let status = unsafe { libc::ioctl(faults.as_raw_fd(), request, words.as_mut_ptr()) };
    match status {
        0 => Ok(()),
        _ => Err(format!("userfaultfd: {}", io::Error::last_os_error())),
    }
}

impl Deref for UserfaultMemory {
    type Target = GuestMemory;

    fn deref(&self) -> &GuestMemory {
        &self.memory
    }
}
