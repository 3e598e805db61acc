// SPDX-License-Identifier: GPL-2.0

//! Tests of the events that wake the vCPUs of a paused VM, and of their consequences.
//!
//! The tests make each hypercall after PAUSE_VM themselves, because the driver would prevent some
//! of them.

use std::{thread, time::Duration};

use acrn_ioctls::{Slot, Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    hypercall::*,
    interrupt_guest::{InterruptGuest, PIN, Rest, VECTORS},
    need,
    probe::Probe,
    program::{self, ENTRY, assemble, greet_and_spin},
    scripted_vm,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_FREE, acrn_msi_entry};
use iced_x86::code_asm::*;
use mini_acrn_channel::{kind, vm_state};
use zerocopy::IntoBytes;

const PORT: u16 = 0x510;
/// Guest address of a counter that the guest increments when its request is completed.
const COUNT: u64 = 0x2_0000;
/// How long the test observes a counter that must not change. A counter that changes does so at
/// once.
const WATCH: Duration = Duration::from_millis(200);
/// Maximum number of attempts. A guest may not yet have reached its HLT when it is paused.
const ATTEMPTS: u32 = 20;

/// Returns a program that reads from a port, and then increments a counter in a loop.
fn read_and_count() -> Vec<u8> {
    assemble(64, ENTRY, |code| {
        code.mov(rbx, COUNT)?;
        code.mov(dx, u32::from(PORT))?;
        code.in_(al, dx)?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.inc(qword_ptr(rbx))?;
        code.pause()?;
        code.jmp(again)
    })
}

/// A paused guest that waits for the completion of its first request.
struct Waiting {
    probe: Probe,
    guest: Guest,
}

impl Waiting {
    fn new() -> Result<Self, String> {
        let probe = Probe::open()?;
        let guest = Guest::long_mode(cpus::pick(1)?, &read_and_count());
        let waiting = Self { probe, guest };
        waiting.start();
        Ok(waiting)
    }

    /// Starts the guest, and pauses it when it has made its request.
    fn start(&self) {
        self.guest.vm.start().expect("START_VM");
        self.guest
            .vm
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
        until("the guest makes its request", || self.slot().is_ours());
        assert_eq!(self.call(PAUSE_VM), 0);
    }

    fn slot(&self) -> Slot<'_> {
        self.guest.page.slot(0).expect("slot 0")
    }

    fn call(&self, id: u32) -> i64 {
        self.probe.call(id, self.guest.vm.vmid().into(), 0)
    }

    fn count(&self) -> u64 {
        self.guest.memory.read(COUNT as usize)
    }

    /// Panics if the guest runs.
    #[track_caller]
    fn assert_still(&self) {
        let count = self.count();
        thread::sleep(WATCH);
        assert_eq!(self.count(), count, "counter of a paused guest");
    }

    /// Panics unless the guest runs.
    #[track_caller]
    fn assert_runs(&self) {
        let count = self.count();
        until("the guest counts", || self.count() > count);
    }

    /// Completes the request, and notifies the hypervisor.
    fn notify(&self) {
        self.slot().set_state(ACRN_IOREQ_STATE_COMPLETE);
        assert_eq!(self.call(NOTIFY_REQUEST_FINISH), 0);
    }

    fn state(&self) -> Option<u8> {
        Some(self.probe.vm(self.guest.vm.vmid())?.state)
    }
}

/// After NOTIFY_REQUEST_FINISH the guest reads the value and runs on, although the VM is paused,
/// and another PAUSE_VM does not stop it.
///
/// RESET_VM would crash ACRN then.
pub fn paused_notify_wakes() -> Outcome {
    let waiting = need!(Waiting::new());
    waiting.assert_still();
    assert_eq!(waiting.count(), 0);
    let trace = Trace::start(&waiting.probe);
    waiting.notify();
    waiting.assert_runs();
    assert_eq!(waiting.slot().state(), ACRN_IOREQ_STATE_FREE);
    assert_eq!(trace.events(kind::REQUEST_CONSUMED).len(), 1);
    assert_eq!(waiting.call(PAUSE_VM), 0);
    waiting.assert_runs();
    assert_eq!(waiting.state(), Some(vm_state::PAUSED));

    waiting.probe.expect_broken_rule();
    assert_eq!(waiting.call(RESET_VM), 0);
    let broken = trace.events(kind::RULE_BROKEN);
    let [broken] = broken.as_slice() else {
        panic!("{} broken rules", broken.len());
    };
    assert_eq!(
        (broken.vmid, broken.id, broken.result),
        (waiting.guest.vm.vmid(), RESET_VM, 1)
    );
    let text = String::from_utf8_lossy(&broken.data[..broken.data_len as usize]);
    assert_eq!(
        text,
        "vCPU 0 was woken by NOTIFY_REQUEST_FINISH while the VM was paused"
    );
    // mini-ACRN continues.
    assert_eq!(waiting.state(), Some(vm_state::CREATED));
    waiting.assert_still();
    Outcome::Passed
}

