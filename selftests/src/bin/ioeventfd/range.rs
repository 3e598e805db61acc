// SPDX-License-Identifier: GPL-2.0

//! Ranges, and the requests that assign and deassign them.

use std::os::fd::AsRawFd;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{device::Device, eventfd::Eventfd};
use acrn_uapi::{ioctl::ACRN_IOCTL_IOEVENTFD, *};
use nix::errno::Errno;

pub const PORT: Target = Target::Port(0x510);
pub const ADDRESS: Target = Target::Memory(0xd000_0040);
pub const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];
/// A hint of ACRN's own kernel. It means nothing to other drivers, and acrn-dm gives it to all.
pub const ASYNC: u32 = 0x08;

/// What is assigned to an eventfd.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub target: Target,
    pub len: u32,
    /// Only a write of this; of anything without.
    pub data: Option<u64>,
}

/// Any write of up to `len` bytes.
pub const fn range(target: Target, len: u32) -> Range {
    Range {
        target,
        len,
        data: None,
    }
}

impl Range {
    /// Only if `data` is written.
    pub const fn with(self, data: u64) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// The argument that assigns it.
    pub fn argument(self, event: &impl AsRawFd) -> acrn_ioeventfd {
        let (addr, pio) = match self.target {
            Target::Port(port) => (port.into(), ACRN_IOEVENTFD_FLAG_PIO),
            Target::Memory(address) => (address, 0),
            Target::PciConfig { .. } => panic!("only ports and addresses can be assigned"),
        };
        acrn_ioeventfd {
            fd: event.as_raw_fd() as u32,
            flags: pio | self.data.map_or(0, |_| ACRN_IOEVENTFD_FLAG_DATAMATCH),
            addr,
            len: self.len,
            reserved: 0,
            data: self.data.unwrap_or(0),
        }
    }
}

/// IOEVENTFD.
pub fn ioeventfd(device: &Device, mut argument: acrn_ioeventfd) -> Result<(), Errno> {
    device.with(ACRN_IOCTL_IOEVENTFD, &mut argument)
}

/// IOEVENTFD that assigns.
pub fn assign(device: &Device, event: &Eventfd, range: Range) -> Result<(), Errno> {
    ioeventfd(device, range.argument(event))
}

/// IOEVENTFD that deassigns; of any range if `len` is 0.
pub fn deassign(device: &Device, event: &Eventfd, range: Range) -> Result<(), Errno> {
    let mut argument = range.argument(event);
    argument.flags |= ACRN_IOEVENTFD_FLAG_DEASSIGN;
    ioeventfd(device, argument)
}

/// A new eventfd for a range.
pub fn assigned(device: &Device, range: Range) -> Eventfd {
    let event = Eventfd::new();
    assign(device, &event, range).expect("IOEVENTFD");
    event
}
