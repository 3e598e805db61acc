// SPDX-License-Identifier: GPL-2.0

//! Tests that unload the module while its objects exist.

use std::sync::Arc;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, MEMORY, create_raw},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{DESTROY_VM, NOTIFY_REQUEST_FINISH, PAUSE_VM, START_VM},
    kernel_threads::KeptOn,
    leaks, module, need,
    probe::{Probe, fault},
    program::{self, RESULTS, read, write},
    scripted_vm::{ScriptedVm, request},
    trace::Trace,
    waiter::{SleepingCommand, until},
};
use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM};
use mini_acrn_channel::vm_state;
use nix::errno::Errno;

/// Unloading the module destroys an orphan, and releases its memory (A1).
pub fn unload_with_orphan() -> Outcome {
    let path = need!(module::path());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let before = leaks::pinned_pages().expect("/proc/vmstat");
    let guest = Guest::new(cpus);
    let vmid = guest.vm.vmid();
    probe.push_fault(fault(DESTROY_VM, -1));
    guest.close();
    let left = probe.vm(vmid).expect("the orphan");
    assert_eq!(left.state, vm_state::PAUSED);
    let pins = 1 + MEMORY as i64 / 4096;
    assert_eq!(leaks::pinned_pages(), Some(before + pins));

    let trace = Trace::start(&probe);
    module::unload();
    assert_eq!(trace.calls(DESTROY_VM).len(), 1);
    probe.assert_no_vms();
    assert_eq!(leaks::pinned_pages(), Some(before));

    module::load(&path);
    create_raw(cpus);
    Outcome::Passed
}

/// Unloading the module waits for an upcall in progress for an orphan, before it frees what the
/// upcall uses.
pub fn unload_beside_upcall() -> Outcome {
    let path = need!(module::path());
    need!(Probe::open());
    // The upcall must not run on the CPU of the test.
    need!(cpus::stay_on(1 - cpus::UPCALLS));
    // Nor may the thread that removes the device's node in /dev, for which the driver waits before.
    let _elsewhere = KeptOn::cpu(1 - cpus::UPCALLS, "kdevtmpfs");
    let cpus = need!(cpus::pick(1));
    // On a slow machine the upcall may end before the driver waits for it.
    let waits = (0..5).any(|round| unload_in_upcall(&path, cpus, 1500 << round));
    assert!(waits, "the driver waits for the upcall");
    Outcome::Passed
}

/// Unloads the module during an upcall that takes some milliseconds. Returns whether the driver was
/// seen to wait for it.
fn unload_in_upcall(path: &str, cpus: u64, milliseconds: u16) -> bool {
    let ScriptedVm {
        probe,
        device,
        page: _page,
        vmid,
    } = ScriptedVm::on(cpus).expect("a VM");
    // The orphan must not be paused, because the driver would not notify the hypervisor then.
    for id in [PAUSE_VM, DESTROY_VM] {
        probe.refuse(id, vmid);
    }
    Arc::into_inner(device)
        .expect("no other reference to the device")
        .close();
    let trace = Trace::start(&probe);
    probe.hold_for(NOTIFY_REQUEST_FINISH, vmid, milliseconds);
    let access = write(Target::Port(0xcf8), Width::Four, 0);
    assert_eq!(probe.raise(request(vmid, 0, access)), 0);
    until("the upcall is in progress or has ended", || {
        probe.is_held() || !trace.calls(NOTIFY_REQUEST_FINISH).is_empty()
    });
    // On PREEMPT_RT a thread does the work of the upcall. Kernel threads may have to wait for it.
    let functions: &[_] = match cpus::run_preempt_rt() {
        true => &["synchronize_rcu", "kthread_stop"],
        false => &["synchronize_rcu"],
    };
    let mut waits = false;
    let unload = SleepingCommand::start_or_finish(module::unload);
    until("the driver waits or the upcall has ended", || {
        let is_seen = functions.iter().any(|name| unload.waits_in(name));
        waits = is_seen && probe.is_held();
        waits || !probe.is_held()
    });
    unload.result();
    // This hypercall only marks a position in the trace.
    probe.call(START_VM, u64::MAX, 0);
    let ids = trace.ids();
    let at = |id| ids.iter().position(|known| *known == id);
    let [upcall, unloaded] = [NOTIFY_REQUEST_FINISH, START_VM].map(at);
    assert!(
        upcall < unloaded,
        "the module was unloaded before the upcall ended"
    );
    module::load(path);
    probe.assert_no_vms();
    waits
}

/// The module cannot be unloaded while a file is open: while a guest waits for the completion of a
/// request, during DESTROY_VM, and after a DESTROY_VM that the hypervisor refused.
pub fn module_stays() -> Outcome {
    need!(module::path());
    let probe = need!(Probe::open());
    let assert_stays = |when: &str| {
        assert_eq!(module::try_unload(), Err(Errno::EAGAIN), "{when}");
    };
    let access = [read(Target::Port(0x510), Width::Four)];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&access));
    let device = Arc::new(Device::sharing(&guest.vm));
    guest.vm.start().expect("START_VM");
    guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    assert_stays("a guest waits");
    assert_eq!(guest.serve(1, |_, _| 7).len(), 1);
    assert_eq!(guest.memory.read::<u32>(RESULTS as usize), 7);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    probe.refuse(DESTROY_VM, guest.vm.vmid());
    let destroyer = device.clone();
    let held = HeldHypercall::start(&probe, DESTROY_VM, guest.vm.vmid(), move || {
        destroyer.plain(ACRN_IOCTL_DESTROY_VM)
    });
    assert_stays("DESTROY_VM is in progress");
    assert_eq!(held.release(), Err(Errno::EIO));
    assert_stays("DESTROY_VM was refused");
    assert!(probe.vm(guest.vm.vmid()).is_some());
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    assert_stays("the file is open");
    Outcome::Passed
}
