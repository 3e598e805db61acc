// SPDX-License-Identifier: GPL-2.0

//! Tests of events while PAUSE_VM, which may fail, is in progress. If the VM continues, the driver
//! notifies the hypervisor once of each request that was completed meanwhile. If the VM is paused,
//! the driver does not notify the hypervisor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    eventfd::Eventfd,
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{INJECT_MSI, NOTIFY_REQUEST_FINISH, PAUSE_VM, SET_IRQLINE},
    need,
    program::{read, write},
    scripted_vm::{ScriptedVm, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

const READ: acrn_selftests::program::Access = read(Target::Port(0x510), Width::Four);

const VCPUS: u16 = 2;

/// A VM with an eventfd that interrupts it. Each of its vCPUs waits for the completion of a
/// request.
struct WaitingVm {
    vm: ScriptedVm,
    event: Eventfd,
}

impl WaitingVm {
    fn new() -> Result<Self, String> {
        let vm = ScriptedVm::on(cpus::pick(VCPUS.into())?)?;
        let event = Eventfd::new();
        vm.device.irqfd(&event, 0, APIC, 0x31).expect("IRQFD");
        let waiting = Self { vm, event };
        waiting.raise();
        Ok(waiting)
    }

    /// Raises a request of each vCPU, and waits until the driver leaves it to the device model.
    fn raise(&self) {
        for vcpu in 0..VCPUS {
            let request = request(self.vm.vmid, vcpu, READ);
            assert_eq!(self.vm.probe.raise(request), 0, "RAISE_REQUEST");
            let slot = self.vm.page.slot(vcpu.into()).expect("a slot");
            until("the driver leaves the request to the device model", || {
                slot.is_ours()
            });
        }
    }

    /// Holds PAUSE_VM in the hypervisor while `act` runs. If `fails` is set, PAUSE_VM fails
    /// afterwards.
    fn pause_while(&self, fails: bool, act: impl FnOnce()) {
        let vmid = self.vm.vmid;
        if fails {
            self.vm.probe.refuse(PAUSE_VM, vmid);
        }
        let device = self.vm.device.clone();
        let held = HeldHypercall::start(&self.vm.probe, PAUSE_VM, vmid, move || {
            device.plain(ACRN_IOCTL_PAUSE_VM)
        });
        act();
        let expected = match fails {
            true => Err(Errno::EIO),
            false => Ok(()),
        };
        assert_eq!(held.release(), expected, "PAUSE_VM");
    }

    fn calls(&self, trace: &Trace<'_>, id: u32) -> Vec<u64> {
        let mut calls: Vec<_> = trace.calls(id).iter().map(|call| call.p2).collect();
        calls.sort_unstable();
        calls
    }

    /// During PAUSE_VM, calls `complete`, which completes the requests of `completed` vCPUs. If
    /// PAUSE_VM fails, the driver notifies the hypervisor of these requests. If PAUSE_VM succeeds,
    /// the driver notifies it of none.
    fn complete_during_pause(&self, complete: impl Fn(&Device), completed: u64) {
        for fails in [true, true, false] {
            let trace = Trace::start(&self.vm.probe);
            self.pause_while(fails, || {
                complete(&self.vm.device);
                for vcpu in 0..completed {
                    let slot = self.vm.page.slot(vcpu as u32).expect("a slot");
                    assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE, "vCPU {vcpu}");
                }
                let notified = self.calls(&trace, NOTIFY_REQUEST_FINISH);
                assert_eq!(notified, [], "notified vCPUs during PAUSE_VM");
            });
            let notified = self.calls(&trace, NOTIFY_REQUEST_FINISH);
            let expected: Vec<_> = (0..completed).filter(|_| fails).collect();
            assert_eq!(
                notified, expected,
                "notified vCPUs, PAUSE_VM fails: {fails}"
            );
            trace.assert_sane();
            if !fails {
                self.vm.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
                assert_eq!(self.calls(&trace, NOTIFY_REQUEST_FINISH), []);
            }
            let created = self.vm.device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
            assert!(
                matches!(created, Ok(()) | Err(Errno::EEXIST)),
                "{created:?}"
            );
            self.finish_rest(completed);
            self.raise();
        }
        for vcpu in 0..VCPUS {
            assert_eq!(self.vm.finish(vcpu.into()), Ok(()));
        }
    }

    /// Completes the remaining requests of a round: those of the vCPUs from `completed` on.
    fn finish_rest(&self, completed: u64) {
        for vcpu in completed as u32..VCPUS.into() {
            let slot = self.vm.page.slot(vcpu).expect("a slot");
            if slot.is_ours() {
                self.vm.finish(vcpu).expect("NOTIFY_REQUEST_FINISH");
            }
        }
    }
}

/// NOTIFY_REQUEST_FINISH completes a request during PAUSE_VM. The driver notifies the hypervisor
/// only if PAUSE_VM fails.
pub fn notify_under_way() -> Outcome {
    let waiting = need!(WaitingVm::new());
    waiting.complete_during_pause(|_| assert_eq!(waiting.vm.finish(0), Ok(())), 1);
    Outcome::Passed
}

