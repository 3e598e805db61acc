// SPDX-License-Identifier: GPL-2.0

//! Tests of operations during a DESTROY_VM, which may fail. The operations wait for its result.
//!
//! They also wait for the result of START_VM, and of a RESET_VM that fails.

use std::sync::Arc;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    eventfd::{Eventfd, until_released},
    guest::{Guest, create_raw},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{
        DESTROY_VM, INJECT_MSI, NOTIFY_REQUEST_FINISH, RESET_VM, SET_IRQLINE, SET_MEMORY_REGIONS,
        START_VM,
    },
    leaks,
    mapping_fixture::ram,
    need,
    probe::Probe,
    program::{self, Access, read, write},
    scripted_vm::{ScriptedVm, request},
    trace::Trace,
    waiter::{SleepingCommand, until},
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::reused_id::assign_eventfds;

const READ: Access = read(Target::Port(0x510), Width::Four);
const CONFIG_ADDRESS: Access = write(Target::Port(0xcf8), Width::Four, 0x8000_0000);
/// Guest address of memory that is set while the hypercall is in progress. There is no other
/// memory.
const ADDRESS: u64 = 4 << 20;

/// The result of DESTROY_VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The hypervisor refuses, because the VM is not paused.
    NotPaused,
    /// The hypervisor refuses, although the VM is paused.
    Refused,
    /// The VM is destroyed.
    Done,
}

const ENDS: [End; 3] = [End::NotPaused, End::Refused, End::Done];

impl End {
    fn result(self) -> Result<(), Errno> {
        match self {
            Self::NotPaused => Err(Errno::EPERM),
            Self::Refused => Err(Errno::EIO),
            Self::Done => Ok(()),
        }
    }

    /// Makes DESTROY_VM, whose hypercall mini-ACRN holds.
    fn begin<'a>(self, probe: &'a Probe, vm: &ScriptedVm) -> HeldHypercall<'a, Result<(), Errno>> {
        if self != Self::NotPaused {
            vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        }
        if self == Self::Refused {
            probe.refuse(DESTROY_VM, vm.vmid);
        }
        let device = vm.device.clone();
        HeldHypercall::start(probe, DESTROY_VM, vm.vmid, move || {
            device.plain(ACRN_IOCTL_DESTROY_VM)
        })
    }
}

/// Waits until the driver dispatches a request of `last`, the last VM on the driver's list.
///
/// By then, each earlier upcall has scanned all other VMs.
fn dispatch(last: &ScriptedVm) {
    let slot = last.page.slot(0).expect("slot 0");
    assert_eq!(last.probe.raise(request(last.vmid, 0, READ)), 0);
    until("the other VM's request is dispatched", || slot.is_ours());
    assert_eq!(last.finish(0), Ok(()));
    until("mini-ACRN frees the slot", || {
        slot.state() == ACRN_IOREQ_STATE_FREE
    });
}

/// During DESTROY_VM, requests for the driver and for the device model stay PENDING.
///
/// The driver examines them again if the VM is not destroyed.
pub fn requests_during_destroy() -> Outcome {
    let masks = need!(cpus::pick_many(&[2, 1]));
    for end in ENDS {
        let vm = need!(ScriptedVm::on(masks[0]));
        let last = need!(ScriptedVm::on(masks[1]));
        let accesses = [READ, CONFIG_ADDRESS];
        let slots = [0, 1].map(|vcpu| vm.page.slot(vcpu).expect("a slot"));
        let trace = Trace::start(&last.probe);
        let held = end.begin(&last.probe, &vm);
        for (vcpu, access) in (0..).zip(accesses) {
            assert_eq!(last.probe.raise(request(vm.vmid, vcpu, access)), 0);
        }
        dispatch(&last);
        for slot in slots {
            assert_eq!(slot.state(), ACRN_IOREQ_STATE_PENDING, "{end:?}");
        }
        assert_eq!(held.release(), end.result());
        if end == End::Done {
            dispatch(&last);
            for slot in slots {
                assert_eq!(
                    slot.state(),
                    ACRN_IOREQ_STATE_PENDING,
                    "slot of a destroyed VM"
                );
            }
        } else {
            assert!(
                slots[0].is_ours(),
                "{end:?}: the request was not examined again"
            );
            assert_ne!(slots[1].state(), ACRN_IOREQ_STATE_PENDING, "{end:?}");
            assert_eq!(vm.finish(0), Ok(()));
            // The driver notifies the hypervisor of both, unless the VM is paused.
            let calls = trace.calls(NOTIFY_REQUEST_FINISH);
            let notified = calls.iter().filter(|call| call.p1 == vm.vmid.into());
            let expected = if end == End::NotPaused { 2 } else { 0 };
            assert_eq!(notified.count(), expected, "{end:?}");
        }
        trace.assert_sane();
    }
    Outcome::Passed
}

