// SPDX-License-Identifier: GPL-2.0

//! P7: a VM beside another one that is created and destroyed.
//!
//! The Service VM has one CPU, where the measured device model has the highest priority. So it is
//! delayed by the work of the kernel for the other VM with interrupts or preemption disabled, or
//! with locks held.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use acrn_ioctls::RequestPage;
use acrn_selftests::{cpus, device::Device, guest::Guest, harness::Outcome, need, probe::Probe};
use acrn_uapi::ioctl::{
    ACRN_IOCTL_CREATE_IOREQ_CLIENT, ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM,
};

use crate::{
    clock::rounds,
    figure::Figure,
    guest::{self, Pace},
    hypervisor::Hypervisor,
    metronome::Metronome,
    one_cpu::OneCpu,
};

/// Interval between two lives of the other VM. It is not a multiple of the guest's spinning time,
/// so that requests occur at all points of such a life.
const BETWEEN: Duration = Duration::from_micros(313);

/// Measures the round trip of P2, alone and beside a VM that is created and destroyed repeatedly.
pub fn beside_lives() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let _one = need!(OneCpu::only());
    let _metronome = Metronome::start(masks[2]);
    let run = || {
        let run = || {
            cpus::come_first();
            guest::run(&Guest::new(masks[0]), &probe, rounds(), Pace::Alone)
        };
        thread::scope(|scope| scope.spawn(run).join().expect("the device model"))
    };
    let alone = run();
    Figure::of("P7", "alone").times(&alone.samples).print();

    let hypervisor = Hypervisor::watch(&probe);
    live(masks[1]);
    let longest = hypervisor.longest_hypercall();
    Figure::of("P7", "hypercall").with("value", longest).print();

    let stop = AtomicBool::new(false);
    let lives = AtomicU64::new(0);
    let beside = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                live(masks[1]);
                lives.fetch_add(1, Ordering::Relaxed);
                thread::sleep(BETWEEN);
            }
        });
        let beside = run();
        stop.store(true, Ordering::Relaxed);
        beside
    });
    let lives = lives.load(Ordering::Relaxed);
    Figure::of("P7", "beside")
        .times(&beside.samples)
        .with("lives", lives)
        .print();
    Figure::of("P7", "slowdown")
        .ratio(beside.samples.max(), alone.samples.max())
        .print();
    Outcome::Passed
}

fn live(cpus: u64) {
    let page = RequestPage::new().expect("a request page");
    let device = Device::open().expect("the device");
    device.create(&page, cpus).expect("CREATE_VM");
    for command in [
        ACRN_IOCTL_CREATE_IOREQ_CLIENT,
        ACRN_IOCTL_PAUSE_VM,
        ACRN_IOCTL_DESTROY_VM,
    ] {
        device.plain(command).expect("a command");
    }
}
