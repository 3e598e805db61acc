// SPDX-License-Identifier: GPL-2.0

//! Tests of requests that vCPUs make during RESET_VM and DESTROY_VM.
//!
//! The requests stay PENDING until the hypercall returns. The tests check how they end if the
//! hypervisor refuses the command, and if it succeeds.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{DESTROY_VM, NOTIFY_REQUEST_FINISH, RESET_VM},
    need,
    program::{Access, read, write},
    scripted_vm::{Answer, ScriptedVm, request},
    trace::Trace,
    waiter::{SleepingCommand, Waiter, until},
};
use acrn_uapi::{
    ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_STATE_PENDING, ACRN_IOREQ_STATE_PROCESSING, ioctl::*,
};
use nix::errno::Errno;

const READ: Access = read(Target::Port(0x510), Width::Four);
const CONFIG_ADDRESS: Target = Target::Port(0xcf8);
const LATCHED: u64 = 0x8005_1a40;
const LATCH: Access = write(CONFIG_ADDRESS, Width::Four, LATCHED);
const VCPUS: u16 = 2;

/// A VM whose command mini-ACRN holds, and a VM whose requests show that the driver has served the
/// upcalls.
struct Pair {
    vm: ScriptedVm,
    other: ScriptedVm,
}

/// The hypervisor's result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Refused,
    Done,
}

impl Pair {
    fn new() -> Result<Self, String> {
        let masks = cpus::pick_many(&[VCPUS.into(), 1])?;
        Ok(Self {
            vm: ScriptedVm::on(masks[0])?,
            other: ScriptedVm::on(masks[1])?,
        })
    }

    fn raise(&self, vcpu: u16, access: Access) {
        let request = request(self.vm.vmid, vcpu, access);
        assert_eq!(self.vm.probe.raise(request), 0, "RAISE_REQUEST");
    }

    fn state(&self, vcpu: u16) -> u32 {
        self.vm.page.slot(vcpu.into()).expect("a slot").state()
    }

    /// Panics unless the slots of both vCPUs are in `state`.
    #[track_caller]
    fn assert_states(&self, state: u32) {
        for vcpu in 0..VCPUS {
            assert_eq!(self.state(vcpu), state, "vCPU {vcpu}");
        }
    }

    /// Waits until the driver has scanned each VM after all earlier requests.
    ///
    /// The upcall that serves the last of these requests begins after the request before it was
    /// served.
    fn until_scanned(&self) {
        for _ in 0..3 {
            assert_eq!(self.other.ask(READ), Answer::DeviceModel);
        }
    }

    /// Runs `meanwhile` while mini-ACRN holds the hypercall of `command`.
    fn during(&self, (command, hypercall): (u32, u32), verdict: Verdict, meanwhile: impl FnOnce()) {
        if verdict == Verdict::Refused {
            self.vm.probe.refuse(hypercall, self.vm.vmid);
        }
        let device = self.vm.device.clone();
        let held = HeldHypercall::start(&self.vm.probe, hypercall, self.vm.vmid, move || {
            device.plain(command)
        });
        meanwhile();
        let expected = match verdict {
            Verdict::Refused => Err(Errno::EIO),
            Verdict::Done => Ok(()),
        };
        assert_eq!(held.release(), expected);
    }

    fn notified(&self, trace: &Trace<'_>) -> Vec<u64> {
        let calls = trace.calls(NOTIFY_REQUEST_FINISH);
        let of_vm = calls
            .iter()
            .filter(|call| call.p1 == u64::from(self.vm.vmid));
        of_vm.map(|call| call.p2).collect()
    }
}

/// Checks a `command` that the hypervisor refuses.
///
/// During the command, requests of each kind stay PENDING. Afterwards the driver finds each request
/// without another upcall, and it is completed once.
fn check_refused(pair: &Pair, command: (u32, u32)) {
    for _ in 0..3 {
        let trace = Trace::start(&pair.vm.probe);
        let waiter = Waiter::start(&pair.vm.device);
        pair.during(command, Verdict::Refused, || {
            pair.raise(0, LATCH);
            pair.raise(1, READ);
            pair.until_scanned();
            pair.assert_states(ACRN_IOREQ_STATE_PENDING);
            assert!(waiter.waits(), "ATTACH_IOREQ_CLIENT returned");
        });
        assert_eq!(pair.state(1), ACRN_IOREQ_STATE_PROCESSING);
        assert_eq!(waiter.result(), Ok(()));
        assert_eq!(pair.notified(&trace), [0]);
        assert_eq!(pair.state(0), ACRN_IOREQ_STATE_FREE);
        assert_eq!(pair.vm.finish(1), Ok(()));
        assert_eq!(pair.vm.finish(1), Err(Errno::EINVAL));
        assert_eq!(pair.notified(&trace), [0, 1]);
        trace.assert_sane();
    }
    let latched = pair.vm.ask(read(CONFIG_ADDRESS, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(LATCHED)));
}

