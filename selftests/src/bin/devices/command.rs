// SPDX-License-Identifier: GPL-2.0

//! The commands that assign and deassign devices.

use acrn_selftests::{
    device::{Argument, Device},
    guest_memory::{GuestMemory, PAGE},
    hypercall::{self, *},
    mapping_fixture::MappingFixture,
    probe::Probe,
};
use acrn_uapi::ioctl::*;
use mini_acrn_channel::Fault;
use nix::errno::Errno;
use zerocopy::{FromZeros, IntoBytes};

/// A command for devices.
pub struct Command {
    /// Number of the request.
    pub request: u32,
    /// Number of its hypercall.
    pub hypercall: u32,
    /// Number of bytes that the hypervisor reads.
    pub received_len: usize,
}

impl Command {
    /// Size of the structure in user space.
    pub const fn size(&self) -> usize {
        (self.request >> 16 & 0x3fff) as usize
    }

    /// Name in the C header.
    pub fn name(&self) -> &'static str {
        let known = ALL.iter().find(|(request, _)| *request == self.request);
        known.map_or("unknown", |(_, name)| name)
    }

    /// Whether the command assigns a device, as opposed to deassigning it.
    pub const fn assigns(&self) -> bool {
        self.hypercall & 1 == 1
    }

    /// The hypervisor's error if the VM is in the wrong state.
    pub const fn wrong_state(&self) -> Errno {
        match self.hypercall {
            SET_PTDEV_INTR | RESET_PTDEV_INTR => Errno::EPERM,
            _ => Errno::EINVAL,
        }
    }

    /// Issues the command with `bytes`, which end where accessible memory ends.
    pub fn issue(&self, device: &Device, bytes: &[u8]) -> Result<(), Errno> {
        assert_eq!(bytes.len(), self.size());
        let memory = GuestMemory::anonymous(2 * PAGE);
        memory.unmap(PAGE, PAGE);
        let offset = PAGE - bytes.len();
        memory.write_bytes(offset, bytes);
        device.ioctl(self.request, Argument::At(&memory, offset))
    }

    /// Issues the command with a structure.
    pub fn with<T: IntoBytes + zerocopy::Immutable>(
        &self,
        fixture: &MappingFixture,
        value: &T,
    ) -> Result<(), Errno> {
        self.issue(&fixture.device, value.as_bytes())
    }

    /// Makes the next hypercall of this command fail with `errno`.
    pub fn fail_next(&self, fixture: &MappingFixture, errno: Errno) {
        self.fail_next_of(&fixture.probe, fixture.vmid, errno);
    }

    /// Makes the next hypercall of this command for the VM `vmid` fail with `errno`.
    pub fn fail_next_of(&self, probe: &Probe, vmid: u16, errno: Errno) {
        let mut fault = Fault::new_zeroed();
        fault.id = self.hypercall;
        fault.vmid = vmid;
        fault.count = 1;
        fault.result = -i64::from(errno as i32);
        probe.push_fault(fault);
    }
}

const fn command(request: u32, hypercall: u32, received_len: usize) -> Command {
    Command {
        request,
        hypercall,
        received_len,
    }
}

/// Routes an interrupt line. The hypervisor reads 4 bytes more than the structure has.
pub const SET_LINE: Command = command(ACRN_IOCTL_SET_PTDEV_INTR, SET_PTDEV_INTR, 24);
/// Reverts [`SET_LINE`].
pub const RESET_LINE: Command = command(ACRN_IOCTL_RESET_PTDEV_INTR, RESET_PTDEV_INTR, 24);
/// Assigns a PCI device.
pub const ASSIGN_PCI: Command = command(ACRN_IOCTL_ASSIGN_PCIDEV, hypercall::ASSIGN_PCIDEV, 36);
/// Deassigns a PCI device.
pub const DEASSIGN_PCI: Command =
    command(ACRN_IOCTL_DEASSIGN_PCIDEV, hypercall::DEASSIGN_PCIDEV, 36);
/// Assigns a device that is identified by its memory.
pub const ASSIGN_MMIO: Command = command(ACRN_IOCTL_ASSIGN_MMIODEV, ASSIGN_MMIODEV, 104);
/// Deassigns a device that is identified by its memory.
pub const DEASSIGN_MMIO: Command = command(ACRN_IOCTL_DEASSIGN_MMIODEV, DEASSIGN_MMIODEV, 104);
/// Creates a virtual device.
pub const CREATE_VIRTUAL: Command = command(ACRN_IOCTL_CREATE_VDEV, CREATE_VDEV, 192);
/// Destroys a virtual device.
pub const DESTROY_VIRTUAL: Command = command(ACRN_IOCTL_DESTROY_VDEV, DESTROY_VDEV, 192);

/// All commands. Each has a structure without reserved fields, exists in upstream's driver, and is
/// refused while the VM runs. See [`Command::assigns`] for the ids.
pub const COMMANDS: [Command; 8] = [
    SET_LINE,
    RESET_LINE,
    ASSIGN_PCI,
    DEASSIGN_PCI,
    ASSIGN_MMIO,
    DEASSIGN_MMIO,
    CREATE_VIRTUAL,
    DESTROY_VIRTUAL,
];
