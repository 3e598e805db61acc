// SPDX-License-Identifier: GPL-2.0

//! Ids of User VMs.

use kernel::fmt;

/// The id of a User VM, relative to the Service VM.
///
/// # Invariants
///
/// Not [`VmId::INVALID`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VmId(u16);

impl VmId {
    /// The id by which the hypervisor says that there is no VM (`ACRN_INVALID_VMID`).
    const INVALID: u16 = 0xFFFF;

    /// Returns the id `raw`, unless it is the invalid one.
    pub(super) fn new(raw: u16) -> Option<Self> {
        // INVARIANT: Checked here.
        (raw != Self::INVALID).then_some(Self(raw))
    }
}

impl From<VmId> for u16 {
    fn from(vm: VmId) -> u16 {
        vm.0
    }
}

impl From<VmId> for u64 {
    fn from(vm: VmId) -> u64 {
        vm.0.into()
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
