// SPDX-License-Identifier: GPL-2.0

//! Upcalls that come at any moment.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    event::Event,
    harness::Outcome,
    module, need,
    probe::Probe,
    program::write,
    scripted::{Answer, Idle},
};
use acrn_uapi::{ACRN_IOEVENTFD_FLAG_PIO, acrn_ioeventfd, ioctl::ACRN_IOCTL_IOEVENTFD};

use crate::end;

/// Runs `action` over and over for some time while upcalls come, and at the end it may see them through.
fn beside_upcalls(mut action: impl FnMut()) -> Result<(), String> {
    let probe = Probe::open()?;
    let ended = AtomicBool::new(false);
    let end = end();
    let (upcalls, rounds) = thread::scope(|scope| {
        let upcalls = scope.spawn(|| {
            let mut upcalls = 0;
            while !ended.load(Ordering::Relaxed) {
                probe.upcall();
                upcalls += 1;
                thread::sleep(Duration::from_micros(50));
            }
            upcalls
        });
        let mut rounds = 0;
        while Instant::now() < end {
            action();
            rounds += 1;
        }
        ended.store(true, Ordering::Relaxed);
        (upcalls.join().expect("a thread"), rounds)
    });
    println!("{upcalls} upcalls, {rounds} rounds");
    assert!(upcalls > 0 && rounds > 0);
    Ok(())
}

/// While VMs are made, used and destroyed (R4).
pub fn while_vms_come() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let access = |port| write(Target::Port(port), Width::Four, 0);
    need!(beside_upcalls(|| {
        let idle = Idle::on(cpus).expect("a VM");
        let event = Event::new();
        let mut argument = acrn_ioeventfd {
            fd: std::os::fd::AsRawFd::as_raw_fd(&event) as u32,
            flags: ACRN_IOEVENTFD_FLAG_PIO,
            addr: 0x510,
            len: 4,
            ..Default::default()
        };
        idle.device
            .with(ACRN_IOCTL_IOEVENTFD, &mut argument)
            .expect("IOEVENTFD");
        for _ in 0..3 {
            assert_eq!(idle.ask(access(0x510)), Answer::Driver(None));
            assert_eq!(idle.ask(access(0x520)), Answer::DeviceModel);
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
