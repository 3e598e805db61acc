// SPDX-License-Identifier: GPL-2.0

//! Tests of hypercalls that ACRN refuses because of the VM's state.

use acrn_selftests::{
    cpus,
    guest::{Guest, create_raw},
    harness::Outcome,
    hypercall::*,
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    program::greet_and_spin,
};
use mini_acrn_channel::vm_state;

use crate::parameters::GENERIC;

/// A VM, and the probe that shows its state.
struct Subject<'a> {
    probe: &'a Probe,
    vmid: u16,
}

impl Subject<'_> {
    fn call(&self, id: u32) -> i64 {
        self.probe.call(id, self.vmid.into(), 0)
    }

    /// Makes SET_IOREQ_BUFFER with the current request page.
    fn set_request_page(&self) -> i64 {
        let page = self.probe.vm(self.vmid).expect("the VM").request_page;
        self.probe
            .call_with_parameter(SET_IOREQ_BUFFER, Some(self.vmid), &page.to_le_bytes())
    }

    /// Panics unless the hypervisor refuses the hypercalls `ids`, and the VM is in `state` before
    /// and after.
    #[track_caller]
    fn assert_refused(&self, state: u8, ids: &[u32]) {
        self.assert_state(state);
        for id in ids {
            assert_eq!(self.call(*id), GENERIC, "{id:#x} in state {state}");
            self.assert_state(state);
        }
    }

    #[track_caller]
    fn assert_state(&self, state: u8) {
        let vm = self.probe.vm(self.vmid).expect("the VM");
        assert_eq!(vm.state, state, "state of the VM");
    }
}

/// A VM without a request page does not start, and NOTIFY_REQUEST_FINISH fails.
pub fn no_request_page() -> Outcome {
    let probe = need!(Probe::open());
    // For the driver, SET_IOREQ_BUFFER succeeds.
    probe.push_fault(fault(SET_IOREQ_BUFFER, 0));
    let (_device, _page, vmid) = create_raw(need!(cpus::pick(1)));
    assert_eq!(probe.vm(vmid).expect("the VM").has_request_page, 0);
    let subject = Subject {
        probe: &probe,
        vmid,
    };
    subject.assert_refused(vm_state::CREATED, &[START_VM, NOTIFY_REQUEST_FINISH]);
    Outcome::Passed
}

/// DESTROY_VM and RESET_VM fail before the VM starts.
pub fn created() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let subject = Subject {
        probe: &fixture.probe,
        vmid: fixture.vmid,
    };
    subject.assert_refused(vm_state::CREATED, &[DESTROY_VM, RESET_VM]);
    Outcome::Passed
}

/// DESTROY_VM, RESET_VM, START_VM and SET_IOREQ_BUFFER fail while the VM runs.
pub fn running() -> Outcome {
    let probe = need!(Probe::open());
    let guest = Guest::long_mode(need!(cpus::pick(1)), &greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    let subject = Subject {
        probe: &probe,
        vmid: guest.vm.vmid(),
    };
    subject.assert_refused(vm_state::RUNNING, &[DESTROY_VM, RESET_VM, START_VM]);
    assert_eq!(subject.set_request_page(), GENERIC);
    Outcome::Passed
}

/// START_VM and SET_IOREQ_BUFFER fail from PAUSE_VM, which may be repeated, until RESET_VM.
pub fn paused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let subject = Subject {
        probe: &fixture.probe,
        vmid: fixture.vmid,
    };
    for _ in 0..2 {
        assert_eq!(subject.call(PAUSE_VM), 0);
    }
    subject.assert_refused(vm_state::PAUSED, &[START_VM]);
    assert_eq!(subject.set_request_page(), GENERIC);
    assert_eq!(subject.call(RESET_VM), 0);
    subject.assert_state(vm_state::CREATED);
    assert_eq!(subject.set_request_page(), 0);
    Outcome::Passed
}
