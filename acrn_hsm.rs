// SPDX-License-Identifier: GPL-2.0

//! ACRN Hypervisor Service Module: the driver behind `/dev/acrn_hsm`.
//!
//! It lets a device model in ACRN's Service VM create User VMs, and brings their I/O requests to it.
//! `Documentation/overview.rst` has the picture, `Documentation/locking.rst` the order of locks.

mod abstractions;
mod hypercall;
mod ioctl;
mod ioeventfd;
mod ioreq;
mod irqfd;
mod mm;
mod power;
mod remove_cpu;
mod status;
mod uapi;
mod vm;
mod vm_list;

use abstractions::{
    acrn_guest::{
        Platform,
        UpcallRegistration, //
    },
    misc_device::MiscDeviceWithAttributes, //
};
use kernel::{
    miscdevice::MiscDeviceOptions,
    prelude::*, //
};

module! {
    type: AcrnHsm,
    name: "acrn",
    authors: ["The acrn-hsm maintainers"],
    description: "ACRN Hypervisor Service Module (HSM)",
    license: "GPL",
}

/// The module. Field order is teardown order: no new files, no upcalls, no VMs.
#[pin_data]
struct AcrnHsm {
    #[pin]
    _device: MiscDeviceWithAttributes<ioctl::HsmFile>,
    _upcall: UpcallRegistration,
    _vms: vm_list::VmList,
}

impl kernel::InPlaceModule for AcrnHsm {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let platform = match Platform::detect() {
            Platform::ServiceVm => Ok(()),
            Platform::UserVm => Err(EPERM),
            Platform::Other => Err(ENODEV),
        };
        try_pin_init!(Self {
            _: { platform? },
            // Before the device, which lets user space in.
            _vms: vm_list::VmList::init(),
            _upcall: UpcallRegistration::new::<vm_list::Dispatcher>(),
            _device <- MiscDeviceWithAttributes::register(
                MiscDeviceOptions { name: c"acrn_hsm" },
                remove_cpu::attributes(),
            ),
        })
    }
}
