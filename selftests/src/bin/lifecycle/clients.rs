// SPDX-License-Identifier: GPL-2.0

//! Tests of CREATE_IOREQ_CLIENT, DESTROY_IOREQ_CLIENT and ATTACH_IOREQ_CLIENT.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use acrn_ioctls::{RequestPage, Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::create_raw,
    harness::Outcome,
    need,
    program::read,
    race::Race,
    scripted_vm::{ScriptedVm, request},
    waiter::{Waiter, until},
};
use acrn_uapi::ioctl::*;
use nix::{
    errno::Errno,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

fn with_client() -> Result<(Arc<Device>, RequestPage), String> {
    let (device, page, _) = create_raw(cpus::pick(1)?);
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    Ok((Arc::new(device), page))
}

/// A second CREATE_IOREQ_CLIENT fails with `EEXIST`, because a VM has at most one client.
pub fn create_client_twice() -> Outcome {
    let (device, _page) = need!(with_client());
    assert_eq!(
        device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT),
        Err(Errno::EEXIST)
    );
    Outcome::Passed
}

/// ATTACH_IOREQ_CLIENT fails with `ENODEV` if the VM has no client.
pub fn attach_without_client() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    assert_eq!(
        device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT),
        Err(Errno::ENODEV)
    );
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT succeeds if the VM has no client. Device models destroy clients repeatedly
/// when they clean up.
pub fn destroy_client_twice() -> Outcome {
    let (device, _page) = need!(with_client());
    for _ in 0..3 {
        assert_eq!(device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT), Ok(()));
    }
    assert_eq!(
        device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT),
        Err(Errno::ENODEV)
    );
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT ends ATTACH_IOREQ_CLIENT with `ENODEV` (R1). A device model that shuts down
/// normally relies on this.
pub fn destroy_client_ends_attach() -> Outcome {
    let (device, _page) = need!(with_client());
    for _ in 0..5 {
        let waiters = [Waiter::start(&device), Waiter::start(&device)];
        device
            .plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
            .expect("DESTROY_IOREQ_CLIENT");
        for waiter in waiters {
            assert_eq!(waiter.result(), Err(Errno::ENODEV));
        }
        device
            .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
            .expect("CREATE_IOREQ_CLIENT");
    }
    Outcome::Passed
}

/// DESTROY_VM ends ATTACH_IOREQ_CLIENT with `ENODEV` if the device model does not destroy the
/// client first.
pub fn destroy_vm_ends_attach() -> Outcome {
    let (device, _page) = need!(with_client());
    let waiter = Waiter::start(&device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    assert!(
        waiter.waits(),
        "ATTACH_IOREQ_CLIENT returned after PAUSE_VM"
    );
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    assert_eq!(waiter.result(), Err(Errno::ENODEV));
    Outcome::Passed
}

/// Number of signals that were handled.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Installs a handler that counts SIGUSR1.
fn handle_signals(flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(count), flags, SigSet::empty());
    // SAFETY: The handler only increments a number.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("sigaction");
}

/// A handled signal ends ATTACH_IOREQ_CLIENT successfully, with SA_RESTART and without. acrn-dm
/// wakes its thread by such a signal.
pub fn signal_ends_attach() -> Outcome {
    let (device, _page) = need!(with_client());
    for (handled, flags) in [SaFlags::empty(), SaFlags::SA_RESTART]
        .into_iter()
        .enumerate()
    {
        handle_signals(flags);
        let waiter = Waiter::start(&device);
        waiter.signal(Signal::SIGUSR1);
        assert_eq!(waiter.result(), Ok(()), "{flags:?}");
        assert_eq!(HANDLED.load(Ordering::Relaxed), handled + 1);
    }
    Outcome::Passed
}

/// After a signal, ATTACH_IOREQ_CLIENT reports requests and the end of the client as usual.
pub fn signal_then_request() -> Outcome {
    handle_signals(SaFlags::SA_RESTART);
    let vm = need!(ScriptedVm::new());
    let access = read(Target::Port(0x510), Width::Four);
    for _ in 0..3 {
        let waiter = Waiter::start(&vm.device);
        waiter.signal(Signal::SIGUSR1);
        assert_eq!(waiter.result(), Ok(()));
        let waiter = Waiter::start(&vm.device);
        assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
        assert_eq!(waiter.result(), Ok(()));
        assert_eq!(vm.finish(0), Ok(()));
    }
    let waiter = Waiter::start(&vm.device);
    let destroy = ACRN_IOCTL_DESTROY_IOREQ_CLIENT;
    vm.device.plain(destroy).expect("DESTROY_IOREQ_CLIENT");
    assert_eq!(waiter.result(), Err(Errno::ENODEV));
    Outcome::Passed
}

/// Threads that attach race with threads that destroy and create the client (R1, R2).
/// ATTACH_IOREQ_CLIENT always fails with `ENODEV`, because there are no requests.
pub fn clients_come_and_go() -> Outcome {
    let (device, _page) = need!(with_client());
    let race = &Race::of(2);
    let destroy = || {
        device
            .plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
            .expect("DESTROY_IOREQ_CLIENT");
    };
    thread::scope(|scope| {
        let attaching = [(); 2].map(|()| {
            scope.spawn(|| {
                while race.goes_on() {
                    let attached = device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
                    assert_eq!(attached, Err(Errno::ENODEV));
                }
            })
        });
        let creating = [(); 2].map(|()| {
            scope.spawn(|| {
                race.repeat("clients", || {
                    destroy();
                    match device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT) {
                        Ok(()) => true,
                        Err(Errno::EEXIST) => false,
                        Err(error) => panic!("CREATE_IOREQ_CLIENT: {error}"),
                    }
                });
            })
        });
        for thread in creating {
            thread.join().expect("join the thread");
        }
        // No thread creates clients any more, so this ends each ATTACH_IOREQ_CLIENT in progress.
        until("all threads have ended", || {
            destroy();
            attaching.iter().all(|thread| thread.is_finished())
        });
    });
    Outcome::Passed
}
