// SPDX-License-Identifier: GPL-2.0

//! Tests that the upcall uses a small part of a CPU's time, and leaves the excess of a guest's
//! requests to a thread.

use std::{
    slice, thread,
    time::{Duration, Instant},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    guest::{Guest, doorbell},
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    kernel_threads::{self, KeptOn},
    need,
    program::{self, write},
    scripted_vm::{Answer, ScriptedVm, request},
    status::Status,
    waiter::until,
};
use acrn_uapi::{ACRN_IOEVENTFD_FLAG_PIO, ACRN_IOREQ_STATE_FREE};

const PORT: u16 = 0x510;

/// Name of the thread that serves requests beyond the budget.
pub const BACKLOG: &str = "acrn_ioreq_rest";

/// The upcall may use one twentieth of any period, plus its share of the 10 ms before the period.
const ONE_IN: u64 = 20;
const PERIOD_BEFORE: Duration = Duration::from_millis(10);

/// Time of the upcall in milliseconds after which a VM of three has exceeded its share for 90 s.
const OVERSPENT_MS: u16 = 1500;

fn status(vmid: u16) -> Result<Status, String> {
    let status = Status::of_vm(vmid).filter(|status| status.has("upcall_ns"));
    status.ok_or_else(|| "the driver does not report the time of the upcall".to_owned())
}

/// A guest that writes to an ioeventfd in a loop.
struct Storm {
    guest: Guest,
    _event: Eventfd,
}

impl Storm {
    fn on(cpus: u64) -> Self {
        let guest = Guest::new(cpus);
        let event = Eventfd::new();
        let range = doorbell(PORT);
        guest
            .vm
            .assign_ioeventfd(&event, &range)
            .expect("IOEVENTFD");
        guest.load_long_mode(&program::chatter(PORT));
        guest.vm.start().expect("START_VM");
        Self {
            guest,
            _event: event,
        }
    }

    fn status(&self) -> Result<Status, String> {
        status(self.guest.vm.vmid())
    }

    fn number(&self, key: &str) -> u64 {
        self.status().expect("status").number(key)
    }
}

/// Returns whether the upcall keeps to its share.
///
/// The driver counts only the upcall's own time. If the machine stops during the measurement, that
/// time can only look longer.
fn share_is_kept(storms: &[Storm]) -> bool {
    let upcalls = || -> u64 { storms.iter().map(|storm| storm.number("upcall_ns")).sum() };
    let begun = Instant::now();
    let before = upcalls();
    thread::sleep(Duration::from_millis(300));
    let spent = upcalls() - before;
    let all = (begun.elapsed() + PERIOD_BEFORE).as_nanos();
    u128::from(spent * ONE_IN) <= all
}

/// A thread serves the requests that exceed the upcall's share.
pub fn storm() -> Outcome {
    let storm = Storm::on(need!(cpus::pick(1)));
    need!(storm.status());
    until("the thread serves requests", || {
        storm.number("thread_requests") > 1000
    });
    until("the upcall keeps to its share", || {
        share_is_kept(slice::from_ref(&storm))
    });
    assert!(storm.number("upcall_requests") > 0);
    Outcome::Passed
}

/// After an idle period of the driver, however long, a guest can use the upcall for its share only.
pub fn storm_after_silence() -> Outcome {
    let cpus = need!(cpus::pick(1));
    until("the upcall keeps to its share from the beginning", || {
        let begun = Instant::now();
        let storm = Storm::on(cpus);
        let mut spent = 0;
        until("the thread serves requests", || {
            spent = storm.number("upcall_ns");
            storm.number("thread_requests") > 0
        });
        u128::from(spent * ONE_IN) <= (begun.elapsed() + PERIOD_BEFORE).as_nanos()
    });
    Outcome::Passed
}

/// The driver serves two VMs that exceed the share. Together they use no more of the upcall's time
/// than one VM.
pub fn two_storms() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let storms: Vec<_> = masks.into_iter().map(Storm::on).collect();
    need!(storms[0].status());
    let begun: Vec<_> = storms
        .iter()
        .map(|storm| storm.number("thread_requests"))
        .collect();
    for (storm, begun) in storms.iter().zip(begun) {
        until("the thread serves each VM", || {
            storm.number("thread_requests") > begun + 100
        });
    }
    until("the upcall keeps to its share", || share_is_kept(&storms));
    Outcome::Passed
}

/// Makes isolated requests until the upcall has served ten in succession.
///
/// A request during which the machine stops uses up the share of the VM for a while.
fn served_by_upcall(vm: &ScriptedVm) {
    let mut in_succession = 0;
    until("the upcall serves isolated requests", || {
        let before = status(vm.vmid).expect("status");
        let answer = vm.ask(write(Target::Port(PORT), Width::Four, 1));
        assert_eq!(answer, Answer::DeviceModel);
        let after = status(vm.vmid).expect("status");
        let more = |key| after.number(key) - before.number(key);
        assert_eq!(more("upcall_requests") + more("thread_requests"), 1);
        in_succession = match more("upcall_requests") {
            1 => in_succession + 1,
            _ => 0,
        };
        thread::sleep(Duration::from_millis(20));
        in_succession == 10
    });
}

/// The upcall serves an isolated request.
pub fn alone() -> Outcome {
    let vm = need!(ScriptedVm::new());
    need!(status(vm.vmid));
    served_by_upcall(&vm);
    Outcome::Passed
}

/// Assigns an ioeventfd at [`PORT`].
fn doorbell_of(vm: &ScriptedVm) -> Eventfd {
    let event = Eventfd::new();
    vm.device
        .ioeventfd(&event, ACRN_IOEVENTFD_FLAG_PIO, PORT.into(), 4)
        .expect("IOEVENTFD");
    event
}

