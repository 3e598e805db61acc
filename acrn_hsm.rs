// SPDX-License-Identifier: GPL-2.0

//! ACRN Hypervisor Service Module: the driver behind `/dev/acrn_hsm`.
//!
//! It lets a device model in ACRN's Service VM create User VMs, and passes their I/O requests to
//! the device model. `Documentation/overview.rst` describes the design,
//! `Documentation/locking.rst` the order of locks.

mod abstractions;
mod dispatcher;
mod hypercall;
mod interrupts;
mod ioctl;
mod ioeventfd;
mod ioreq;
mod irqfd;
mod mm;
mod passthrough;
mod power;
mod registry;
mod remove_cpu;
mod status;
mod uapi;
mod vm;

use abstractions::{
    acrn_guest::{
        Platform,
        UpcallRegistration, //
    },
    miscdevice::MiscDeviceWithAttributes,
    reboot_notifier::RebootNotifier, //
};
use dispatcher::Dispatcher;
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

/// The module. Fields are dropped in order: first there are no new files, then no upcalls, then no
/// VMs.
#[pin_data]
struct AcrnHsm {
    #[pin]
    _device: MiscDeviceWithAttributes<ioctl::HsmFile>,
    #[pin]
    _reboot: RebootNotifier<registry::Shutdown>,
    _upcall: UpcallRegistration<Dispatcher>,
    vms: registry::Service,
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
            // SAFETY: The kernel initialises a module once, and nothing below exists yet.
            vms: unsafe { registry::Service::new() }?,
            _upcall: UpcallRegistration::new(Dispatcher::new(vms.served())?)?,
            _reboot <- RebootNotifier::register(),
            _device <- MiscDeviceWithAttributes::register(
                MiscDeviceOptions { name: c"acrn_hsm" },
                remove_cpu::attributes(),
            ),
        })
    }
}
