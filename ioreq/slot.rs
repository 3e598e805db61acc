// SPDX-License-Identifier: GPL-2.0

//! A slot of the request page, and its states.
//!
//! Layout and states: `struct acrn_io_request` in `uapi/acrn.h`. User space can write to any byte
//! at any time. So each field is read once, by an atomic load, and only the copy is used.

use super::{
    access::{
        Access,
        Direction,
        PciConfigAddress,
        Space, //
    },
    vcpu::VcpuId, //
};
use crate::uapi;
use core::mem::offset_of;
use kernel::{
    macros::kunit_tests,
    prelude::*,
    sync::atomic::{
        ordering,
        Atomic, //
    },
};

/// 4-byte words of a slot.
const WORDS: usize = size_of::<uapi::acrn_io_request>() / size_of::<u32>();

/// The memory of a slot.
pub(super) type SlotWords = [Atomic<u32>; WORDS];
static_assert!(size_of::<SlotWords>() == size_of::<uapi::acrn_io_request>());

/// Offsets in `struct acrn_io_request`.
mod offset {
    use super::*;

    pub(super) const TYPE: usize = offset_of!(uapi::acrn_io_request, type_);
    pub(super) const COMPLETION_POLLING: usize =
        offset_of!(uapi::acrn_io_request, completion_polling);
    pub(super) const KERNEL_HANDLED: usize = offset_of!(uapi::acrn_io_request, kernel_handled);
    pub(super) const PROCESSED: usize = offset_of!(uapi::acrn_io_request, processed);

    /// The union of the types of requests.
    const REQUEST: usize = offset_of!(uapi::acrn_io_request, reqs);
    // Common to all types.
    pub(super) const DIRECTION: usize = REQUEST;
    pub(super) const SIZE: usize = REQUEST + 16;
    pub(super) const SIZE_HIGH: usize = SIZE + 4;
    // Port I/O and MMIO.
    pub(super) const ADDRESS: usize = REQUEST + 8;
    pub(super) const ADDRESS_HIGH: usize = ADDRESS + 4;
    // 4 bytes for port I/O and PCI configuration space, 8 bytes for MMIO.
    pub(super) const VALUE: usize = REQUEST + 24;
    pub(super) const VALUE_HIGH: usize = VALUE + 4;
    // PCI configuration space.
    pub(super) const BUS: usize = REQUEST + 28;
    pub(super) const DEVICE: usize = REQUEST + 32;
    pub(super) const FUNCTION: usize = REQUEST + 36;
    pub(super) const REGISTER: usize = REQUEST + 40;
}

/// A request that has become COMPLETE, and how the hypervisor learns of it.
#[derive(PartialEq, Eq)]
#[must_use]
pub(crate) enum Completed {
    /// The vCPU sleeps until NOTIFY_REQUEST_FINISH.
    Notify(VcpuId),
    /// The hypervisor polls the slot.
    Polled,
}

/// The slot of a vCPU.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    words: &'a SlotWords,
    vcpu: VcpuId,
}

impl<'a> Slot<'a> {
    /// Returns the slot of `vcpu`, whose memory is `words`.
    pub(super) fn new(words: &'a SlotWords, vcpu: VcpuId) -> Self {
        Self { words, vcpu }
    }

    /// Returns the vCPU that the slot belongs to.
    pub(crate) fn vcpu(self) -> VcpuId {
        self.vcpu
    }

