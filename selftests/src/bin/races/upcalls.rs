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
    need,
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
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                probe.upcall();
                thread::sleep(Duration::from_micros(50));
            }
        });
        let mut rounds = 0;
        while Instant::now() < end {
            action();
            rounds += 1;
        }
        ended.store(true, Ordering::Relaxed);
        println!("{rounds} rounds");
    });
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

/// While the device is opened and closed, the nearest thing to loading and unloading the module (R7).
pub fn while_files_come() -> Outcome {
    need!(Device::open());
    need!(beside_upcalls(|| {
        for _ in 0..10 {
            Device::open().expect("the device").close();
        }
    }));
    Outcome::Passed
}
