// SPDX-License-Identifier: GPL-2.0

//! Tests of invalid parameters, and the errors of the hypervisor.

use acrn_selftests::{
    harness::Outcome, hypercall::*, mapping_fixture::MappingFixture, need, probe::Probe,
    region_array::set_memory_regions,
};

/// ACRN's general error.
pub const GENERIC: i64 = -1;
/// ACRN's error for an invalid parameter.
pub const INVALID: i64 = -22;
/// ACRN's error for an unknown hypercall or VM.
pub const NOTTY: i64 = -25;

/// Linux's vector of the upcall.
const VECTOR: u64 = 0xf3;

/// SET_CALLBACK_VECTOR refuses vectors of exceptions, and numbers that are no vector.
pub fn callback_vector() -> Outcome {
    let probe = need!(Probe::open());
    for vector in [0, 2, 0x1f, 0x100, VECTOR | 1 << 32] {
        let set = probe.call(SET_CALLBACK_VECTOR, vector, 0);
        assert_eq!(set, INVALID, "{vector:#x}");
    }
    assert_eq!(probe.call(SET_CALLBACK_VECTOR, VECTOR, 0), 0);
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH fails for a vCPU that the VM does not have.
pub fn notify_unknown_vcpu() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for vcpu in [1, 2, 15, 16, 0xffff] {
        let notified = fixture
            .probe
            .call(NOTIFY_REQUEST_FINISH, fixture.vmid.into(), vcpu);
        assert_eq!(notified, GENERIC, "vCPU {vcpu}");
    }
    Outcome::Passed
}

/// SET_MEMORY_REGIONS without a region fails.
pub fn no_regions() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let set = set_memory_regions(&fixture.probe, fixture.vmid, 0, 0);
    assert_eq!(set, GENERIC);
    assert_eq!(fixture.mapped_bytes(), 0);
    Outcome::Passed
}

/// SET_IOREQ_BUFFER refuses invalid request pages. The VM then has no request page, and does not
/// start.
pub fn request_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = || fixture.probe.vm(fixture.vmid).expect("the VM").request_page;
    let good = page();
    let set = |page: u64| {
        let parameter = page.to_le_bytes();
        fixture
            .probe
            .call_with_parameter(SET_IOREQ_BUFFER, Some(fixture.vmid), &parameter)
    };
    // These addresses are outside of the Service VM's memory.
    for wrong in [1 << 45, u64::MAX << 12] {
        assert_eq!(set(wrong), GENERIC, "{wrong:#x}");
        assert_eq!(page(), 0);
        assert_eq!(
            fixture.probe.call(START_VM, fixture.vmid.into(), 0),
            GENERIC,
            "START_VM"
        );
        assert_eq!(set(good), 0);
        assert_eq!(page(), good);
    }
    Outcome::Passed
}
