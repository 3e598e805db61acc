// SPDX-License-Identifier: GPL-2.0

//! Ranges of ioeventfds, and the requests that assign and deassign them.

use std::os::fd::AsRawFd;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{device::Device, eventfd::Eventfd};
use acrn_uapi::{ioctl::ACRN_IOCTL_IOEVENTFD, *};
use nix::errno::Errno;

pub const PORT: Target = Target::Port(0x510);
pub const ADDRESS: Target = Target::Memory(0xd000_0040);
pub const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];
/// A flag of ACRN's own kernel, which acrn-dm sets in all requests. Other drivers ignore it.
pub const ASYNC: u32 = 0x08;

/// A range of ports or addresses with an ioeventfd.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub target: Target,
    pub len: u32,
    /// The value that a write must have, or `None` for any value.
    pub data: Option<u64>,
}

/// Returns a range for writes of up to `len` bytes.
pub const fn range(target: Target, len: u32) -> Range {
    Range {
        target,
        len,
        data: None,
    }
}

impl Range {
    /// Restricts the range to writes of `data`.
    pub const fn with(self, data: u64) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// Returns the argument that assigns the range.
    pub fn argument(self, event: &impl AsRawFd) -> acrn_ioeventfd {
        let (addr, pio) = match self.target {
            Target::Port(port) => (port.into(), ACRN_IOEVENTFD_FLAG_PIO),
            Target::Memory(address) => (address, 0),
            Target::PciConfig { .. } => panic!("IOEVENTFD only accepts ports and addresses"),
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

/// Makes IOEVENTFD.
pub fn ioeventfd(device: &Device, mut argument: acrn_ioeventfd) -> Result<(), Errno> {
    device.with(ACRN_IOCTL_IOEVENTFD, &mut argument)
}

/// Makes IOEVENTFD to assign a range.
pub fn assign(device: &Device, event: &Eventfd, range: Range) -> Result<(), Errno> {
    ioeventfd(device, range.argument(event))
}

/// Makes IOEVENTFD to deassign a range, or any range if `len` is 0.
pub fn deassign(device: &Device, event: &Eventfd, range: Range) -> Result<(), Errno> {
    let mut argument = range.argument(event);
    argument.flags |= ACRN_IOEVENTFD_FLAG_DEASSIGN;
    ioeventfd(device, argument)
}

/// Creates an eventfd and assigns a range to it.
pub fn assigned(device: &Device, range: Range) -> Eventfd {
    let event = Eventfd::new();
    assign(device, &event, range).expect("IOEVENTFD");
    event
}