/// The upcall serves an isolated request while other VMs exceed their share. One of them, which the
/// upcall looks at first, has exceeded it for a long time, and has a request that stays pending.
pub fn alone_beside_storm() -> Outcome {
    // The upcall occupies its CPU for a while.
    need!(cpus::stay_on(1 - cpus::UPCALLS));
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let first = need!(ScriptedVm::without_client(masks[2]));
    need!(status(first.vmid));
    let _event = doorbell_of(&first);
    let storm = Storm::on(masks[0]);
    let vm = need!(ScriptedVm::on(masks[1]));
    until("the thread serves requests", || {
        storm.number("thread_requests") > 1000
    });
    overspend(&first);
    let overspent = status(first.vmid).expect("status");
    assert_eq!(overspent.number("upcall_requests"), 1);
    raise(&first, PORT + 0x10);
    served_by_upcall(&vm);
    Outcome::Passed
}

/// Raises a request to write to a port.
fn raise(vm: &ScriptedVm, port: u16) {
    let access = write(Target::Port(port), Width::Four, 1);
    let raised = vm.probe.raise(request(vm.vmid, 0, access));
    assert_eq!(raised, 0, "RAISE_REQUEST");
}

/// Raises a request for an ioeventfd at [`PORT`], and waits until the driver has completed it.
fn ring(vm: &ScriptedVm) {
    raise(vm, PORT);
    let slot = vm.page.slot(0).expect("slot 0");
    until("the driver completes the request", || {
        slot.state() == ACRN_IOREQ_STATE_FREE
    });
}

/// Uses up the upcall's share of a VM that has an ioeventfd at [`PORT`].
fn overspend(vm: &ScriptedVm) {
    vm.probe
        .hold_for(NOTIFY_REQUEST_FINISH, vm.vmid, OVERSPENT_MS);
    ring(vm);
}

/// While the thread notifies the hypervisor of a request of one VM, which may take long, the upcall
/// serves another VM.
pub fn alone_beside_thread() -> Outcome {
    // The hypercall of the thread occupies its CPU, with interrupts disabled. So the test must run
    // on another CPU.
    need!(cpus::stay_on(cpus::UPCALLS));
    let masks = need!(cpus::pick_many(&[1, 1]));
    let storm = Storm::on(masks[0]);
    need!(storm.status());
    let vm = need!(ScriptedVm::on(masks[1]));
    let slot = vm.page.slot(0).expect("slot 0");
    let _elsewhere = KeptOn::cpu(1 - cpus::UPCALLS, BACKLOG);
    until("the thread serves requests", || {
        storm.number("thread_requests") > 1000
    });
    // The hold must end by itself, as a driver that is wrong waits for its end on this CPU. If it
    // ends too early, because the machine is slow or the upcall made the hypercall, a round shows
    // nothing, and the next one holds longer.
    let mut limit_ms = 100;
    let mut ended = 0;
    until("the upcall serves a VM during a hypercall", || {
        vm.probe
            .hold_for(NOTIFY_REQUEST_FINISH, storm.guest.vm.vmid(), limit_ms);
        limit_ms = (limit_ms * 2).min(10_000);
        let is_held = (0..50).any(|_| {
            thread::sleep(Duration::from_millis(1));
            vm.probe.is_held()
        });
        let request = request(vm.vmid, 0, write(Target::Port(PORT), Width::Four, 1));
        assert_eq!(vm.probe.raise(request), 0, "RAISE_REQUEST");
        until("the device model has the request", || slot.is_ours());
        let is_still_held = is_held && vm.probe.is_held();
        vm.probe.release();
        assert_eq!(vm.finish(0), Ok(()));
        ended += u32::from(is_held && !is_still_held);
        assert!(ended < 10, "the upcall waits for the thread's hypercall");
        is_still_held
    });
    Outcome::Passed
}

/// The thread serves a request although it was about to sleep when the upcall woke it.
pub fn thread_misses_no_wake_up() -> Outcome {
    need!(cpus::stay_on(cpus::UPCALLS));
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    need!(status(vm.vmid));
    let _event = doorbell_of(&vm);
    let _elsewhere = KeptOn::cpu(1 - cpus::UPCALLS, BACKLOG);
    let number = |key| status(vm.vmid).expect("status").number(key);
    // Between any two instructions of the upcall the thread can fall asleep again.
    vm.probe.slow_after_ipis(Duration::from_micros(300));
    until("the thread serves ten requests", || {
        let by_upcall = number("upcall_requests");
        ring(&vm);
        if number("upcall_requests") > by_upcall {
            overspend(&vm);
        }
        number("thread_requests") >= 10
    });
    vm.probe.slow_after_ipis(Duration::ZERO);
    Outcome::Passed
}

/// The thread has its own name, and the scheduling policy of user space.
pub fn thread_has_a_name() -> Outcome {
    let vm = need!(ScriptedVm::new());
    need!(status(vm.vmid));
    assert_eq!(policies(BACKLOG), [libc::SCHED_OTHER]);
    // On a real-time kernel, another thread does the work of the upcall.
    let expected: &[i32] = if cpus::run_preempt_rt() {
        &[libc::SCHED_FIFO]
    } else {
        &[]
    };
    assert_eq!(policies("acrn_ioreq"), expected);
    Outcome::Passed
}

/// Returns the scheduling policies of the threads with the name `name`.
fn policies(name: &str) -> Vec<i32> {
    // SAFETY: No memory is passed.
    let policy = |id| unsafe { libc::sched_getscheduler(id) };
    kernel_threads::ids(name).into_iter().map(policy).collect()
}
