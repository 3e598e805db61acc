// SPDX-License-Identifier: GPL-2.0

//! Signals to the device model: the watchdog's, and SIGKILL.

use std::{os::unix::process::ExitStatusExt, sync::atomic::Ordering};

use acrn_selftests::{
    cpus,
    device::Device,
    harness::{self, Outcome},
    hypercall::DESTROY_VM,
    need,
    probe::{Probe, fault},
    waiter::until,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM};
use mini_acrn_channel::{ANY_VM, Fault};
use nix::{
    errno::Errno,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

use crate::{
    guest::End,
    model::{Model, Next, memory},
    watch::{ROUNDS, again_and_again},
};

extern "C" fn nothing(_: libc::c_int) {}

/// The watchdog, and debug builds, send SIGCONT to the thread in ATTACH_IOREQ_CLIENT; the handler
/// has SA_RESTART. ATTACH_IOREQ_CLIENT returns 0, and the thread looks for requests and goes on.
pub fn watchdog() -> Outcome {
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: The handler does nothing.
    unsafe { sigaction(Signal::SIGCONT, &action) }.expect("sigaction");
    let cpus = need!(cpus::pick(1));
    let model = need!(Model::create(cpus, memory(0), End::PowerOff, None, |_| {}));
    let server = model.serve(|_, _| Next::Notify);
    // The guest waits for its interrupt.
    until("the guest rings", || {
        model.rung.load(Ordering::Relaxed) == 1
    });
    for _ in 0..ROUNDS {
        server.until_idle();
        let before = model.attached.load(Ordering::Relaxed);
        server.signal(Signal::SIGCONT);
        until("ATTACH_IOREQ_CLIENT returns 0", || {
            model.attached.load(Ordering::Relaxed) > before
        });
    }
    // The thread goes on serving.
    let interrupters = model.interrupt();
    let before = crate::guest::activity(&model.memory);
    until("the guest goes on", || {
        crate::guest::activity(&model.memory) > before
    });
    server.until_idle();
    model.assert_served();
    model.pause();
    model.destroy_client(server);
    model.destroy();
    interrupters.stop();
    Outcome::Passed
}

/// Kills a device model whose guest runs, and one whose guest is paused.
pub fn killed() -> Outcome {
    again_and_again(|round| {
        let name = match round % 3 {
            0 => "victim",
            1 => "paused_victim",
            _ => "refused_victim",
        };
        let mut victim = harness::start(harness::helper(name))?;
        victim.kill().expect("SIGKILL");
        let status = victim.wait().expect("the victim");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        Ok(())
    })
}

/// Kills a device model that waits for DESTROY_VM, which the hypervisor refuses. The guest makes
/// requests until then. The VM must be destroyed with its device model all the same.
pub fn killed_in_refused_destroy() -> Outcome {
    let probe = need!(Probe::open());
    again_and_again(|_| {
        let mut victim = harness::start(harness::helper("refused_victim"))?;
        probe.hold(DESTROY_VM, ANY_VM);
        until("DESTROY_VM is held", || probe.is_held());
        victim.kill().expect("SIGKILL");
        probe.release();
        let status = victim.wait().expect("the victim");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        until("the VM is gone", || probe.vms().is_empty());
        Ok(())
    })
}

/// A device model with a running guest, which calls `prepare` before it is ready to be killed.
fn play(prepare: impl FnOnce(&Model)) -> Outcome {
    let cpus = need!(cpus::pick(1));
    let model = need!(Model::create(cpus, memory(0), End::PowerOff, None, |_| {}));
    let _server = model.serve(|_, _| Next::Notify);
    let _interrupters = model.interrupt();
    until("the guest rings", || {
        model.rung.load(Ordering::Relaxed) == 1
    });
    prepare(&model);
    harness::ready();
    loop {
        std::thread::park();
    }
}

/// The process that [`killed`] kills.
pub fn victim() -> Outcome {
    play(|_| {})
}

/// A victim with a paused VM.
pub fn paused_victim() -> Outcome {
    play(|model| model.plain(ACRN_IOCTL_PAUSE_VM, "PAUSE_VM"))
}

/// A victim with a thread whose commands the hypervisor refuses, because the VM runs.
pub fn refused_victim() -> Outcome {
    play(|model| {
        let device = Device::sharing(&model.device);
        std::thread::spawn(move || {
            for command in [ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_RESET_VM].iter().cycle() {
                assert_eq!(device.plain(*command), Err(Errno::EPERM));
            }
        });
    })
}

/// A victim with a VM that the hypervisor never destroys.
pub fn stubborn_victim() -> Outcome {
    let probe = need!(Probe::open());
    play(|model| {
        probe.push_fault(Fault {
            vmid: model.vmid,
            count: u32::MAX,
            ..fault(DESTROY_VM, -1)
        });
    })
}
