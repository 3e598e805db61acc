// SPDX-License-Identifier: GPL-2.0

//! Tests of a DESTROY_VM that fails although the hypervisor destroys the VM, which can happen on
//! ACRN.
//!
//! The next VM with the same name gets the same VM id, from which the driver concludes that the
//! older VM does not exist any more.

use std::{os::fd::AsFd, sync::Arc};

use acrn_ioctls::{RequestPage, Target};
use acrn_selftests::{
    cpus,
    device::{APIC, Argument, Device, creation},
    eventfd::{Eventfd, until_released},
    guest::{Guest, MEMORY, create_raw},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{
        CREATE_VM, DESTROY_VM, INJECT_MSI, PAUSE_VM, SET_MEMORY_REGIONS, START_VM, VM_INTR_MONITOR,
    },
    kernel_log::KernelLog,
    leaks, mapping_fixture, need,
    probe::{Probe, fault},
    program,
    trace::Trace,
    userfault::UserfaultMemory,
    waiter::{SleepingCommand, Waiter, until},
};
use acrn_uapi::ioctl::*;
use mini_acrn_channel::Fault;
use nix::errno::Errno;
use zerocopy::IntoBytes;

/// Number of pages that a guest pins: its memory and its request page.
pub const PINS: i64 = 1 + MEMORY as i64 / 4096;

/// Guest address of an ioeventfd of 4 bytes.
pub const DOORBELL: Target = Target::Memory(DOORBELL_ADDRESS);
const DOORBELL_ADDRESS: u64 = 0xd000_0000;

/// Assigns an irqfd and an ioeventfd at [`DOORBELL`] to a VM. Returns their eventfds, and the IDs
/// of the eventfds.
pub fn assign_eventfds(file: &impl AsFd) -> ([Eventfd; 2], [u32; 2]) {
    let events = [Eventfd::new(), Eventfd::new()];
    let device = Device::sharing(file);
    device.irqfd(&events[0], 0, APIC, 0x31).expect("IRQFD");
    device
        .ioeventfd(&events[1], 0, DOORBELL_ADDRESS, 4)
        .expect("IOEVENTFD");
    let ids = [events[0].id(), events[1].id()];
    (events, ids)
}

/// Starts a guest that has an irqfd and an ioeventfd.
fn with_eventfds(cpus: u64) -> (Guest, [Eventfd; 2], [u32; 2]) {
    let guest = Guest::long_mode(cpus, &program::greet_and_spin());
    let (events, ids) = assign_eventfds(&guest.vm);
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    (guest, events, ids)
}

/// Returns the number of pages that are pinned in addition to `before`.
pub fn pinned(before: i64) -> i64 {
    leaks::pinned_pages().expect("/proc/vmstat") - before
}

/// Creates a VM on the same CPUs, and thereby with the same name, as a VM that was destroyed.
///
/// The new VM must get the same VM id. The driver then releases the memory of the older VM.
/// `before` pages were pinned when neither VM existed.
fn successor(cpus: u64, vmid: u16, before: i64) -> Guest {
    assert_eq!(pinned(before), PINS, "pinned pages of the older VM");
    let guest = Guest::long_mode(cpus, &program::greet_and_spin());
    assert_eq!(
        guest.vm.vmid(),
        vmid,
        "VM id of the next VM with the same name"
    );
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    guest
}

/// Panics if the creation of another VM affects the successor.
fn assert_left_alone(probe: &Probe, successor: &Guest, cpus: u64) {
    let trace = Trace::start(probe);
    let (_device, _page, _) = create_raw(cpus);
    for id in [PAUSE_VM, DESTROY_VM] {
        assert_eq!(trace.calls(id).len(), 0, "{id:#x} before the next VM");
    }
    let vm = probe.vm(successor.vm.vmid()).expect("the successor exists");
    assert_eq!(vm.state, mini_acrn_channel::vm_state::RUNNING);
}

/// Destroys the successor.
fn end(successor: Guest) {
    successor.vm.pause().expect("PAUSE_VM");
    let destroyed = Device::sharing(&successor.vm).plain(ACRN_IOCTL_DESTROY_VM);
    assert_eq!(destroyed, Ok(()));
}

