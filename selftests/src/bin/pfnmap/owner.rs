// SPDX-License-Identifier: GPL-2.0

//! Another process, which gives its own memory to VMs and unmaps some of it on request.

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
    /// Starts the process. It sets `segments`, of its copies of this process's memory, and unmaps
    /// `memory` later.
    pub fn start(segments: &[(&Device, acrn_vm_memmap)], memory: &GuestMemory) -> Self {
        let (mut said, saying) = std::io::pipe().expect("a pipe");
        let (mut told, word) = std::io::pipe().expect("a pipe");
        // SAFETY: The child makes requests, writes a byte, reads a byte, unmaps memory and ends. It
        // allocates nothing.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let set = |(device, segment): &(&Device, acrn_vm_memmap)| {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment.clone())
            };
            let set = segments.iter().all(|segment| set(segment).is_ok());
            let _ = (&saying).write(&[u8::from(set)]);
            let _ = told.read(&mut [0]);
            // SAFETY: This is a mapping of the child, to which there is no reference.
            unsafe { libc::munmap(memory.address() as *mut _, memory.len()) };
            // SAFETY: This ends the process at once.
            unsafe { libc::_exit(0) };
        }
        drop(saying);
        let mut done = [0];
        said.read_exact(&mut done).expect("the child's result");
        assert_eq!(done, [1], "SET_MEMSEG in the child");
        Self { child, word }
    }

    /// Makes the process unmap the memory.
    pub fn unmap(&mut self) {
        self.word.write_all(&[1]).expect("the child");
    }

    /// Returns whether the process waits in the kernel without receiving signals, or has ended.
    pub fn waits_or_is_gone(&self) -> bool {
        matches!(state(&self.child.to_string()), Some('D' | 'Z'))
    }

    /// Waits for the end of the process.
    pub fn join(self) {
        drop(self.word);
        let mut status = 0;
        // SAFETY: This waits for a child of this process, and writes to a local variable.
        let ended = unsafe { libc::waitpid(self.child, &mut status, 0) };
        assert_eq!((ended, status), (self.child, 0));
    }
}

/// A process whose address space changes as long as this value lives: it unmaps memory of a VM of
/// its own, and the hypercall for that is held. A command that removes a notifier for memory of
/// that process waits for the end of the change, and so does one that changes its address space.
pub struct Busy {
    owner: Owner,
    other: MappingFixture,
}

impl Busy {
    /// Starts the process, which has set `segments` by then. `theirs` is unused memory that cannot
    /// be pinned. The error says why the test must be skipped.
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

    /// Ends the change and the process.
    pub fn end(self, probe: &Probe) {
        probe.release();
        self.owner.join();
        self.other.destroy();
    }
}
