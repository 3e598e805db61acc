// SPDX-License-Identifier: GPL-2.0

//! Tests of orphans whose guests are active.
//!
//! An orphan is a VM that the hypervisor refused to destroy when its file was closed. It keeps only
//! its memory. Each CREATE_VM makes the driver try again to destroy it.

use acrn_ioctls::{RequestPage, Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::{Eventfd, until_released},
    guest::{Guest, create_raw},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{DESTROY_VM, INJECT_MSI, NOTIFY_REQUEST_FINISH, PAUSE_VM},
    mapping_fixture::ram,
    module, need,
    physical::{self, NOWHERE},
    probe::Probe,
    program::{self, RESULTS, read, write},
    scripted_vm::request,
    status::Status,
    trace::Trace,
    waiter::{SleepingCommand, until},
};
use acrn_uapi::ioctl::{ACRN_IOCTL_CREATE_IOREQ_CLIENT, ACRN_IOCTL_SET_MEMSEG};
use mini_acrn_channel::{kind, vm_state};

use crate::reused_id::{DOORBELL, PINS, assign_eventfds, pinned};

/// Returns the number of hypercalls `id` for a VM.
fn hypercalls(trace: &Trace<'_>, id: u32, vmid: u16) -> usize {
    let calls = trace.calls(id);
    let of_vm = calls.iter().filter(|call| call.p1 == vmid.into());
    of_vm.count()
}

/// An orphan whose guest runs on, because the hypervisor refused to pause it, too.
///
/// `events` are the eventfds of [`assign_eventfds`], and `ids` their IDs.
struct Running {
    vmid: u16,
    events: [Eventfd; 2],
    ids: [u32; 2],
}

impl Running {
    /// Creates the orphan.
    ///
    /// Its guest waits for the completion of a request when the file is closed. It then reads all
    /// ones, and writes to the doorbell.
    fn new(probe: &Probe, cpus: u64) -> Self {
        let accesses = [
            read(Target::Port(0x510), Width::Four),
            write(DOORBELL, Width::Four, 1),
        ];
        let guest = Guest::long_mode(cpus, &program::long_mode(&accesses));
        let (events, ids) = assign_eventfds(&guest.vm);
        let vmid = guest.vm.vmid();
        guest.vm.start().expect("START_VM");
        let slot = guest.page.slot(0).expect("slot 0");
        until("the guest makes a request", || slot.is_ours());
        let trace = Trace::start(probe);
        for id in [PAUSE_VM, DESTROY_VM] {
            probe.refuse(id, vmid);
        }
        guest.close();
        until("the guest runs on", || {
            let stored = probe.read_guest(vmid, RESULTS, 4);
            stored.as_deref() == Some(&[0xff; 4])
        });
        until("the guest writes to the doorbell", || {
            let requests = trace.events(kind::REQUEST_PENDING);
            requests.iter().any(|record| record.vmid == vmid)
        });
        assert_eq!(hypercalls(&trace, NOTIFY_REQUEST_FINISH, vmid), 1);
        trace.assert_sane();
        Self { vmid, events, ids }
    }
}

/// A running orphan has no devices. The next CREATE_VM pauses and destroys it.
///
/// Its doorbell signals no eventfd, and the driver sends no interrupts to it.
pub fn orphan_that_runs() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let before = pinned(0);
    let orphan = Running::new(&probe, masks[0]);
    let vmid = orphan.vmid;
    let state = probe.vm(vmid).expect("the orphan").state;
    assert_eq!(state, vm_state::RUNNING);
    assert_eq!(pinned(before), PINS, "pinned pages of the running orphan");
    if let Some(status) = Status::of_vm(vmid) {
        assert_eq!(status.text("state"), "running");
        for key in ["clients", "ioeventfds", "irqfds"] {
            assert_eq!(status.number(key), 0, "{key}");
        }
    }
    let [irqfd, doorbell] = &orphan.events;
    assert_eq!(doorbell.take(), 0, "signals of the doorbell's eventfd");
    let trace = Trace::start(&probe);
    irqfd.signal();
    assert_eq!(irqfd.take(), 1, "events left in the irqfd's eventfd");
    assert_eq!(trace.calls(INJECT_MSI).len(), 0);
    drop(orphan.events);
    until_released(&orphan.ids);

    let trace = Trace::start(&probe);
    let (_device, _page, _) = create_raw(masks[1]);
    for id in [PAUSE_VM, DESTROY_VM] {
        assert_eq!(hypercalls(&trace, id, vmid), 1, "{id:#x}");
    }
    // The new VM may have the orphan's VM id.
    assert_eq!(probe.vms().len(), 1, "VMs");
    assert_eq!(
        pinned(before),
        1,
        "pinned pages: the request page of the new VM"
    );
    Outcome::Passed
}