fn inject(device: &Device) -> Result<(), Errno> {
    device.inject_msi(APIC, 0x32)
}

fn set_line(device: &Device) -> Result<(), Errno> {
    device.set_irqline(4, 2)
}

/// Assigns an irqfd to a VM.
fn irqfd(device: &Device) -> Eventfd {
    let event = Eventfd::new();
    device.irqfd(&event, 0, APIC, 0x31).expect("IRQFD");
    event
}

/// During DESTROY_VM, the driver sends no interrupts. It sends them afterwards if the VM still
/// exists and is not paused.
pub fn interrupts_during_destroy() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let probe = need!(Probe::open());
    for end in ENDS {
        let vm = need!(ScriptedVm::on(cpus));
        let event = irqfd(&vm.device);
        let trace = Trace::start(&probe);
        let held = end.begin(&probe, &vm);
        event.signal();
        let commands = [inject, set_line].map(|send| {
            let device = vm.device.clone();
            SleepingCommand::start_or_finish(move || send(&device))
        });
        for id in [INJECT_MSI, SET_IRQLINE] {
            assert_eq!(
                trace.calls(id).len(),
                0,
                "{end:?}: {id:#x} during DESTROY_VM"
            );
        }
        assert_eq!(held.release(), end.result());
        let (sent, result) = match end {
            End::NotPaused => ((2, 1), Ok(())),
            End::Refused => ((0, 0), Ok(())),
            End::Done => ((0, 0), Err(Errno::EINVAL)),
        };
        for command in commands {
            assert_eq!(command.result(), result, "{end:?}");
        }
        let notified = [INJECT_MSI, SET_IRQLINE].map(|id| trace.calls(id).len());
        assert_eq!(notified, [sent.0, sent.1], "{end:?}");
        if end != End::Done {
            assert_eq!(event.take(), 0, "{end:?}: events left in the eventfd");
        }
    }
    Outcome::Passed
}

/// During DESTROY_VM, commands wait. They take effect only if the VM is not destroyed.
pub fn commands_during_destroy() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let probe = need!(Probe::open());
    for end in ENDS {
        let vm = need!(ScriptedVm::on(cpus));
        let memory = Arc::new(GuestMemory::anonymous(PAGE));
        memory.write::<u64>(0, 0x5eed);
        let held = end.begin(&probe, &vm);
        let trace = Trace::start(&probe);
        let set = {
            let (device, memory) = (vm.device.clone(), memory.clone());
            let mut segment = ram(ADDRESS, &memory, 0, PAGE);
            SleepingCommand::start_or_finish(move || {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
            })
        };
        let device = vm.device.clone();
        let clear =
            SleepingCommand::start_or_finish(move || device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ));
        assert_eq!(trace.calls(SET_MEMORY_REGIONS).len(), 0, "{end:?}");
        assert_eq!(held.release(), end.result());
        // After a refusal, the VM may be gone all the same, and gets no more memory.
        let (set_result, clear_result) = match end {
            End::NotPaused => (Ok(()), Ok(())),
            End::Refused => (Err(Errno::ENODEV), Ok(())),
            End::Done => (Err(Errno::EINVAL), Err(Errno::EINVAL)),
        };
        assert_eq!(set.result(), set_result, "{end:?}");
        assert_eq!(clear.result(), clear_result, "{end:?}");
        let changes = trace.calls(SET_MEMORY_REGIONS).len();
        assert_eq!(changes, usize::from(set_result.is_ok()), "{end:?}");
        if set_result.is_ok() {
            let seen = probe.read_guest(vm.vmid, ADDRESS, 8);
            assert_eq!(seen.as_deref(), Some(&0x5eed_u64.to_le_bytes()[..]));
        }
    }
    Outcome::Passed
}