/// Once another VM has the VM id of a destroyed VM whose file is open, all commands on the file
/// fail with `ENODEV`, and the driver releases the resources of the destroyed VM.
pub fn gone_of_open_file() -> Outcome {
    let mut log = need!(KernelLog::start());
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let before = leaks::pinned_pages().expect("/proc/vmstat");
    let (older, events, ids) = with_eventfds(masks[0]);
    let vmid = older.vm.vmid();
    let device = Device::sharing(&older.vm);
    older.vm.pause().expect("PAUSE_VM");
    probe.fail_after_destroying(vmid);
    assert_eq!(device.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::ETIMEDOUT));
    assert!(probe.vm(vmid).is_none());
    let successor = successor(masks[0], vmid, before);
    // The file keeps the request page until it is closed.
    assert_eq!(pinned(before), PINS + 1);
    let trace = Trace::start(&probe);
    for (request, name) in ALL {
        let refused = device.ioctl(*request, Argument::NULL);
        assert_eq!(refused, Err(Errno::ENODEV), "{name}");
    }
    for event in &events {
        event.signal();
        assert_eq!(event.take(), 1, "events left in the eventfd");
    }
    assert_eq!(trace.calls(INJECT_MSI).len(), 0);
    assert_eq!(trace.ids(), [], "hypercalls for the destroyed VM");
    drop(events);
    until_released(&ids);
    assert_left_alone(&probe, &successor, masks[1]);

    // Closing the file does not destroy the successor, nor does the driver try to.
    log.lines();
    drop(device);
    older.close();
    let lines = log.lines();
    let failed = lines
        .iter()
        .find(|line| line.contains("cannot be destroyed"));
    assert_eq!(failed, None);
    assert!(probe.vm(vmid).is_some());
    assert_eq!(pinned(before), PINS, "pinned pages of the successor");
    end(successor);
    Outcome::Passed
}

/// Once another VM has the VM id of an orphan that was destroyed, the driver releases the orphan's
/// resources.
pub fn gone_of_orphan() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let before = leaks::pinned_pages().expect("/proc/vmstat");
    let (older, events, ids) = with_eventfds(masks[0]);
    let vmid = older.vm.vmid();
    probe.fail_after_destroying(vmid);
    older.close();
    assert!(probe.vm(vmid).is_none());
    let successor = successor(masks[0], vmid, before);
    assert_eq!(pinned(before), PINS, "pinned pages of the successor");
    drop(events);
    until_released(&ids);
    assert_left_alone(&probe, &successor, masks[1]);
    end(successor);
    Outcome::Passed
}

/// The driver releases the resources of the older VM even if the creation of the next VM with the
/// same name fails after it got the VM id.
pub fn gone_and_creation_fails() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let before = pinned(0);
    let (older, events, ids) = with_eventfds(cpus);
    let vmid = older.vm.vmid();
    let device = Device::sharing(&older.vm);
    older.vm.pause().expect("PAUSE_VM");
    probe.fail_after_destroying(vmid);
    assert_eq!(device.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::ETIMEDOUT));
    assert_eq!(pinned(before), PINS);
    probe.push_fault(Fault {
        after: 1,
        patch: 1,
        value: 17,
        ..fault(CREATE_VM, 0)
    });
    let other = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    let refused = other.create(&page, cpus).err();
    assert_eq!(refused, Some(Errno::EINVAL));
    probe.assert_no_vms();
    // The file keeps the request page until it is closed.
    assert_eq!(pinned(before), 1);
    assert_eq!(device.plain(ACRN_IOCTL_START_VM), Err(Errno::ENODEV));
    drop(events);
    until_released(&ids);
    drop(device);
    older.close();
    assert_eq!(pinned(before), 0);
    Outcome::Passed
}