/// Makes a `command` that succeeds, and checks that requests stay PENDING during it.
///
/// Returns a thread that waits for requests, and the vCPUs of which the driver notified the
/// hypervisor.
fn check_done(pair: &Pair, command: (u32, u32)) -> (Waiter, Vec<u64>) {
    pair.vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&pair.vm.probe);
    let waiter = Waiter::start(&pair.vm.device);
    pair.during(command, Verdict::Done, || {
        pair.raise(0, LATCH);
        pair.raise(1, READ);
        pair.until_scanned();
        pair.assert_states(ACRN_IOREQ_STATE_PENDING);
    });
    pair.until_scanned();
    (waiter, pair.notified(&trace))
}

/// Requests stay PENDING during RESET_VM. If it succeeds, the driver discards them, and serves
/// later ones.
pub fn reset_holds_requests() -> Outcome {
    let pair = need!(Pair::new());
    let reset = (ACRN_IOCTL_RESET_VM, RESET_VM);
    check_refused(&pair, reset);
    let (waiter, notified) = check_done(&pair, reset);
    pair.assert_states(ACRN_IOREQ_STATE_FREE);
    assert_eq!(notified, []);
    assert!(waiter.waits(), "ATTACH_IOREQ_CLIENT returned");
    let latched = pair.vm.ask(read(CONFIG_ADDRESS, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(0)));
    pair.raise(1, READ);
    assert_eq!(waiter.result(), Ok(()));
    assert_eq!(pair.vm.finish(1), Ok(()));
    Outcome::Passed
}

/// Requests stay PENDING during DESTROY_VM. If it succeeds, the driver does not access the request
/// page any more, and ATTACH_IOREQ_CLIENT returns.
pub fn destroy_holds_requests() -> Outcome {
    let pair = need!(Pair::new());
    let destroy = (ACRN_IOCTL_DESTROY_VM, DESTROY_VM);
    check_refused(&pair, destroy);
    let (waiter, notified) = check_done(&pair, destroy);
    pair.assert_states(ACRN_IOREQ_STATE_PENDING);
    assert_eq!(notified, []);
    assert_eq!(waiter.result(), Err(Errno::ENODEV));
    Outcome::Passed
}

/// No other command runs concurrently with RESET_VM.
///
/// A NOTIFY_REQUEST_FINISH that is made during RESET_VM waits. It fails if RESET_VM succeeds,
/// because the request was discarded, and completes the request if RESET_VM fails.
pub fn reset_is_alone() -> Outcome {
    let pair = need!(Pair::new());
    let vmid = pair.vm.vmid;
    for verdict in [Verdict::Refused, Verdict::Done] {
        if verdict == Verdict::Done {
            pair.vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        }
        pair.raise(0, READ);
        until("the device model has the request", || {
            pair.state(0) == ACRN_IOREQ_STATE_PROCESSING
        });
        let trace = Trace::start(&pair.vm.probe);
        let mut command = None;
        pair.during((ACRN_IOCTL_RESET_VM, RESET_VM), verdict, || {
            let device = pair.vm.device.clone();
            let finish = SleepingCommand::start_or_finish(move || {
                let mut notify = acrn_uapi::acrn_ioreq_notify {
                    vmid,
                    ..Default::default()
                };
                device.with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &mut notify)
            });
            assert!(
                finish.waits(),
                "NOTIFY_REQUEST_FINISH returned during RESET_VM"
            );
            assert_eq!(pair.state(0), ACRN_IOREQ_STATE_PROCESSING);
            command = Some(finish);
        });
        let result = command.expect("NOTIFY_REQUEST_FINISH").result();
        let (expected, notified) = match verdict {
            Verdict::Refused => (Ok(()), vec![0]),
            Verdict::Done => (Err(Errno::EINVAL), vec![]),
        };
        assert_eq!(result, expected, "NOTIFY_REQUEST_FINISH");
        assert_eq!(pair.notified(&trace), notified);
        assert_eq!(pair.state(0), ACRN_IOREQ_STATE_FREE);
        trace.assert_sane();
    }
    Outcome::Passed
}