/// Closing the file releases the eventfds before DESTROY_VM, whether the hypervisor destroys the VM
/// or refuses.
///
/// Requests that the guest makes during DESTROY_VM stay PENDING. If the hypervisor refuses, the
/// driver completes them as if there were no device.
pub fn close_under_way() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    for refused in [false, true] {
        let vm = need!(ScriptedVm::on(masks[0]));
        let last = need!(ScriptedVm::on(masks[1]));
        let (events, ids) = assign_eventfds(&*vm.device);
        let slot = vm.page.slot(0).expect("slot 0");
        if refused {
            last.probe.refuse(DESTROY_VM, vm.vmid);
        }
        let Some(device) = Arc::into_inner(vm.device) else {
            panic!("the device is still shared");
        };
        let trace = Trace::start(&last.probe);
        let held = HeldHypercall::start(&last.probe, DESTROY_VM, vm.vmid, move || device.close());
        assert_eq!(last.probe.raise(request(vm.vmid, 0, READ)), 0);
        dispatch(&last);
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_PENDING);
        for event in &events {
            event.signal();
            assert_eq!(event.take(), 1, "events left in the eventfd");
        }
        assert_eq!(trace.calls(INJECT_MSI).len(), 0);
        drop(events);
        until_released(&ids);
        held.release();
        if refused {
            // mini-ACRN frees the slots of COMPLETE requests.
            let state = slot.state();
            let ended = [ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_FREE].contains(&state);
            assert!(ended, "the request of an orphan is in state {state}");
            let notified = trace.calls(NOTIFY_REQUEST_FINISH);
            let notified = notified.iter().filter(|call| call.p1 == vm.vmid.into());
            assert_eq!(notified.count(), 0, "notifications of a paused VM");
        } else {
            assert_eq!(
                slot.state(),
                ACRN_IOREQ_STATE_PENDING,
                "slot of a destroyed VM"
            );
        }
        drop(last);
        create_raw(masks[1]);
        vm.probe.assert_no_vms();
    }
    Outcome::Passed
}

/// Memory that is unset during START_VM stays pinned until the VM is paused, because the guest may
/// access it until then.
pub fn memory_goes_during_start() -> Outcome {
    let probe = need!(Probe::open());
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    let device = Arc::new(Device::sharing(&guest.vm));
    let memory = GuestMemory::anonymous(4 * PAGE);
    let mut segment = ram(ADDRESS, &memory, 0, memory.len());
    device
        .with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
        .expect("SET_MEMSEG");
    let pins = || leaks::pinned_pages().expect("/proc/vmstat");
    let before = pins();
    let starter = device.clone();
    let held = HeldHypercall::start(&probe, START_VM, guest.vm.vmid(), move || {
        starter.plain(ACRN_IOCTL_START_VM)
    });
    device
        .with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
        .expect("UNSET_MEMSEG");
    assert_eq!(pins(), before, "pinned pages during START_VM");
    assert_eq!(held.release(), Ok(()), "START_VM");
    guest.serve(1, |_, _| 0);
    assert_eq!(pins(), before, "pinned pages while the guest runs");
    guest.vm.pause().expect("PAUSE_VM");
    assert_eq!(pins(), before - 4, "pinned pages of the paused VM");
    Outcome::Passed
}

/// A RESET_VM that the hypervisor refuses leaves the VM paused, so the driver sends no interrupts.
pub fn interrupts_after_refused_reset() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = irqfd(&vm.device);
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&vm.probe);
    for _ in 0..2 {
        vm.probe.refuse(RESET_VM, vm.vmid);
        let reset = vm.device.plain(ACRN_IOCTL_RESET_VM);
        assert_eq!(reset, Err(Errno::EIO));
        event.signal();
        assert_eq!(event.take(), 0, "events left in the eventfd");
        assert_eq!(inject(&vm.device), Ok(()));
        assert_eq!(set_line(&vm.device), Ok(()));
    }
    for id in [INJECT_MSI, SET_IRQLINE] {
        assert_eq!(
            trace.calls(id).len(),
            0,
            "hypercalls {id:#x} for a paused VM"
        );
    }
    vm.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
    event.signal();
    assert_eq!(trace.calls(INJECT_MSI).len(), 1);
    Outcome::Passed
}
