// SPDX-License-Identifier: GPL-2.0

//! PAUSE_VM in progress, which may fail. The hypervisor is notified once of requests that are
//! completed meanwhile if the VM goes on, and not if it is paused.

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

/// A VM whose vCPUs each wait for the completion of a request, and an eventfd that interrupts it.
struct Bystanders {
    vm: ScriptedVm,
    event: Eventfd,
}

impl Bystanders {
    fn new() -> Result<Self, String> {
        let vm = ScriptedVm::on(cpus::pick(VCPUS.into())?)?;
        let event = Eventfd::new();
        vm.device.irqfd(&event, 0, APIC, 0x31).expect("IRQFD");
        let bystanders = Self { vm, event };
        bystanders.raise();
        Ok(bystanders)
    }

    /// Raises a request of each vCPU.
    fn raise(&self) {
        for vcpu in 0..VCPUS {
            let request = request(self.vm.vmid, vcpu, READ);
            assert_eq!(self.vm.probe.raise(request), 0, "RAISE_REQUEST");
            let slot = self.vm.page.slot(vcpu.into()).expect("a slot");
            until("the request is left to the device model", || slot.is_ours());
        }
    }

    /// Holds PAUSE_VM in the hypervisor while `act` runs. If `fails`, it fails afterwards.
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

    /// Calls `answer` during PAUSE_VM. `answered` vCPUs are notified if PAUSE_VM fails, and none if
    /// it succeeds.
    fn play(&self, answer: impl Fn(&Device), answered: u64) {
        for fails in [true, true, false] {
            let trace = Trace::start(&self.vm.probe);
            self.pause_while(fails, || {
                answer(&self.vm.device);
                for vcpu in 0..answered {
                    let slot = self.vm.page.slot(vcpu as u32).expect("a slot");
                    assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE, "vCPU {vcpu}");
                }
                let told = self.calls(&trace, NOTIFY_REQUEST_FINISH);
                assert_eq!(told, [], "notified vCPUs during PAUSE_VM");
            });
            let told = self.calls(&trace, NOTIFY_REQUEST_FINISH);
            let owed: Vec<_> = (0..answered).filter(|_| fails).collect();
            assert_eq!(told, owed, "notified vCPUs, PAUSE_VM fails: {fails}");
            trace.assert_sane();
            if !fails {
                self.vm.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
                assert_eq!(self.calls(&trace, NOTIFY_REQUEST_FINISH), []);
            }
            let made = self.vm.device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
            assert!(matches!(made, Ok(()) | Err(Errno::EEXIST)), "{made:?}");
            self.finish_rest(answered);
            self.raise();
        }
        for vcpu in 0..VCPUS {
            assert_eq!(self.vm.finish(vcpu.into()), Ok(()));
        }
    }

    /// Completes the remaining requests of a round: those of vCPUs from `answered` on.
    fn finish_rest(&self, answered: u64) {
        for vcpu in answered as u32..VCPUS.into() {
            let slot = self.vm.page.slot(vcpu).expect("a slot");
            if slot.is_ours() {
                self.vm.finish(vcpu).expect("NOTIFY_REQUEST_FINISH");
            }
        }
    }
}

/// NOTIFY_REQUEST_FINISH during PAUSE_VM.
pub fn notify_under_way() -> Outcome {
    let bystanders = need!(Bystanders::new());
    bystanders.play(|_| assert_eq!(bystanders.vm.finish(0), Ok(())), 1);
    Outcome::Passed
}

