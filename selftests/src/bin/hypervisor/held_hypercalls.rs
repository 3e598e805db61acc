// SPDX-License-Identifier: GPL-2.0

//! Hypercalls that mini-ACRN holds for a test.

use std::{thread, time::Duration};

use acrn_selftests::{
    harness::Outcome, hypercall::*, mapping_fixture::MappingFixture, need, probe::Probe,
    waiter::until,
};
use mini_acrn_channel::{ANY_VM, vm_state};

/// A held hypercall is not carried out before it is released, and the rest of the Service VM goes
/// on.
pub fn held_hypercall() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let (probe, vmid) = (&fixture.probe, fixture.vmid);
    let state = || probe.vm(vmid).expect("the VM").state;
    for any in [false, true] {
        probe.hold(PAUSE_VM, if any { ANY_VM } else { vmid });
        // Other hypercalls are not held.
        assert_eq!(probe.call(START_VM, 0x7fff, 0), crate::parameters::NOTTY);
        assert!(!probe.is_held());
        let pause = thread::spawn(move || {
            let probe = Probe::open().expect("a probe");
            probe.call(PAUSE_VM, vmid.into(), 0)
        });
        until("PAUSE_VM arrives", || probe.is_held());
        thread::sleep(Duration::from_millis(100));
        assert_eq!(state(), vm_state::CREATED);
        assert!(!pause.is_finished());
        // The same hypercall by another thread is not held.
        assert_eq!(probe.call(PAUSE_VM, vmid.into(), 0), 0);
        assert_eq!(state(), vm_state::PAUSED);
        probe.release();
        assert_eq!(pause.join().expect("the thread"), 0);
        assert!(!probe.is_held());
        assert_eq!(probe.call(RESET_VM, vmid.into(), 0), 0);
    }
    Outcome::Passed
}