/// If a NOTIFY_REQUEST_FINISH hypercall is in progress when PAUSE_VM begins, the driver makes the
/// hypercall before PAUSE_VM or not at all.
pub fn notify_on_its_way() -> Outcome {
    /// PAUSE_VM needs less than this time to begin. A correct PAUSE_VM waits for this time.
    const PATIENCE_MS: u16 = 1500;
    need!(cpus::stay_on(cpus::UPCALLS));
    let waiting = need!(WaitingVm::new());
    let vm = &waiting.vm;
    let trace = Trace::start(&vm.probe);
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // The hypercall occupies the CPU of its thread, with interrupts disabled. That must be
            // another CPU than the test's.
            cpus::stay_on(1 - cpus::UPCALLS).expect("another CPU");
            until("the test holds the hypercall", || {
                go.load(Ordering::Acquire)
            });
            vm.finish(0)
        });
        vm.probe
            .hold_for(NOTIFY_REQUEST_FINISH, vm.vmid, PATIENCE_MS);
        go.store(true, Ordering::Release);
        until("NOTIFY_REQUEST_FINISH is in progress", || {
            vm.probe.is_held() || thread.is_finished()
        });
        let paused = vm.device.plain(ACRN_IOCTL_PAUSE_VM);
        assert_eq!(paused, Ok(()), "PAUSE_VM");
        vm.probe.release();
        assert_eq!(
            thread.join().expect("the notifying thread panicked"),
            Ok(())
        );
    });
    let mut order = trace.ids();
    order.retain(|id| [NOTIFY_REQUEST_FINISH, PAUSE_VM].contains(id));
    assert_eq!(order, [NOTIFY_REQUEST_FINISH, PAUSE_VM]);
    Outcome::Passed
}

/// CLEAR_VM_IOREQ completes requests during PAUSE_VM. The driver notifies the hypervisor only if
/// PAUSE_VM fails.
pub fn clear_under_way() -> Outcome {
    let waiting = need!(WaitingVm::new());
    let clear = |device: &Device| {
        assert_eq!(device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ), Ok(()));
    };
    waiting.complete_during_pause(clear, VCPUS.into());
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT completes requests during PAUSE_VM. The driver notifies the hypervisor only
/// if PAUSE_VM fails.
pub fn destroy_client_under_way() -> Outcome {
    let waiting = need!(WaitingVm::new());
    let destroy = |device: &Device| {
        assert_eq!(device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT), Ok(()));
    };
    waiting.complete_during_pause(destroy, VCPUS.into());
    Outcome::Passed
}

/// An upcall completes a request during PAUSE_VM. The driver notifies the hypervisor only if
/// PAUSE_VM fails.
pub fn upcall_under_way() -> Outcome {
    let waiting = need!(WaitingVm::new());
    let vm = &waiting.vm;
    for vcpu in 0..VCPUS {
        assert_eq!(vm.finish(vcpu.into()), Ok(()));
    }
    let access = write(Target::Port(0xcf8), Width::Four, 0x8000_0000);
    let slot = vm.page.slot(0).expect("slot 0");
    for fails in [true, false] {
        let trace = Trace::start(&vm.probe);
        waiting.pause_while(fails, || {
            assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
            until("the driver completes the request", || {
                slot.state() == ACRN_IOREQ_STATE_COMPLETE
            });
        });
        let notified = waiting.calls(&trace, NOTIFY_REQUEST_FINISH).len();
        assert_eq!(notified, usize::from(fails), "PAUSE_VM fails: {fails}");
    }
    Outcome::Passed
}

/// An eventfd of IRQFD is signalled during PAUSE_VM. The driver takes the event, and sends the
/// interrupt if the VM continues.
pub fn irqfd_under_way() -> Outcome {
    let waiting = need!(WaitingVm::new());
    for fails in [true, false] {
        let trace = Trace::start(&waiting.vm.probe);
        waiting.pause_while(fails, || {
            waiting.event.signal();
            assert_eq!(trace.calls(INJECT_MSI).len(), 0);
        });
        assert_eq!(
            waiting.event.take(),
            0,
            "events that the driver has not taken"
        );
        let sent = || trace.calls(INJECT_MSI).len();
        assert_eq!(sent(), usize::from(fails), "PAUSE_VM fails: {fails}");
        if fails {
            waiting.pause_while(true, || {});
            assert_eq!(sent(), 1, "after a PAUSE_VM without an event");
        }
    }
    Outcome::Passed
}

/// INJECT_MSI and SET_IRQLINE are issued during PAUSE_VM, and may wait for its end. The driver
/// sends the interrupts if the VM continues.
pub fn interrupts_under_way() -> Outcome {
    let waiting = need!(WaitingVm::new());
    for fails in [true, false] {
        let trace = Trace::start(&waiting.vm.probe);
        let mut threads = Vec::new();
        waiting.pause_while(fails, || {
            let device = waiting.vm.device.clone();
            threads.push(thread::spawn(move || inject(&device)));
            let device = waiting.vm.device.clone();
            threads.push(thread::spawn(move || set_line(&device)));
            // If the commands wait, they do so by then.
            thread::sleep(std::time::Duration::from_millis(50));
        });
        for thread in threads {
            assert_eq!(thread.join().expect("a thread panicked"), Ok(()));
        }
        for id in [INJECT_MSI, SET_IRQLINE] {
            let sent = trace.calls(id).len();
            assert_eq!(sent, usize::from(fails), "{id:#x}, PAUSE_VM fails: {fails}");
        }
    }
    Outcome::Passed
}

fn inject(device: &Arc<Device>) -> Result<(), Errno> {
    device.inject_msi(APIC, 0x31)
}

fn set_line(device: &Arc<Device>) -> Result<(), Errno> {
    device.set_irqline(4, 2)
}
