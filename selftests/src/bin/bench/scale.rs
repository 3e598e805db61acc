// SPDX-License-Identifier: GPL-2.0

//! P8: a request beside idle VMs.

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, create_raw},
    harness::Outcome,
    hypercall::CREATE_VM,
    need,
    probe::{Probe, fault},
};
use acrn_uapi::ioctl::ACRN_IOCTL_CREATE_IOREQ_CLIENT;
use mini_acrn_channel::Fault;

use crate::{
    clock::rounds,
    figure::Figure,
    guest::{self, Pace},
    ioeventfds,
};

/// Number of vCPUs that the driver sees in an idle VM. It really has one.
const VCPUS: u32 = 4;
const IDLE: usize = 7;

/// Measures P3 with one range, beside 0, 3 and 7 idle VMs.
pub fn beside_idle_vms() -> Outcome {
    need!(cpus::stay_on(cpus::UPCALLS));
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1; 1 + IDLE]));
    let guest_at = masks[0];
    let mut vms = Vec::new();
    let mut medians = Vec::new();
    for count in [0, 3, IDLE] {
        let more = &masks[1 + vms.len()..1 + count];
        vms.extend(more.iter().map(|cpus| create_idle(&probe, *cpus)));
        let guest = Guest::new(guest_at);
        let _events = ioeventfds::assign(&guest, 1);
        let trips = guest::run(&guest, &probe, rounds(), Pace::Alone);
        Figure::of("P8", &format!("{count}_idle"))
            .trips(&trips)
            .print();
        medians.push(trips.samples.median());
    }
    let grown = medians[2].saturating_sub(medians[0]);
    Figure::of("P8", "each_idle")
        .with("value", grown.div_ceil(IDLE as u64))
        .print();
    Outcome::Passed
}

fn create_idle(probe: &Probe, cpus: u64) -> (Device, RequestPage) {
    probe.push_fault(Fault {
        patch: 1,
        value: VCPUS,
        ..fault(CREATE_VM, 0)
    });
    let (device, page, _) = create_raw(cpus);
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    (device, page)
}
