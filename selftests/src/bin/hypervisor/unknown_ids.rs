// SPDX-License-Identifier: GPL-2.0

//! Tests of unknown hypercalls and VMs.

use acrn_selftests::{
    harness::Outcome, hypercall::*, mapping_fixture::MappingFixture, need, probe::Probe,
    region_array::set_memory_regions,
};
use mini_acrn_channel::vm_state;

use crate::parameters::{GENERIC, NOTTY};

/// Hypercalls that take a VM and no memory.
const FOR_A_VM: [u32; 6] = [
    START_VM,
    PAUSE_VM,
    RESET_VM,
    DESTROY_VM,
    NOTIFY_REQUEST_FINISH,
    SET_IRQLINE,
];

/// The hypervisor refuses unknown hypercall numbers.
pub fn unknown_hypercalls() -> Outcome {
    let probe = need!(Probe::open());
    for id in [0x8000_0000, 0x8000_0014, 0x8000_0043, 0x8000_00ef] {
        assert_eq!(probe.call(id, 1, 0), NOTTY, "{id:#x}");
    }
    Outcome::Passed
}

/// The hypervisor uses only the low byte of a hypercall number.
pub fn low_byte_counts() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let id = PAUSE_VM & 0xff | 0x1234_5600;
    assert_eq!(fixture.probe.call(id, fixture.vmid.into(), 0), 0);
    let vm = fixture.probe.vm(fixture.vmid).expect("the VM");
    assert_eq!(vm.state, vm_state::PAUSED);
    Outcome::Passed
}

/// The hypervisor refuses VM ids that are too large.
pub fn unknown_vms() -> Outcome {
    let probe = need!(Probe::open());
    for vmid in [0x7fff, 0xffff] {
        for id in FOR_A_VM {
            assert_eq!(probe.call(id, vmid.into(), 0), NOTTY, "{id:#x} of {vmid}");
        }
        let set = set_memory_regions(&probe, vmid, 1, 0);
        assert_eq!(set, NOTTY, "SET_MEMORY_REGIONS of {vmid}");
    }
    Outcome::Passed
}

/// The hypervisor refuses a valid VM id of a VM that does not exist.
pub fn vm_that_is_off() -> Outcome {
    let fixture = need!(MappingFixture::new());
    fixture.destroy();
    let probe = &fixture.probe;
    for id in FOR_A_VM {
        assert_eq!(probe.call(id, fixture.vmid.into(), 0), GENERIC, "{id:#x}");
    }
    let set = set_memory_regions(probe, fixture.vmid, 1, 0);
    assert_eq!(set, GENERIC, "SET_MEMORY_REGIONS");
    Outcome::Passed
}
