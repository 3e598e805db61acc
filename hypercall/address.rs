// SPDX-License-Identifier: GPL-2.0

//! Physical addresses: those of a User VM, and those of the Service VM.

/// Defines a 64-bit address of one address space.
macro_rules! define_address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(u64);

        impl From<u64> for $name {
            fn from(address: u64) -> Self {
                Self(address)
            }
        }

        impl From<$name> for u64 {
            fn from(address: $name) -> u64 {
                address.0
            }
        }

        impl kernel::fmt::Display for $name {
            fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
                f.write_fmt(kernel::prelude::fmt!("{:#x}", self.0))
            }
        }
    };
}
pub(crate) use define_address;

define_address! {
    /// A guest-physical address of a User VM (`user_vm_pa`).
    GuestPhys
}

define_address! {
    /// A physical address of the Service VM (`service_vm_pa`).
    ServicePhys
}