    fn word<const OFFSET: usize>(self) -> &'a Atomic<u32> {
        const { assert!(OFFSET % size_of::<u32>() == 0 && OFFSET / size_of::<u32>() < WORDS) };
        &self.words[OFFSET / size_of::<u32>()]
    }

    fn read<const OFFSET: usize>(self) -> u32 {
        self.word::<OFFSET>().load(ordering::Relaxed)
    }

    fn write<const OFFSET: usize>(self, value: u32) {
        self.word::<OFFSET>().store(value, ordering::Relaxed);
    }

    fn read_u64<const LOW: usize, const HIGH: usize>(self) -> u64 {
        u64::from(self.read::<LOW>()) | u64::from(self.read::<HIGH>()) << 32
    }

    /// Returns whether the request is PENDING: the hypervisor waits for it to be handled. All that
    /// the hypervisor wrote before is visible after this.
    pub(crate) fn is_pending(self) -> bool {
        self.word::<{ offset::PROCESSED }>().load(ordering::Acquire)
            == uapi::ACRN_IOREQ_STATE_PENDING
    }

    /// Returns the request, if it is a valid access to a port or to memory.
    pub(crate) fn access(self) -> Option<Access> {
        let space = match self.read::<{ offset::TYPE }>() {
            uapi::ACRN_IOREQ_TYPE_PORTIO => Space::Port,
            uapi::ACRN_IOREQ_TYPE_MMIO => Space::Memory,
            _ => return None,
        };
        let size = self.read_u64::<{ offset::SIZE }, { offset::SIZE_HIGH }>();
        let value = || match space {
            Space::Port => self.read::<{ offset::VALUE }>().into(),
            Space::Memory => self.read_u64::<{ offset::VALUE }, { offset::VALUE_HIGH }>(),
        };
        matches!(size, 1..=8).then(|| Access {
            space,
            direction: match self.read::<{ offset::DIRECTION }>() {
                uapi::ACRN_IOREQ_DIR_READ => Direction::Read,
                _ => Direction::Write(value()),
            },
            address: self.read_u64::<{ offset::ADDRESS }, { offset::ADDRESS_HIGH }>(),
            size,
        })
    }

    /// Turns the request into one for PCI configuration space. Size, direction and value stay.
    pub(crate) fn set_pci_config(self, address: PciConfigAddress) {
        self.write::<{ offset::TYPE }>(uapi::ACRN_IOREQ_TYPE_PCICFG);
        self.write::<{ offset::BUS }>(address.bus);
        self.write::<{ offset::DEVICE }>(address.device);
        self.write::<{ offset::FUNCTION }>(address.function);
        self.write::<{ offset::REGISTER }>(address.register);
    }

    /// Moves the slot from PENDING to PROCESSING, for the device model. Returns false if the
    /// request is no longer pending.
    pub(crate) fn hand_to_device_model(self) -> bool {
        self.write::<{ offset::KERNEL_HANDLED }>(0);
        self.transition(
            uapi::ACRN_IOREQ_STATE_PENDING,
            uapi::ACRN_IOREQ_STATE_PROCESSING,
        )
    }

    /// Moves the slot from PENDING to COMPLETE, for an access that the kernel handles. `value` is
    /// the value that a read returns.
    pub(crate) fn complete_pending(self, access: &Access, value: u32) -> Option<Completed> {
        if access.direction == Direction::Read {
            self.write::<{ offset::VALUE }>(value);
            if access.space == Space::Memory {
                self.write::<{ offset::VALUE_HIGH }>(0);
            }
        }
        self.complete_from(uapi::ACRN_IOREQ_STATE_PENDING)
    }

    /// Moves the slot from PROCESSING to COMPLETE, with the value that the device model wrote.
    ///
    /// The device model may have made the slot COMPLETE itself; upstream's driver accepts that.
    pub(crate) fn complete_processing(self) -> Option<Completed> {
        self.complete_from(uapi::ACRN_IOREQ_STATE_PROCESSING)
            .or_else(|| self.complete_from(uapi::ACRN_IOREQ_STATE_COMPLETE))
    }

    /// Moves the slot from PENDING or PROCESSING to COMPLETE, as if no device existed: reads
    /// return all ones.
    ///
    /// If the device model made the slot COMPLETE itself and has not notified yet, its answer
    /// stays.
    pub(crate) fn abandon(self) -> Option<Completed> {
        let state = self.read::<{ offset::PROCESSED }>();
        if state == uapi::ACRN_IOREQ_STATE_COMPLETE {
            return self.complete_from(state);
        }
        if state != uapi::ACRN_IOREQ_STATE_PENDING && state != uapi::ACRN_IOREQ_STATE_PROCESSING {
            return None;
        }
        if self.read::<{ offset::DIRECTION }>() == uapi::ACRN_IOREQ_DIR_READ {
            self.write::<{ offset::VALUE }>(u32::MAX);
            if self.read::<{ offset::TYPE }>() == uapi::ACRN_IOREQ_TYPE_MMIO {
                self.write::<{ offset::VALUE_HIGH }>(u32::MAX);
            }
        }
        // The device model may have made the slot COMPLETE meanwhile.
        self.complete_from(state)
            .or_else(|| self.complete_from(uapi::ACRN_IOREQ_STATE_COMPLETE))
    }

    /// Moves the slot from `from` to COMPLETE.
    ///
    /// Returns `None` if the slot was in another state: it was completed elsewhere, or user space
    /// overwrote it, and no notification is owed to the hypervisor.
    fn complete_from(self, from: u32) -> Option<Completed> {
        // A hypervisor that polls may reuse the slot as soon as it is COMPLETE: read this before.
        let polling = self.read::<{ offset::COMPLETION_POLLING }>() != 0;
        if !self.transition(from, uapi::ACRN_IOREQ_STATE_COMPLETE) {
            return None;
        }
        Some(if polling {
            Completed::Polled
        } else {
            Completed::Notify(self.vcpu)
        })
    }

    /// Moves the slot from one state to another. All that was written before is visible to a reader
    /// of the new state.
    fn transition(self, from: u32, to: u32) -> bool {
        self.word::<{ offset::PROCESSED }>()
            .cmpxchg(from, to, ordering::Full)
            .is_ok()
    }
}

