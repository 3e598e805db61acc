// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The hypercalls and their ids.

use core::fmt;

/// The bits that all ids have in common. ACRN dispatches by the low byte alone.
pub const ID_BASE: u32 = 0x8000_0000;

/// An id that belongs to no hypercall of [`Hypercall`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownHypercall;

macro_rules! hypercalls {
    ($($(#[$doc:meta])* $variant:ident = $name:ident = $id:literal,)*) => {
        /// A hypercall.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Hypercall {
            $($(#[$doc])* $variant = $id,)*
        }

        impl Hypercall {
            /// Every hypercall, in the order of the ids.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns ACRN's name, without the prefix `HC_`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)*
                }
            }
        }

        impl TryFrom<u32> for Hypercall {
            type Error = UnknownHypercall;

            fn try_from(id: u32) -> Result<Self, UnknownHypercall> {
                match id {
                    $($id => Ok(Self::$variant),)*
                    _ => Err(UnknownHypercall),
                }
            }
        }

        /// The ids as plain numbers, for code that compares them with those of a trace.
        pub mod id {
            use super::Hypercall;
            $(
                #[doc = concat!("Id of [`Hypercall::", stringify!($variant), "`].")]
                pub const $name: u32 = Hypercall::$variant as u32;
            )*
        }
    };
}

hypercalls! {
    /// Takes a CPU from the Service VM.
    ServiceVmOfflineCpu = SERVICE_VM_OFFLINE_CPU = 0x8000_0001,
    /// Sets the vector of the upcall.
    SetCallbackVector = SET_CALLBACK_VECTOR = 0x8000_0002,
    /// Creates a User VM.
    CreateVm = CREATE_VM = 0x8000_0010,
    /// Destroys a User VM.
    DestroyVm = DESTROY_VM = 0x8000_0011,
    /// Starts the vCPUs of a User VM.
    StartVm = START_VM = 0x8000_0012,
    /// Pauses a User VM.
    PauseVm = PAUSE_VM = 0x8000_0013,
    /// Resets a User VM.
    ResetVm = RESET_VM = 0x8000_0015,
    /// Sets the registers of a vCPU.
    SetVcpuRegs = SET_VCPU_REGS = 0x8000_0016,
    /// Injects a message-signalled interrupt.
    InjectMsi = INJECT_MSI = 0x8000_0023,
    /// Counts or delays interrupts.
    VmIntrMonitor = VM_INTR_MONITOR = 0x8000_0024,
    /// Sets the level of an interrupt line.
    SetIrqline = SET_IRQLINE = 0x8000_0025,
    /// Sets the request page.
    SetIoreqBuffer = SET_IOREQ_BUFFER = 0x8000_0030,
    /// Tells the hypervisor that a request is complete.
    NotifyRequestFinish = NOTIFY_REQUEST_FINISH = 0x8000_0031,
    /// Registers an address whose writes go to the ring of asynchronous I/O.
    AsyncioAssign = ASYNCIO_ASSIGN = 0x8000_0032,
    /// Unregisters an address of [`Self::AsyncioAssign`].
    AsyncioDeassign = ASYNCIO_DEASSIGN = 0x8000_0033,
    /// Maps or unmaps memory of a User VM.
    SetMemoryRegions = SET_MEMORY_REGIONS = 0x8000_0042,
    /// Sets up a shared ring.
    SetupSbuf = SETUP_SBUF = 0x8000_0044,
    /// Routes an interrupt line of a passed-through device.
    SetPtdevIntr = SET_PTDEV_INTR = 0x8000_0053,
    /// Undoes [`Self::SetPtdevIntr`].
    ResetPtdevIntr = RESET_PTDEV_INTR = 0x8000_0054,
    /// Passes a PCI device through.
    AssignPcidev = ASSIGN_PCIDEV = 0x8000_0055,
    /// Undoes [`Self::AssignPcidev`].
    DeassignPcidev = DEASSIGN_PCIDEV = 0x8000_0056,
    /// Passes an MMIO device through.
    AssignMmiodev = ASSIGN_MMIODEV = 0x8000_0057,
    /// Undoes [`Self::AssignMmiodev`].
    DeassignMmiodev = DEASSIGN_MMIODEV = 0x8000_0058,
    /// Creates a device that the hypervisor emulates.
    CreateVdev = CREATE_VDEV = 0x8000_0059,
    /// Undoes [`Self::CreateVdev`].
    DestroyVdev = DESTROY_VDEV = 0x8000_005A,
    /// Reads data about the idle and performance states of a CPU.
    PmGetCpuState = PM_GET_CPU_STATE = 0x8000_0080,
}

impl Hypercall {
    /// Returns the id.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Returns the hypercall that ACRN dispatches to for a `number`, the low byte of R8.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::try_from(ID_BASE | u32::from(number)).ok()
    }

    /// Returns the low byte of the id.
    pub const fn number(self) -> u8 {
        self as u32 as u8
    }
}

impl TryFrom<u64> for Hypercall {
    type Error = UnknownHypercall;

    fn try_from(id: u64) -> Result<Self, UnknownHypercall> {
        Self::try_from(u32::try_from(id).map_err(|_| UnknownHypercall)?)
    }
}

impl fmt::Display for Hypercall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of an id, or the id in hexadecimal if it belongs to no hypercall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name(u32);

/// Returns the name of `id` for a message.
pub const fn name(id: u32) -> Name {
    Name(id)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Hypercall::try_from(self.0) {
            Ok(hypercall) => hypercall.fmt(f),
            Err(UnknownHypercall) => write!(f, "hypercall {:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::ToString;

    #[test]
    fn ids_and_names_are_unique_and_in_order() {
        for pair in Hypercall::ALL.windows(2) {
            assert!(pair[0].id() < pair[1].id(), "{} {}", pair[0], pair[1]);
            assert_ne!(pair[0].name(), pair[1].name());
        }
    }

    #[test]
    fn ids_convert_both_ways() {
        for hypercall in Hypercall::ALL {
            let id = hypercall.id();
            assert_eq!(id & !0xFF, ID_BASE);
            assert_eq!(Hypercall::try_from(id), Ok(*hypercall));
            assert_eq!(Hypercall::try_from(u64::from(id)), Ok(*hypercall));
            assert_eq!(
                Hypercall::try_from(u64::from(id) | 1 << 32),
                Err(UnknownHypercall)
            );
            assert_eq!(Hypercall::from_number(hypercall.number()), Some(*hypercall));
        }
        assert_eq!(Hypercall::from_number(0), None);
    }

    #[test]
    fn messages_name_known_and_unknown_ids() {
        assert_eq!(name(id::CREATE_VM).to_string(), "CREATE_VM");
        assert_eq!(name(0x8000_0014).to_string(), "hypercall 0x80000014");
    }
}
