// SPDX-License-Identifier: GPL-2.0

//! P9: a VM is created and destroyed.

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus, device::Device, guest::create_raw, harness::Outcome, need, probe::Probe,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM};

use crate::{
    calls::QUIET,
    clock::{Samples, WARM_UP, now, rounds_of},
    figure::Figure,
    hypervisor::Hypervisor,
};

/// Measures CREATE_VM, PAUSE_VM and DESTROY_VM beside another VM.
pub fn create_and_destroy() -> Outcome {
    need!(cpus::stay_on(QUIET));
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (_other, _page, _) = create_raw(masks[0]);
    let page = RequestPage::new().expect("a request page");
    // Upstream's driver creates only one VM for each open file.
    let life = || {
        let device = Device::open().expect("the device");
        let from = now();
        device.create(&page, masks[1]).expect("CREATE_VM");
        device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
        let ticks = now() - from;
        device.close();
        ticks
    };
    (0..WARM_UP).for_each(|_| _ = life());
    let hypervisor = Hypervisor::watch(&probe);
    let samples = Samples::collect(rounds_of(10), life);
    let spent = hypervisor.spent(samples.count());
    Figure::of("P9", "vm")
        .times(&samples)
        .with("hypervisor", spent)
        .print();
    Outcome::Passed
}