#[kunit_tests(acrn_hsm_slot)]
mod tests {
    use super::{
        super::vcpu::{
            VcpuCount,
            SLOTS, //
        },
        *,
    };

    const FREE: u32 = uapi::ACRN_IOREQ_STATE_FREE;
    const PENDING: u32 = uapi::ACRN_IOREQ_STATE_PENDING;
    const PROCESSING: u32 = uapi::ACRN_IOREQ_STATE_PROCESSING;
    const COMPLETE: u32 = uapi::ACRN_IOREQ_STATE_COMPLETE;
    /// All states, and a number that is none.
    const STATES: [u32; 5] = [FREE, PENDING, PROCESSING, COMPLETE, 77];

    fn memory() -> SlotWords {
        [const { Atomic::new(0) }; WORDS]
    }

    /// Runs `test` on a slot in the given state.
    fn with_slot<T>(state: u32, test: impl FnOnce(Slot<'_>) -> T) -> Result<T> {
        let vcpu = VcpuCount::new(SLOTS)?.id(5).ok_or(EINVAL)?;
        let words = memory();
        let slot = Slot::new(&words, vcpu);
        slot.write::<{ offset::PROCESSED }>(state);
        Ok(test(slot))
    }

    fn state(slot: Slot<'_>) -> u32 {
        slot.read::<{ offset::PROCESSED }>()
    }

    const READ: Access = Access {
        space: Space::Memory,
        direction: Direction::Read,
        address: 0x1000,
        size: 8,
    };

    #[test]
    fn only_pending_requests_are_handed_over() -> Result {
        for from in STATES {
            with_slot(from, |slot| {
                slot.write::<{ offset::KERNEL_HANDLED }>(1);
                assert_eq!(slot.is_pending(), from == PENDING);
                assert_eq!(slot.hand_to_device_model(), from == PENDING);
                assert_eq!(state(slot), if from == PENDING { PROCESSING } else { from });
                assert_eq!(slot.read::<{ offset::KERNEL_HANDLED }>(), 0);
            })?;
        }
        Ok(())
    }

    #[test]
    fn completions_by_state() -> Result {
        for from in STATES {
            let results = [
                (
                    with_slot(from, |slot| {
                        (slot.complete_pending(&READ, 1).is_some(), state(slot))
                    })?,
                    from == PENDING,
                ),
                (
                    with_slot(from, |slot| {
                        (slot.complete_processing().is_some(), state(slot))
                    })?,
                    from == PROCESSING || from == COMPLETE,
                ),
                (
                    with_slot(from, |slot| (slot.abandon().is_some(), state(slot)))?,
                    from == PENDING || from == PROCESSING || from == COMPLETE,
                ),
            ];
            for ((done, now), expected) in results {
                assert_eq!(done, expected);
                assert_eq!(now, if expected { COMPLETE } else { from });
            }
        }
        Ok(())
    }

    #[test]
    fn the_hypervisor_is_notified_unless_it_polls() -> Result {
        for (polling, is_notified) in [(0, true), (1, false), (u32::MAX, false)] {
            with_slot(PROCESSING, |slot| {
                slot.write::<{ offset::COMPLETION_POLLING }>(polling);
                let expected = if is_notified {
                    Completed::Notify(slot.vcpu())
                } else {
                    Completed::Polled
                };
                assert!(slot.complete_processing() == Some(expected));
            })?;
        }
        Ok(())
    }

    #[test]
    fn abandoned_reads_return_all_ones() -> Result {
        for (kind, high) in [
            (uapi::ACRN_IOREQ_TYPE_PORTIO, 7),
            (uapi::ACRN_IOREQ_TYPE_PCICFG, 7),
            (uapi::ACRN_IOREQ_TYPE_MMIO, u32::MAX),
        ] {
            for (direction, low) in [(uapi::ACRN_IOREQ_DIR_READ, u32::MAX), (1, 6)] {
                with_slot(PROCESSING, |slot| {
                    slot.write::<{ offset::TYPE }>(kind);
                    slot.write::<{ offset::DIRECTION }>(direction);
                    slot.write::<{ offset::VALUE }>(6);
                    slot.write::<{ offset::VALUE_HIGH }>(7);
                    assert!(slot.abandon().is_some());
                    assert_eq!(slot.read::<{ offset::VALUE }>(), low);
                    let expected = if low == 6 { 7 } else { high };
                    assert_eq!(slot.read::<{ offset::VALUE_HIGH }>(), expected);
                })?;
            }
        }
        Ok(())
    }

    #[test]
    fn an_answer_of_the_device_model_stays() -> Result {
        with_slot(COMPLETE, |slot| {
            slot.write::<{ offset::VALUE }>(6);
            assert!(slot.abandon().is_some());
            assert_eq!(slot.read::<{ offset::VALUE }>(), 6);
        })
    }

    #[test]
    fn invalid_requests_are_no_accesses() -> Result {
        for (kind, size, is_valid) in [
            (uapi::ACRN_IOREQ_TYPE_PORTIO, 4, true),
            (uapi::ACRN_IOREQ_TYPE_MMIO, 8, true),
            (uapi::ACRN_IOREQ_TYPE_MMIO, 0, false),
            (uapi::ACRN_IOREQ_TYPE_MMIO, 9, false),
            (uapi::ACRN_IOREQ_TYPE_PCICFG, 4, false),
            (77, 4, false),
        ] {
            with_slot(PENDING, |slot| {
                slot.write::<{ offset::TYPE }>(kind);
                slot.write::<{ offset::SIZE }>(size);
                assert_eq!(slot.access().is_some(), is_valid);
                slot.write::<{ offset::SIZE_HIGH }>(1);
                assert!(slot.access().is_none());
            })?;
        }
        Ok(())
    }

    #[test]
    fn the_value_of_a_port_has_32_bits() -> Result {
        for (kind, value) in [
            (uapi::ACRN_IOREQ_TYPE_PORTIO, 6),
            (uapi::ACRN_IOREQ_TYPE_MMIO, 7 << 32 | 6),
        ] {
            with_slot(PENDING, |slot| {
                slot.write::<{ offset::TYPE }>(kind);
                slot.write::<{ offset::SIZE }>(1);
                slot.write::<{ offset::DIRECTION }>(uapi::ACRN_IOREQ_DIR_WRITE);
                slot.write::<{ offset::VALUE }>(6);
                slot.write::<{ offset::VALUE_HIGH }>(7);
                let direction = slot.access().map(|access| access.direction);
                assert!(direction == Some(Direction::Write(value)));
            })?;
        }
        Ok(())
    }
}
