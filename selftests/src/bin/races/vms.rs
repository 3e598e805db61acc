// SPDX-License-Identifier: GPL-2.0

//! Tests that a VM's I/O continues when other VMs end.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    hypercall::DESTROY_VM,
    need,
    probe::fault,
    program::{self, read, write},
    scripted_vm::{Answer, ScriptedVm, request},
};
use mini_acrn_channel::Fault;

use crate::end;

const PORT: u16 = 0x510;

/// Two other VMs end repeatedly at the same time, with their requests in flight (R6). The guest's
/// requests arrive in order, and none is lost.
pub fn ends_beside_io() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let guest = Guest::long_mode(masks[0], &program::chatter(PORT));
    guest.vm.start().expect("START_VM");
    let ended = AtomicBool::new(false);
    let end = end();
    let requests = thread::scope(|scope| {
        let others = [masks[1], masks[2]].map(|mask| {
            scope.spawn(move || {
                let mut rounds = 0;
                while Instant::now() < end {
                    let other = Guest::long_mode(mask, &program::chatter(PORT));
                    other.vm.start().expect("START_VM");
                    other.serve_requests(5);
                    other.vm.pause().expect("PAUSE_VM");
                    other
                        .vm
                        .destroy_ioreq_client()
                        .expect("DESTROY_IOREQ_CLIENT");
                    rounds += 1;
                }
                assert!(rounds > 0);
            })
        });
        let ended = &ended;
        scope.spawn(move || {
            for other in others {
                other.join().expect("a thread panicked");
            }
            ended.store(true, Ordering::Relaxed);
        });
        guest.serve_until(|_, _| 0, |_, _| ended.load(Ordering::Relaxed))
    });
    let values = requests.iter().map(|(_, request)| request.value);
    assert!(
        requests.len() > 1,
        "the guest made too few requests beside the other VMs"
    );
    assert!(
        values.eq(0..requests.len() as u64),
        "requests are out of order"
    );
    Outcome::Passed
}

/// An orphan with an incomplete request does not affect other VMs (R13, A1).
pub fn vm_that_stays_beside_io() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let before = need!(ScriptedVm::on(masks[0]));
    let orphan = need!(ScriptedVm::on(masks[1]));
    let probe = &before.probe;
    let incomplete = request(orphan.vmid, 0, read(Target::Port(PORT), Width::Four));
    assert_eq!(probe.raise(incomplete), 0);
    probe.push_fault(Fault {
        vmid: orphan.vmid,
        count: u32::MAX,
        ..fault(DESTROY_VM, -1)
    });
    let Some(device) = std::sync::Arc::into_inner(orphan.device) else {
        panic!("the device is still shared");
    };
    device.close();
    assert!(probe.vm(orphan.vmid).is_some(), "the VM was destroyed");
    let after = need!(ScriptedVm::on(masks[2]));
    for _ in 0..20 {
        // The hypervisor still raises requests of the orphan.
        probe.raise(request(
            orphan.vmid,
            0,
            read(Target::Port(PORT), Width::One),
        ));
        for vm in [&before, &after] {
            let access = write(Target::Port(PORT), Width::Four, 0);
            assert_eq!(vm.ask(access), Answer::DeviceModel);
        }
    }
    drop(after);
    probe.clear_faults();
    // The driver destroys the orphan when it creates the next VM.
    let next = need!(ScriptedVm::on(masks[1]));
    assert_eq!(next.probe.vms().len(), 2);
    Outcome::Passed
}
