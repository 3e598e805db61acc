// SPDX-License-Identifier: GPL-2.0

//! Another process, which sets its own memory in VMs and unmaps some of it on request.

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

/// A process that owns memory of VMs.
pub struct Owner {
    child: libc::pid_t,
    command: PipeWriter,
}

impl Owner {
    /// Starts the process. It sets `segments`, which are in its copies of this process's memory. It
    /// unmaps `memory` later.
    pub fn start(segments: &[(&Device, acrn_vm_memmap)], memory: &GuestMemory) -> Self {
        let (mut result_reader, result_writer) = std::io::pipe().expect("a pipe");
        let (mut commands, command) = std::io::pipe().expect("a pipe");
        // SAFETY: The child makes requests, writes a byte, reads a byte, unmaps memory and ends. It
        // allocates nothing.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let set = |(device, segment): &(&Device, acrn_vm_memmap)| {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment.clone())
            };
            let set = segments.iter().all(|segment| set(segment).is_ok());
            let _ = (&result_writer).write(&[u8::from(set)]);
            let _ = commands.read(&mut [0]);
            // SAFETY: This is a mapping of the child, to which there is no reference.
            unsafe { libc::munmap(memory.address() as *mut _, memory.len()) };
            // SAFETY: This ends the process at once.
            unsafe { libc::_exit(0) };
        }
        drop(result_writer);
        let mut done = [0];
        result_reader
            .read_exact(&mut done)
            .expect("the child's result");
        assert_eq!(done, [1], "SET_MEMSEG in the child");
        Self { child, command }
    }

    /// Makes the process unmap the memory.
    pub fn unmap(&mut self) {
        self.command.write_all(&[1]).expect("the pipe to the child");
    }

    /// Returns whether the process is in uninterruptible sleep or has ended.
    pub fn waits_or_is_gone(&self) -> bool {
        matches!(state(&self.child.to_string()), Some('D' | 'Z'))
    }

    /// Waits for the end of the process.
    pub fn join(self) {
        drop(self.command);
        let mut status = 0;
        // SAFETY: This waits for a child of this process, and writes to a local variable.
        let ended = unsafe { libc::waitpid(self.child, &mut status, 0) };
        assert_eq!((ended, status), (self.child, 0));
    }
}

/// A process whose address space changes as long as this value lives. The process unmaps memory of
/// a VM of its own, and the hypervisor holds the hypercall for that. A command that removes a
/// notifier of memory of that process waits for the end of the change. So does a command that
/// changes the address space of that process.
pub struct Busy {
    owner: Owner,
    other: MappingFixture,
}

impl Busy {
    /// Starts the process, which has set `segments` when this function returns. `unused` is unused
    /// memory that cannot be pinned. The error says why the test must be skipped.
    pub fn start(
        segments: &[(&Device, acrn_vm_memmap)],
        unused: &GuestMemory,
    ) -> Result<Self, String> {
        let other = MappingFixture::new()?;
        let own = (&other.device, whole(unused));
        let all: Vec<_> = segments.iter().copied().chain([own]).collect();
        let mut owner = Owner::start(&all, unused);
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
