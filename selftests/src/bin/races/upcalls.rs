// SPDX-License-Identifier: GPL-2.0

//! Upcalls that come at any moment.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::Eventfd,
    harness::Outcome,
    module, need,
    probe::Probe,
    program::write,
    scripted_vm::{Answer, ScriptedVm},
};
use acrn_uapi::{ACRN_IOEVENTFD_FLAG_PIO, acrn_ioeventfd, ioctl::ACRN_IOCTL_IOEVENTFD};
use mini_acrn_channel::TRACE_CAPACITY;

use crate::end;

/// Upcalls beside one round, of whose other events mini-ACRN's trace is to keep all.
const UPCALLS: usize = TRACE_CAPACITY / 2;

/// Runs `action` over and over for some time while upcalls come, and at the end it may see them through.
fn beside_upcalls(mut action: impl FnMut()) -> Result<(), String> {
    let probe = Probe::open()?;
    let ended = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    let end = end();
    let upcalls = thread::scope(|scope| {
        let upcalls = scope.spawn(|| {
            let (mut upcalls, mut round, mut left) = (0, 0, UPCALLS);
            while !ended.load(Ordering::Relaxed) {
                let now = rounds.load(Ordering::Relaxed);
                if now != round {
                    (round, left) = (now, UPCALLS);
                }
                if left > 0 {
                    probe.upcall();
                    left -= 1;
                    upcalls += 1;
                }
                thread::sleep(Duration::from_micros(50));
            }
            upcalls
        });
        while Instant::now() < end {
            action();
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        ended.store(true, Ordering::Relaxed);
        upcalls.join().expect("a thread")
    });
    let rounds = rounds.into_inner();
    println!("{upcalls} upcalls, {rounds} rounds");
    assert!(upcalls > 0 && rounds > 0);
    Ok(())
}

/// While VMs are made, used and destroyed (R4).
pub fn while_vms_come() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let access = |port| write(Target::Port(port), Width::Four, 0);
    need!(beside_upcalls(|| {
        let vm = ScriptedVm::on(cpus).expect("a VM");
        let event = Eventfd::new();
        let mut argument = acrn_ioeventfd {
            fd: std::os::fd::AsRawFd::as_raw_fd(&event) as u32,
            flags: ACRN_IOEVENTFD_FLAG_PIO,
            addr: 0x510,
            len: 4,
            ..Default::default()
        };
        vm.device
            .with(ACRN_IOCTL_IOEVENTFD, &mut argument)
            .expect("IOEVENTFD");
        for _ in 0..3 {
            assert_eq!(vm.ask(access(0x510)), Answer::Driver(None));
            assert_eq!(vm.ask(access(0x520)), Answer::DeviceModel);
        }
        assert_eq!(event.take(), 3);
    }));
    Outcome::Passed
}

/// While the device is opened and closed.
pub fn while_files_come() -> Outcome {
    need!(Device::open());
    need!(beside_upcalls(|| {
        for _ in 0..10 {
            Device::open().expect("the device").close();
        }
    }));
    Outcome::Passed
}

/// While the module is loaded and unloaded (R7).
pub fn while_module_comes() -> Outcome {
    let path = need!(module::path());
    need!(beside_upcalls(|| {
        module::unload();
        module::load(&path);
        Device::open().expect("the device").close();
    }));
    Outcome::Passed
}
