// SPDX-License-Identifier: GPL-2.0

//! Tests of upcalls that occur at any moment.

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
use acrn_uapi::ACRN_IOEVENTFD_FLAG_PIO;
use mini_acrn_channel::TRACE_CAPACITY;

use crate::end;

/// The maximum number of upcalls in one round, so that mini-ACRN's trace keeps the other events of
/// the round.
const UPCALLS: usize = TRACE_CAPACITY / 2;

/// Repeats `action` for some time while upcalls occur. Upcalls may still be in progress when this
/// function returns.
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
        upcalls.join().expect("a thread panicked")
    });
    let rounds = rounds.into_inner();
    println!("{upcalls} upcalls, {rounds} rounds");
    assert!(upcalls > 0 && rounds > 0);
    Ok(())
}

/// Upcalls occur while VMs are created, used and destroyed (R4). Each request reaches its handler.
pub fn upcalls_while_vms_come() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let access = |port| write(Target::Port(port), Width::Four, 0);
    need!(beside_upcalls(|| {
        let vm = ScriptedVm::on(cpus).expect("a VM");
        let event = Eventfd::new();
        vm.device
            .ioeventfd(&event, ACRN_IOEVENTFD_FLAG_PIO, 0x510, 4)
            .expect("IOEVENTFD");
        for _ in 0..3 {
            assert_eq!(vm.ask(access(0x510)), Answer::Driver(None));
            assert_eq!(vm.ask(access(0x520)), Answer::DeviceModel);
        }
        assert_eq!(event.take(), 3);
    }));
    Outcome::Passed
}

/// Upcalls occur while the device is opened and closed.
pub fn upcalls_while_files_come() -> Outcome {
    need!(Device::open());
    need!(beside_upcalls(|| {
        for _ in 0..10 {
            Device::open().expect("the device").close();
        }
    }));
    Outcome::Passed
}

/// Upcalls occur while the module is loaded and unloaded (R7).
pub fn upcalls_while_module_comes() -> Outcome {
    let path = need!(module::path());
    need!(beside_upcalls(|| {
        module::unload();
        module::load(&path);
        Device::open().expect("the device").close();
    }));
    Outcome::Passed
}
