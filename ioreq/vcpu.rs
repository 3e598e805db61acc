// SPDX-License-Identifier: GPL-2.0

//! The vCPUs of a VM. Each has the slot of the request page whose index is its id.

use crate::uapi;
use kernel::{
    fmt,
    macros::kunit_tests,
    prelude::*, //
};

/// The slots of a request page, and the most vCPUs that a VM can have.
pub(crate) const SLOTS: u16 = uapi::ACRN_IO_REQUEST_MAX as u16;

/// The id of a vCPU, which is the index of its slot.
///
/// # Invariants
///
/// Less than [`SLOTS`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct VcpuId(u16);

impl VcpuId {
    /// Returns the bit of the vCPU in a mask of vCPUs.
    pub(crate) fn bit(self) -> u32 {
        1 << self.0
    }
}

impl From<VcpuId> for u16 {
    fn from(vcpu: VcpuId) -> u16 {
        vcpu.0
    }
}

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of vCPUs of a VM.
///
/// # Invariants
///
/// At most [`SLOTS`].
#[derive(Clone, Copy)]
pub(crate) struct VcpuCount(u16);

impl VcpuCount {
    /// Checks a number of vCPUs.
    ///
    /// Fails with `EINVAL` if the request page does not have that many slots.
    pub(crate) fn new(count: u16) -> Result<Self> {
        if count > SLOTS {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above.
        Ok(Self(count))
    }

    /// Returns the number.
    pub(crate) fn get(self) -> u16 {
        self.0
    }

    /// Returns the ids of all vCPUs.
    pub(crate) fn ids(self) -> impl Iterator<Item = VcpuId> {
        // INVARIANT: Less than the count, which is at most `SLOTS`.
        (0..self.0).map(VcpuId)
    }

    /// Returns the vCPU with the id `id`, if there is one.
    pub(crate) fn id(self, id: u32) -> Option<VcpuId> {
        // INVARIANT: As in `ids`.
        u16::try_from(id).ok().filter(|id| *id < self.0).map(VcpuId)
    }
}

#[kunit_tests(acrn_hsm_vcpu)]
mod tests {
    use super::*;

    #[test]
    fn no_more_vcpus_than_slots() {
        assert!(VcpuCount::new(0).is_ok());
        assert!(VcpuCount::new(SLOTS).is_ok_and(|count| count.get() == SLOTS));
        for count in [SLOTS + 1, 255, 256, u16::MAX] {
            assert!(VcpuCount::new(count).is_err_and(|error| error == EINVAL));
        }
    }

    #[test]
    fn ids_are_those_below_the_count() -> Result {
        for count in [0, 1, 3, SLOTS] {
            let count = VcpuCount::new(count)?;
            assert_eq!(count.ids().count(), usize::from(count.get()));
            for id in 0..2 * u32::from(SLOTS) {
                let found = count.id(id);
                assert_eq!(found.is_some(), id < u32::from(count.get()));
                assert!(found.is_none_or(|vcpu| u32::from(u16::from(vcpu)) == id));
            }
            // The low 16 bits alone would be vCPU 0.
            assert!(count.id(1 << 16).is_none());
            assert!(count.id(u32::MAX).is_none());
        }
        Ok(())
    }

    #[test]
    fn each_vcpu_has_its_bit() -> Result {
        let mut seen = 0;
        for vcpu in VcpuCount::new(SLOTS)?.ids() {
            assert_eq!(vcpu.bit().count_ones(), 1);
            assert_eq!(seen & vcpu.bit(), 0);
            seen |= vcpu.bit();
        }
        assert_eq!(seen.count_ones(), u32::from(SLOTS));
        Ok(())
    }
}