/// After NOTIFY_REQUEST_FINISH for a paused VM, DESTROY_VM would crash ACRN.
pub fn paused_notify_destroy() -> Outcome {
    let waiting = need!(Waiting::new());
    waiting.notify();
    waiting.assert_runs();
    let vmid = waiting.guest.vm.vmid();
    let Waiting { probe, guest } = waiting;
    let trace = Trace::start(&probe);
    probe.expect_broken_rule();
    // The driver destroys the VM nevertheless, because it must release the memory.
    drop(guest);
    assert_eq!(trace.events(kind::RULE_BROKEN).len(), 1);
    assert!(probe.vm(vmid).is_none());
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH does not wake a vCPU that does not wait for the completion of a request.
/// RESET_VM discards the notification.
pub fn paused_notify_of_none() -> Outcome {
    let probe = need!(Probe::open());
    let guest = Guest::long_mode(need!(cpus::pick(1)), &greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    let call = |id| probe.call(id, guest.vm.vmid().into(), 0);
    for id in [PAUSE_VM, NOTIFY_REQUEST_FINISH, RESET_VM] {
        assert_eq!(call(id), 0, "{id:#x}");
    }
    // If RESET_VM did not discard the notification, it would complete the first request after the
    // next start too early.
    let trace = Trace::start(&probe);
    guest.load_long_mode(&greet_and_spin());
    assert_eq!(call(START_VM), 0);
    guest.serve(1, |_, _| 0);
    trace.assert_sane();
    Outcome::Passed
}

/// RESET_VM succeeds without a notification. It discards the request, and the VM starts again.
pub fn paused_reset_waiting() -> Outcome {
    let waiting = need!(Waiting::new());
    let trace = Trace::start(&waiting.probe);
    for _ in 0..3 {
        waiting.guest.vm.reset().expect("RESET_VM");
        assert_eq!(waiting.slot().state(), ACRN_IOREQ_STATE_FREE);
        waiting.guest.load_long_mode(&read_and_count());
        waiting.start();
        waiting.assert_still();
    }
    assert_eq!(waiting.count(), 0);
    trace.assert_sane();
    Outcome::Passed
}

/// mini-ACRN treats a request that a test raises like a request of a vCPU that waits.
pub fn paused_raised_request() -> Outcome {
    let vm = need!(scripted_vm::ScriptedVm::new());
    let access = program::read(Target::Port(PORT), Width::One);
    let raised = vm.probe.raise(scripted_vm::request(vm.vmid, 0, access));
    assert_eq!(raised, 0);
    let slot = vm.page.slot(0).expect("slot 0");
    until("the device model has the request", || slot.is_ours());
    let call = |id| vm.probe.call(id, vm.vmid.into(), 0);
    assert_eq!(call(PAUSE_VM), 0);
    slot.set_state(ACRN_IOREQ_STATE_COMPLETE);
    assert_eq!(call(NOTIFY_REQUEST_FINISH), 0);
    vm.probe.expect_broken_rule();
    assert_eq!(call(RESET_VM), 0);
    Outcome::Passed
}

/// Pauses a guest that halts, and lets `send` interrupt it.
///
/// The guest runs its interrupt handler, although the VM is paused. RESET_VM would crash ACRN then.
fn interrupt_wakes(vector: u8, send: impl Fn(&Probe, &InterruptGuest) -> i64) -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    for attempt in 0..ATTEMPTS {
        // A slow machine needs more time.
        let longer = attempt + 1;
        let receiver = InterruptGuest::start(cpus, Rest::Halt);
        let vmid = receiver.vm().vmid();
        let call = |id| probe.call(id, vmid.into(), 0);
        // The guest has reported that it is ready. It halts a few instructions later.
        thread::sleep(Duration::from_millis(20) * longer);
        assert_eq!(call(PAUSE_VM), 0);
        assert_eq!(send(&probe, &receiver), 0);
        thread::sleep(WATCH * longer);
        if receiver.count(vector) == 0 {
            // The vCPU had not halted yet. The interrupt is lost, and no rule is broken.
            assert_eq!(call(RESET_VM), 0);
            continue;
        }
        assert_eq!(call(PAUSE_VM), 0);
        assert_eq!(send(&probe, &receiver), 0);
        receiver.wait(vector, 2);
        probe.expect_broken_rule();
        assert_eq!(call(RESET_VM), 0);
        return Outcome::Passed;
    }
    panic!("the interrupt did not wake the guest");
}

fn inject(probe: &Probe, receiver: &InterruptGuest, vector: u8) -> i64 {
    let msi = acrn_msi_entry {
        msi_addr: receiver.msi(),
        msi_data: vector.into(),
    };
    probe.call_with_parameter(INJECT_MSI, Some(receiver.vm().vmid()), msi.as_bytes())
}

/// INJECT_MSI wakes a vCPU of a paused VM.
pub fn paused_msi_wakes() -> Outcome {
    let vector = VECTORS[0];
    interrupt_wakes(vector, |probe, receiver| inject(probe, receiver, vector))
}

/// SET_IRQLINE wakes a vCPU of a paused VM.
pub fn paused_line_wakes() -> Outcome {
    const RISING_PULSE: u64 = 2;
    interrupt_wakes(PIN.1, |probe, receiver| {
        probe.call(
            SET_IRQLINE,
            receiver.vm().vmid().into(),
            RISING_PULSE << 32 | u64::from(PIN.0),
        )
    })
}

/// An interrupt does not wake a spinning vCPU, and RESET_VM discards the interrupt.
pub fn paused_interrupt_spinning() -> Outcome {
    let probe = need!(Probe::open());
    let receiver = InterruptGuest::start(need!(cpus::pick(1)), Rest::Spin);
    let vmid = receiver.vm().vmid();
    let call = |id| probe.call(id, vmid.into(), 0);
    assert_eq!(call(PAUSE_VM), 0);
    assert_eq!(inject(&probe, &receiver, VECTORS[0]), 0);
    thread::sleep(WATCH);
    receiver.assert_count(VECTORS[0], 0);
    assert_eq!(call(RESET_VM), 0);
    Outcome::Passed
}
