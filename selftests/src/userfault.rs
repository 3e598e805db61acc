// SPDX-License-Identifier: GPL-2.0

//! Memory with missing pages (userfaultfd): a kernel thread that accesses one waits as long as a
//! test wants.

use std::{
    fs::File,
    io::{self, Read},
    ops::Deref,
    os::fd::{AsRawFd, FromRawFd},
    sync::Arc,
};

use crate::guest_memory::GuestMemory;

/// `_IOWR(0xAA, 0x3F, struct uffdio_api)`.
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;
/// `_IOWR(0xAA, 0x00, struct uffdio_register)`.
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;
const API: u64 = 0xaa;
const MODE_MISSING: u64 = 1;

/// The memory. This process must not access its missing pages.
pub struct UserfaultMemory {
    // Dropped first, which resumes the waiting threads.
    faults: File,
    memory: Arc<GuestMemory>,
}

impl UserfaultMemory {
    /// Creates `len` bytes. The error says why the test must be skipped.
    pub fn new(len: usize) -> Result<Self, String> {
        Self::behind(0, len)
    }

    /// Creates `len` bytes, of which the first `present` are ordinary memory. The error says why
    /// the test must be skipped.
    pub fn behind(present: usize, len: usize) -> Result<Self, String> {
        Self::of(GuestMemory::anonymous(len), present)
    }

    /// Uses `memory`, in which the pages from the byte `present` on are missing unless they are
    /// present already. The error says why the test must be skipped.
    pub fn of(memory: GuestMemory, present: usize) -> Result<Self, String> {
        // SAFETY: The system call takes no pointer.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(|| format!("userfaultfd: {}", io::Error::last_os_error()))?;
        // SAFETY: It is a new descriptor, which nothing else uses.
        let faults = unsafe { File::from_raw_fd(fd) };
        configure(&faults, UFFDIO_API, &mut [API, 0, 0])?;
        let (start, rest) = (memory.address() + present as u64, memory.len() - present);
        let mut register = [start, rest as u64, MODE_MISSING, 0];
        configure(&faults, UFFDIO_REGISTER, &mut register)?;
        let memory = Arc::new(memory);
        Ok(Self { faults, memory })
    }

    /// Returns the memory for a thread that may wait for a page.
    pub fn share(&self) -> Arc<GuestMemory> {
        self.memory.clone()
    }

    /// Waits until the kernel waits for a page.
    pub fn until_wanted(&self) {
        // A `struct uffd_msg`. It can only be a fault, so it is not examined.
        let mut message = [0; 32];
        (&self.faults).read_exact(&mut message).expect("a fault");
    }

    /// Provides a page of zeros for each waiting fault.
    pub fn provide(self) -> Arc<GuestMemory> {
        drop(self.faults);
        self.memory
    }
}

/// Makes a request whose structure consists of `words`.
fn configure<const WORDS: usize>(
    faults: &File,
    request: libc::Ioctl,
    words: &mut [u64; WORDS],
) -> Result<(), String> {
    assert_eq!(request >> 16 & 0x3fff, 8 * WORDS as libc::Ioctl);
    // SAFETY: The structure is borrowed mutably and as large as the request says. The registered
    // range is a `GuestMemory`, where the kernel may put pages at any time.
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