/// A command for the older VM fails with `ENODEV` if another VM gets the VM id while the command
/// waits for a command in progress. It does not affect the other VM.
///
/// Here the other VM has another VM id, which CREATE_VM does not return. After a DESTROY_VM that
/// timed out, no command would be in progress.
pub fn gone_while_command_waits() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (older, _page, vmid) = create_raw(masks[0]);
    let older = Arc::new(older);
    probe.push_fault(Fault {
        after: 1,
        patch: 2,
        value: vmid.into(),
        ..fault(CREATE_VM, 0)
    });
    let trace = Trace::start(&probe);
    let sharing = older.clone();
    let held = HeldHypercall::start(&probe, VM_INTR_MONITOR, vmid, move || {
        let page = GuestMemory::anonymous(PAGE);
        sharing.ioctl(ACRN_IOCTL_VM_INTR_MONITOR, Argument::At(&page, 0))
    });
    let has_the_id = || !trace.calls(CREATE_VM).is_empty();
    let creator = SleepingCommand::start(has_the_id, move || create_raw(masks[1]));
    until("the new VM waits for the older one", || {
        creator.waits_in_driver()
    });
    let sharing = older.clone();
    let starter = SleepingCommand::start(|| true, move || sharing.plain(ACRN_IOCTL_START_VM));
    // The result of this command does not matter. It began before the driver could know that the VM
    // does not exist any more.
    let _ = held.release();
    assert_eq!(starter.result(), Err(Errno::ENODEV), "START_VM");
    let (successor, _page, successor_vmid) = creator.result();
    assert_eq!(successor_vmid, vmid);
    assert_eq!(trace.calls(START_VM).len(), 0, "START_VM of the other VM");
    drop(successor);
    probe.vms().iter().for_each(|vm| probe.destroy(vm.vmid));
    Outcome::Passed
}

/// After a DESTROY_VM that timed out, commands fail with `ENODEV`, and make no hypercall for
/// another VM that has the VM id before the driver knows of it.
pub fn gone_gets_no_commands() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let (older, page, vmid) = create_raw(cpus);
    older.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    probe.fail_after_destroying(vmid);
    assert_eq!(older.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::ETIMEDOUT));
    let (created, other) = probe.create_vm(creation(&page, cpus));
    assert_eq!((created, other.vmid), (0, vmid), "CREATE_VM");

    let trace = Trace::start(&probe);
    let zeroes = GuestMemory::anonymous(PAGE);
    for request in [
        ACRN_IOCTL_START_VM,
        ACRN_IOCTL_PAUSE_VM,
        ACRN_IOCTL_RESET_VM,
        ACRN_IOCTL_SET_VCPU_REGS,
        ACRN_IOCTL_VM_INTR_MONITOR,
        ACRN_IOCTL_SET_PTDEV_INTR,
        ACRN_IOCTL_RESET_PTDEV_INTR,
        ACRN_IOCTL_ASSIGN_PCIDEV,
        ACRN_IOCTL_DEASSIGN_PCIDEV,
        ACRN_IOCTL_ASSIGN_MMIODEV,
        ACRN_IOCTL_DEASSIGN_MMIODEV,
        ACRN_IOCTL_CREATE_VDEV,
        ACRN_IOCTL_DESTROY_VDEV,
        ACRN_IOCTL_PM_GET_CPU_STATE,
    ] {
        let done = older.ioctl(request, Argument::At(&zeroes, 0));
        let name = ALL.iter().find(|(number, _)| *number == request);
        assert_eq!(done, Err(Errno::ENODEV), "{name:?}");
    }
    older.inject_msi(APIC, 0x31).expect("INJECT_MSI");
    older.set_irqline(4, 2).expect("SET_IRQLINE");
    trace.assert_no_hypercalls();
    probe.destroy(vmid);
    let (_successor, _page, successor_vmid) = create_raw(cpus);
    assert_eq!(successor_vmid, vmid);
    Outcome::Passed
}

/// A device model creates an ioreq client as soon as another VM gets the VM id, before the command
/// that creates the VM goes on. This fails, as nothing would end the wait of that client.
pub fn gone_gets_no_client() -> Outcome {
    const CPU: usize = cpus::UPCALLS;
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    need!(cpus::stay_on(CPU));
    let (older, _page, vmid) = create_raw(cpus);
    let older = Arc::new(older);
    older
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    older.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    probe.fail_after_destroying(vmid);
    assert_eq!(older.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::ETIMEDOUT));
    let waiter = Waiter::start_urgent_and_then(&older, CPU, |device, waited| {
        assert_eq!(waited, Err(Errno::ENODEV), "ATTACH_IOREQ_CLIENT");
        device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
    });
    let (_successor, _page, successor_vmid) = create_raw(cpus);
    assert_eq!(successor_vmid, vmid);
    assert_eq!(waiter.result(), Err(Errno::ENODEV), "CREATE_IOREQ_CLIENT");
    Outcome::Passed
}