/// Unloading the module destroys an orphan whose guest runs.
pub fn unload_with_running_orphan() -> Outcome {
    let path = need!(module::path());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let before = pinned(0);
    let orphan = Running::new(&probe, cpus);
    let trace = Trace::start(&probe);
    module::unload();
    for id in [PAUSE_VM, DESTROY_VM] {
        assert_eq!(hypercalls(&trace, id, orphan.vmid), 1, "{id:#x}");
    }
    probe.assert_no_vms();
    assert_eq!(pinned(before), 0);
    // The eventfds must not refer to the module any more.
    for event in &orphan.events {
        event.signal();
    }
    module::load(&path);
    create_raw(cpus);
    Outcome::Passed
}

/// A paused orphan has released its eventfds, and its scripted requests stay PENDING.
pub fn orphan_that_is_paused() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let before = pinned(0);
    let guest = Guest::long_mode(masks[0], &program::greet_and_spin());
    let (events, ids) = assign_eventfds(&guest.vm);
    let vmid = guest.vm.vmid();
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    probe.refuse(DESTROY_VM, vmid);
    guest.close();
    let [irqfd, doorbell] = &events;
    let trace = Trace::start(&probe);
    let ring = request(vmid, 0, write(DOORBELL, Width::Four, 1));
    assert_eq!(probe.raise(ring), 0, "RAISE_REQUEST");
    irqfd.signal();
    assert_eq!(irqfd.take(), 1, "events left in the irqfd's eventfd");
    // The driver serves the request of another VM after that request.
    let (other, page, other_vmid) = create_bystander(&probe, masks[1], vmid);
    assert_eq!(probe.raise(request(other_vmid, 0, other_access())), 0);
    let slot = page.slot(0).expect("slot 0");
    until("the other VM's request is dispatched", || slot.is_ours());
    assert_eq!(doorbell.take(), 0, "signals of the doorbell's eventfd");
    for id in [INJECT_MSI, NOTIFY_REQUEST_FINISH] {
        assert_eq!(hypercalls(&trace, id, vmid), 0, "{id:#x}");
    }
    drop(events);
    until_released(&ids);
    assert!(probe.vm(vmid).is_some(), "the orphan was destroyed");
    assert_eq!(pinned(before), PINS + 1);
    drop(other);
    // The end of the other VM does not make the driver try again, but the next CREATE_VM does.
    let (_device, _page, _) = create_raw(masks[1]);
    // The new VM may have the orphan's VM id.
    assert_eq!(probe.vms().len(), 1, "VMs");
    assert_eq!(pinned(before), 1);
    Outcome::Passed
}

fn other_access() -> program::Access {
    read(Target::Port(0x510), Width::One)
}

/// Creates a VM with a client. The hypervisor refuses once more to destroy `orphan`.
fn create_bystander(probe: &Probe, cpus: u64, orphan: u16) -> (Device, RequestPage, u16) {
    probe.refuse(DESTROY_VM, orphan);
    let (device, page, vmid) = create_raw(cpus);
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    (device, page, vmid)
}

/// If there are two orphans, the hypervisor's refusal to destroy one does not affect the other.
pub fn orphans_two() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let before = pinned(0);
    let guests = [masks[0], masks[1]].map(|cpus| {
        let guest = Guest::long_mode(cpus, &program::greet_and_spin());
        guest.vm.start().expect("START_VM");
        guest.serve(1, |_, _| 0);
        guest
    });
    let vmids = [guests[0].vm.vmid(), guests[1].vm.vmid()];
    for vmid in vmids {
        probe.refuse(DESTROY_VM, vmid);
    }
    for guest in guests {
        guest.close();
    }
    assert_eq!(probe.vms().len(), 2, "orphans");
    assert_eq!(pinned(before), 2 * PINS);

    let trace = Trace::start(&probe);
    probe.refuse(DESTROY_VM, vmids[0]);
    let (device, page, _) = create_raw(masks[2]);
    for vmid in vmids {
        assert_eq!(hypercalls(&trace, DESTROY_VM, vmid), 1, "VM {vmid}");
    }
    // The new VM has the VM id of the second orphan.
    assert_eq!(
        probe.vms().len(),
        2,
        "VMs: the first orphan, and the new VM"
    );
    assert!(
        probe.vm(vmids[0]).is_some(),
        "the first orphan was destroyed"
    );
    assert_eq!(pinned(before), PINS + 1);
    drop((device, page));
    let (_device, _page, _) = create_raw(masks[2]);
    assert_eq!(probe.vms().len(), 1, "VMs");
    assert_eq!(pinned(before), 1);
    Outcome::Passed
}

