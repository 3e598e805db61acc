// SPDX-License-Identifier: GPL-2.0

//! Another process, which gives VMs memory of its own and unmaps some of it when it is told to.

use std::io::{PipeWriter, Read, Write};

use acrn_selftests::{
    device::Device,
    guest_memory::GuestMemory,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{MappingFixture, whole},
    probe::Probe,
    waiter::{state, until},
};
use acrn_uapi::{acrn_vm_memmap, ioctl::ACRN_IOCTL_SET_MEMSEG};

/// The process.
pub struct Owner {
    child: libc::pid_t,
    word: PipeWriter,
}

impl Owner {
    /// Starts it. It makes `segments`, of its copies of our areas, and gets to unmap `area`.
    pub fn start(segments: &[(&Device, acrn_vm_memmap)], memory: &GuestMemory) -> Self {
        let (mut said, saying) = std::io::pipe().expect("a pipe");
        let (mut told, word) = std::io::pipe().expect("a pipe");
        // SAFETY: the child makes requests, says so, waits for a word, unmaps memory and ends; it allocates nothing.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let set = |(device, segment): &(&Device, acrn_vm_memmap)| {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment.clone())
            };
            let set = segments.iter().all(|segment| set(segment).is_ok());
            let _ = (&saying).write(&[u8::from(set)]);
            let _ = told.read(&mut [0]);
            // SAFETY: a mapping of the child's, to which nobody holds a reference.
            unsafe { libc::munmap(memory.address() as *mut _, memory.len()) };
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) };
        }
        drop(saying);
        let mut done = [0];
        said.read_exact(&mut done).expect("the child's word");
        assert_eq!(done, [1], "SET_MEMSEG in the child");
        Self { child, word }
    }

    /// Has it unmap the area now.
    pub fn unmap(&mut self) {
        self.word.write_all(&[1]).expect("the child listens");
    }

    /// Whether it waits in the kernel, deaf to signals, or has ended.
    pub fn waits_or_is_gone(&self) -> bool {
        matches!(state(&self.child.to_string()), Some('D' | 'Z'))
    }

    /// Waits for its end.
    pub fn join(self) {
        drop(self.word);
        let mut status = 0;
        // SAFETY: waits for a child of ours, and writes to a number of ours.
        let ended = unsafe { libc::waitpid(self.child, &mut status, 0) };
        assert_eq!((ended, status), (self.child, 0));
    }
}

/// A process whose address space changes for as long as this lives: it unmaps memory of a VM of its own, and the
/// hypercall for that is held. A command that stops watching memory of that process waits for the end of it, and so
/// does one that changes its address space.
pub struct Busy {
    owner: Owner,
    other: MappingFixture,
}

impl Busy {
    /// The process has made `segments` before. `theirs` is unused memory that cannot be pinned. The error says why the
    /// test has to be skipped.
    pub fn start(
        segments: &[(&Device, acrn_vm_memmap)],
        theirs: &GuestMemory,
    ) -> Result<Self, String> {
        let other = MappingFixture::new()?;
        let own = (&other.device, whole(theirs));
        let all: Vec<_> = segments.iter().copied().chain([own]).collect();
        let mut owner = Owner::start(&all, theirs);
        other.probe.hold(SET_MEMORY_REGIONS, other.vmid);
        owner.unmap();
        until("munmap arrives", || other.probe.is_held());
        Ok(Self { owner, other })
    }

    /// Ends it.
    pub fn end(self, probe: &Probe) {
        probe.release();
        self.owner.join();
        self.other.destroy();
    }
}