/// SET_MEMSEG fails with `ENODEV` after a DESTROY_VM that may have destroyed the VM: the memory
/// would go to the next VM with the VM id, and be unpinned while that VM has it.
pub fn gone_gets_no_memory() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let (older, _page, vmid) = create_raw(cpus);
    let page = GuestMemory::anonymous(PAGE);
    let mut segment = mapping_fixture::whole(&page);
    older.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    // This error proves that the VM still exists.
    probe.push_fault(fault(DESTROY_VM, -1));
    assert_eq!(older.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::EPERM));
    older
        .with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
        .expect("SET_MEMSEG");
    probe.fail_after_destroying(vmid);
    assert_eq!(older.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::ETIMEDOUT));

    let trace = Trace::start(&probe);
    let other = GuestMemory::anonymous(PAGE);
    other.number_pages(1);
    let mut segment = mapping_fixture::ram(2 * mapping_fixture::GUEST, &other, 0, PAGE);
    let set = older.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
    assert_eq!(set, Err(Errno::ENODEV), "SET_MEMSEG");
    assert_eq!(trace.calls(SET_MEMORY_REGIONS).len(), 0);
    let (successor, _page, successor_vmid) = create_raw(cpus);
    assert_eq!(successor_vmid, vmid);
    let mapped = probe.vm(vmid).expect("the VM").mapped_bytes;
    assert_eq!(mapped, 0, "memory of the next VM");
    drop((older, successor));
    Outcome::Passed
}

/// IRQFD and IOEVENTFD fail with `ENODEV` if another VM gets the VM id while the driver reads their
/// argument. Otherwise the destroyed VM would take the events of an eventfd that it may share.
pub fn gone_gets_no_eventfds() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let (older, _page, vmid) = create_raw(cpus);
    let older = Arc::new(older);
    older.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    probe.fail_after_destroying(vmid);
    assert_eq!(older.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::ETIMEDOUT));
    let events = [Eventfd::new(), Eventfd::new()];
    let irqfd = events[0].irqfd(0, APIC, 0);
    let ioeventfd = events[1].ioeventfd(0, DOORBELL_ADDRESS, 4);
    let irqfd = need!(StalledCommand::start(
        &older,
        ACRN_IOCTL_IRQFD,
        irqfd.as_bytes()
    ));
    let ioeventfd = need!(StalledCommand::start(
        &older,
        ACRN_IOCTL_IOEVENTFD,
        ioeventfd.as_bytes()
    ));
    let (_successor, _page, successor_vmid) = create_raw(cpus);
    assert_eq!(successor_vmid, vmid);
    assert_eq!(irqfd.result(), Err(Errno::ENODEV), "IRQFD");
    assert_eq!(ioeventfd.result(), Err(Errno::ENODEV), "IOEVENTFD");
    events[0].signal();
    assert_eq!(events[0].take(), 1, "events left in the eventfd");
    let ids = [events[0].id(), events[1].id()];
    drop(events);
    until_released(&ids);
    Outcome::Passed
}

/// A command that waits for the last 8 bytes of its argument, which are zero.
struct StalledCommand {
    memory: UserfaultMemory,
    command: SleepingCommand<Result<(), Errno>>,
}

impl StalledCommand {
    /// Starts the command. The error says why the test must be skipped.
    fn start(device: &Arc<Device>, request: u32, argument: &[u8]) -> Result<Self, String> {
        let memory = UserfaultMemory::behind(PAGE, 2 * PAGE)?;
        let present = argument.len() - 8;
        memory.write_bytes(PAGE - present, &argument[..present]);
        let (device, shared) = (device.clone(), memory.share());
        let command = SleepingCommand::start(
            || true,
            move || device.ioctl(request, Argument::At(&shared, PAGE - present)),
        );
        memory.until_wanted();
        Ok(Self { memory, command })
    }

    /// Provides the rest of the argument, and returns the result of the command.
    fn result(self) -> Result<(), Errno> {
        let _memory = self.memory.provide();
        self.command.result()
    }
}
