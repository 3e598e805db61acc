// SPDX-License-Identifier: GPL-2.0

//! Tests of hypercalls that mini-ACRN holds for a test.

use std::{thread, time::Duration};

use acrn_selftests::{
    harness::Outcome, hypercall::*, mapping_fixture::MappingFixture, need, probe::Probe,
    waiter::until,
};
use mini_acrn_channel::{ANY_VM, vm_state};

/// mini-ACRN does not carry out a held hypercall until the test releases it. The rest of the
/// Service VM continues.
pub fn held_hypercall() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let (probe, vmid) = (&fixture.probe, fixture.vmid);
    let state = || probe.vm(vmid).expect("the VM").state;
    for any in [false, true] {
        probe.hold(PAUSE_VM, if any { ANY_VM } else { vmid });
        // mini-ACRN does not hold other hypercalls.
        assert_eq!(probe.call(START_VM, 0x7fff, 0), crate::parameters::NOTTY);
        assert!(!probe.is_held());
        let pause = thread::spawn(move || {
            let probe = Probe::open().expect("open a probe");
            probe.call(PAUSE_VM, vmid.into(), 0)
        });
        until("PAUSE_VM arrives", || probe.is_held());
        thread::sleep(Duration::from_millis(100));
        assert_eq!(state(), vm_state::CREATED);
        assert!(!pause.is_finished());
        // mini-ACRN does not hold the same hypercall of another thread.
        assert_eq!(probe.call(PAUSE_VM, vmid.into(), 0), 0);
        assert_eq!(state(), vm_state::PAUSED);
        probe.release();
        assert_eq!(pause.join().expect("join the thread"), 0);
        assert!(!probe.is_held());
        assert_eq!(probe.call(RESET_VM, vmid.into(), 0), 0);
    }
    Outcome::Passed
}
