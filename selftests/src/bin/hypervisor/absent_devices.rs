// SPDX-License-Identifier: GPL-2.0

//! Tests of invalid devices that ACRN accepts.

use acrn_selftests::{harness::Outcome, hypercall::*, mapping_fixture::MappingFixture, need};
use acrn_uapi::{acrn_mmiodev, acrn_ptdev_irq, acrn_ptdev_irq__bindgen_ty_1};
use zerocopy::IntoBytes;

use crate::parameters::GENERIC;

/// Returns the interrupt line of the PCI device `bdf`.
fn line(bdf: u16) -> acrn_ptdev_irq {
    acrn_ptdev_irq {
        virt_bdf: bdf,
        phys_bdf: bdf,
        intx: acrn_ptdev_irq__bindgen_ty_1 {
            virt_pin: 4,
            phys_pin: 5,
            ..Default::default()
        },
        ..Default::default()
    }
}

/// SET_PTDEV_INTR succeeds for a line that belongs to no PCI device.
pub fn line_of_no_device() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let call = |id, bdf| {
        fixture
            .probe
            .call_with_parameter(id, Some(fixture.vmid), line(bdf).as_bytes())
    };
    assert_eq!(
        call(SET_PTDEV_INTR, 0x18),
        GENERIC,
        "SET_PTDEV_INTR for an unknown PCI device"
    );
    assert_eq!(call(SET_PTDEV_INTR, 0xffff), 0);
    assert_eq!(call(RESET_PTDEV_INTR, 0xffff), 0);
    Outcome::Passed
}

/// ASSIGN_MMIODEV and DEASSIGN_MMIODEV of a device of zeros succeed in any order.
pub fn memory_of_no_device() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for id in [
        DEASSIGN_MMIODEV,
        ASSIGN_MMIODEV,
        ASSIGN_MMIODEV,
        DEASSIGN_MMIODEV,
    ] {
        let zeros = [0; size_of::<acrn_mmiodev>()];
        let result = fixture
            .probe
            .call_with_parameter(id, Some(fixture.vmid), &zeros);
        assert_eq!(result, 0, "{id:#x}");
    }
    Outcome::Passed
}