/// A NOTIFY_REQUEST_FINISH hypercall that is in progress when PAUSE_VM begins is made before
/// PAUSE_VM, or not at all.
pub fn notify_on_its_way() -> Outcome {
    /// Longer than PAUSE_VM needs to begin. A correct PAUSE_VM waits for this time.
    const PATIENCE_MS: u16 = 1500;
    need!(cpus::stay_on(cpus::UPCALLS));
    let bystanders = need!(Bystanders::new());
    let vm = &bystanders.vm;
    let trace = Trace::start(&vm.probe);
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        let notifier = scope.spawn(|| {
            // Another CPU: the hypercall occupies this one, with interrupts disabled.
            cpus::stay_on(1 - cpus::UPCALLS).expect("another CPU");
            until("the hypercall is to be held", || go.load(Ordering::Acquire));
            vm.finish(0)
        });
        vm.probe
            .hold_for(NOTIFY_REQUEST_FINISH, vm.vmid, PATIENCE_MS);
        go.store(true, Ordering::Release);
        until("NOTIFY_REQUEST_FINISH is in progress", || {
            vm.probe.is_held() || notifier.is_finished()
        });
        let paused = vm.device.plain(ACRN_IOCTL_PAUSE_VM);
        assert_eq!(paused, Ok(()), "PAUSE_VM");
        vm.probe.release();
        assert_eq!(notifier.join().expect("the notifier"), Ok(()));
    });
    let mut order = trace.ids();
    order.retain(|id| [NOTIFY_REQUEST_FINISH, PAUSE_VM].contains(id));
    assert_eq!(order, [NOTIFY_REQUEST_FINISH, PAUSE_VM]);
    Outcome::Passed
}

/// CLEAR_VM_IOREQ during PAUSE_VM.
pub fn clear_under_way() -> Outcome {
    let bystanders = need!(Bystanders::new());
    let clear = |device: &Device| {
        assert_eq!(device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ), Ok(()));
    };
    bystanders.play(clear, VCPUS.into());
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT during PAUSE_VM.
pub fn destroy_client_under_way() -> Outcome {
    let bystanders = need!(Bystanders::new());
    let destroy = |device: &Device| {
        assert_eq!(device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT), Ok(()));
    };
    bystanders.play(destroy, VCPUS.into());
    Outcome::Passed
}

/// The upcall completes a request during PAUSE_VM.
pub fn upcall_under_way() -> Outcome {
    let bystanders = need!(Bystanders::new());
    let vm = &bystanders.vm;
    for vcpu in 0..VCPUS {
        assert_eq!(vm.finish(vcpu.into()), Ok(()));
    }
    let access = write(Target::Port(0xcf8), Width::Four, 0x8000_0000);
    let slot = vm.page.slot(0).expect("slot 0");
    for fails in [true, false] {
        let trace = Trace::start(&vm.probe);
        bystanders.pause_while(fails, || {
            assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
            until("the driver completes the request", || {
                slot.state() == ACRN_IOREQ_STATE_COMPLETE
            });
        });
        let told = bystanders.calls(&trace, NOTIFY_REQUEST_FINISH).len();
        assert_eq!(told, usize::from(fails), "PAUSE_VM fails: {fails}");
    }
    Outcome::Passed
}

/// An irqfd is signalled during PAUSE_VM: its event is taken, and the interrupt is sent if the VM
/// goes on.
pub fn irqfd_under_way() -> Outcome {
    let bystanders = need!(Bystanders::new());
    for fails in [true, false] {
        let trace = Trace::start(&bystanders.vm.probe);
        bystanders.pause_while(fails, || {
            bystanders.event.signal();
            assert_eq!(trace.calls(INJECT_MSI).len(), 0);
        });
        assert_eq!(bystanders.event.take(), 0, "events that were not taken");
        let sent = trace.calls(INJECT_MSI).len();
        assert_eq!(sent, usize::from(fails), "PAUSE_VM fails: {fails}");
    }
    Outcome::Passed
}

/// INJECT_MSI and SET_IRQLINE during PAUSE_VM, for whose end they may wait.
pub fn interrupts_under_way() -> Outcome {
    let bystanders = need!(Bystanders::new());
    for fails in [true, false] {
        let trace = Trace::start(&bystanders.vm.probe);
        let mut threads = Vec::new();
        bystanders.pause_while(fails, || {
            let device = bystanders.vm.device.clone();
            threads.push(thread::spawn(move || inject(&device)));
            let device = bystanders.vm.device.clone();
            threads.push(thread::spawn(move || set_line(&device)));
            // If they wait, they do so by then.
            thread::sleep(std::time::Duration::from_millis(50));
        });
        for thread in threads {
            assert_eq!(thread.join().expect("a thread"), Ok(()));
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