/// The driver serves other VMs while it tries again to destroy an orphan.
pub fn orphan_tried_beside_io() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let orphan = Guest::long_mode(masks[0], &program::greet_and_spin());
    let vmid = orphan.vm.vmid();
    orphan.vm.start().expect("START_VM");
    orphan.serve(1, |_, _| 0);
    let accesses = [read(Target::Port(0x510), Width::Four); 3];
    let other = Guest::long_mode(masks[1], &program::long_mode(&accesses));
    probe.refuse(DESTROY_VM, vmid);
    orphan.close();
    probe.refuse(DESTROY_VM, vmid);
    let cpus = masks[2];
    let held = HeldHypercall::start(&probe, DESTROY_VM, vmid, move || create_raw(cpus));
    other.vm.start().expect("START_VM of another VM");
    assert_eq!(other.serve(1, |_, _| 7).len(), accesses.len());
    assert_eq!(other.memory.read::<u32>(RESULTS as usize), 7);
    // Destroying the other VM waits for the attempt to destroy the orphan.
    let ender = SleepingCommand::start_or_finish(move || drop(other));
    let created = held.release();
    ender.result();
    assert!(probe.vm(vmid).is_some(), "the orphan was destroyed");
    drop(created);
    create_raw(cpus);
    probe.assert_no_vms();
    Outcome::Passed
}

/// Maps memory without pages, for which SET_MEMSEG registers a notifier.
///
/// The kernel notifies the driver when the process unmaps the memory. Fails with the reason for
/// skipping the test.
pub fn notifier_memory(len: usize) -> Result<GuestMemory, String> {
    physical::map(NOWHERE, len)
}

/// Guest address of memory with a notifier.
const NOTIFIER_ADDRESS: u64 = 4 << 20;

/// Creates an orphan with memory that has a notifier and that this process still maps.
fn orphan_with_notifier(probe: &Probe, cpus: u64) -> Result<(u16, GuestMemory), String> {
    let memory = notifier_memory(4 * PAGE)?;
    let guest = Guest::long_mode(cpus, &program::greet_and_spin());
    let vmid = guest.vm.vmid();
    Device::sharing(&guest.vm)
        .with(
            ACRN_IOCTL_SET_MEMSEG,
            &mut ram(NOTIFIER_ADDRESS, &memory, 0, memory.len()),
        )
        .expect("SET_MEMSEG");
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    probe.refuse(DESTROY_VM, vmid);
    guest.close();
    assert_eq!(
        probe.mapping(vmid, NOTIFIER_ADDRESS).mapped,
        1,
        "the orphan's memory is mapped"
    );
    Ok((vmid, memory))
}

/// Memory that is not pinned is unmapped from an orphan when the process unmaps it.
pub fn orphan_loses_memory() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (vmid, memory) = need!(orphan_with_notifier(&probe, masks[0]));
    drop(memory);
    for page in 0..4 {
        let address = NOTIFIER_ADDRESS + (page * PAGE) as u64;
        let mapped = probe.mapping(vmid, address).mapped;
        assert_eq!(mapped, 0, "page {page} of the orphan's memory is unmapped");
    }
    create_raw(masks[1]);
    probe.assert_no_vms();
    Outcome::Passed
}

/// Memory with a notifier is unmapped from an orphan while the driver tries again to destroy the
/// orphan, whether the hypervisor refuses or not.
pub fn orphan_loses_memory_while_tried() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    for refused in [true, false] {
        let (vmid, memory) = need!(orphan_with_notifier(&probe, masks[0]));
        if refused {
            probe.refuse(DESTROY_VM, vmid);
        }
        let cpus = masks[1];
        let held = HeldHypercall::start(&probe, DESTROY_VM, vmid, move || create_raw(cpus));
        let unmapper = SleepingCommand::start_or_finish(move || drop(memory));
        let created = held.release();
        unmapper.result();
        assert_eq!(probe.vm(vmid).is_some(), refused, "the orphan exists");
        if refused {
            assert_eq!(
                probe.mapping(vmid, NOTIFIER_ADDRESS).mapped,
                0,
                "the orphan's memory is unmapped"
            );
        }
        drop(created);
        create_raw(cpus);
        probe.assert_no_vms();
    }
    Outcome::Passed
}
