// SPDX-License-Identifier: GPL-2.0

//! Tests that create and destroy ioreq clients while requests are in flight.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, create_raw},
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    need,
    program::{self, read},
    scripted_vm::{ScriptedVm, request},
    trace::Trace,
    waiter::{Waiter, until},
};
use acrn_uapi::{ACRN_IOREQ_STATE_FREE, ioctl::*};
use nix::errno::Errno;

use crate::{at_once, end};

const PORT: u16 = 0x510;

/// Issues `command` in several threads at the same time.
fn in_threads(device: &Device, command: u32) -> Vec<Result<(), Errno>> {
    const THREADS: usize = 4;
    let barrier = Barrier::new(THREADS);
    let call = || {
        barrier.wait();
        device.plain(command)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread panicked"));
        results.collect()
    })
}

/// If several threads create a client at the same time, one of them succeeds. If all of them
/// destroy it at the same time, each succeeds (R2).
pub fn one_client_wins() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    for _ in 0..100 {
        let mut created = in_threads(&device, ACRN_IOCTL_CREATE_IOREQ_CLIENT);
        created.sort_by_key(Result::is_err);
        let refused = Err(Errno::EEXIST);
        assert_eq!(created, [Ok(()), refused, refused, refused]);
        let destroyed = in_threads(&device, ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
        assert_eq!(destroyed, [Ok(()); 4]);
        let attached = device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
        assert_eq!(attached, Err(Errno::ENODEV));
    }
    Outcome::Passed
}

/// CLEAR_VM_IOREQ races with DESTROY_IOREQ_CLIENT. The driver completes each request once (R9,
/// A12).
pub fn clear_against_destroy_client() -> Outcome {
    const VCPUS: u16 = 2;
    let vm = need!(ScriptedVm::on(need!(cpus::pick(VCPUS.into()))));
    let slots = || (0..u32::from(VCPUS)).filter_map(|vcpu| vm.page.slot(vcpu));
    let end = end();
    while Instant::now() < end {
        let trace = Trace::start(&vm.probe);
        for vcpu in 0..VCPUS {
            let access = read(Target::Port(PORT), Width::Four);
            assert_eq!(vm.probe.raise(request(vm.vmid, vcpu, access)), 0);
        }
        until("the driver leaves the requests to the device model", || {
            slots().all(|slot| slot.is_ours())
        });
        let results = at_once(
            || vm.device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ),
            || vm.device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT),
        );
        assert_eq!(results, (Ok(()), Ok(())));
        until("the requests are completed", || {
            slots().all(|slot| slot.state() == ACRN_IOREQ_STATE_FREE)
        });
        let mut notified: Vec<_> = trace
            .calls(NOTIFY_REQUEST_FINISH)
            .iter()
            .map(|record| record.p2)
            .collect();
        notified.sort();
        assert_eq!(notified, [0, 1]);
        vm.device
            .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
            .expect("CREATE_IOREQ_CLIENT");
    }
    Outcome::Passed
}

/// A thread enters ATTACH_IOREQ_CLIENT at any moment around the guest's next request. The request
/// must wake the thread, because nothing else ever does.
pub fn requests_against_attach() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::chatter(PORT));
    guest.vm.start().expect("START_VM");
    let (served, end) = (AtomicUsize::new(0), end());
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            // Upcalls occur on this CPU, so they may interrupt the thread between any two
            // instructions.
            cpus::stay_on(cpus::UPCALLS).expect("the CPU of upcalls");
            let mut pause = Duration::ZERO;
            while guest.vm.attach_ioreq_client().is_ok() {
                for (vcpu, _) in guest.page.slots().filter(|(_, slot)| slot.is_ours()) {
                    let notified = guest.vm.notify_request_finish(vcpu);
                    notified.expect("NOTIFY_REQUEST_FINISH");
                    served.fetch_add(1, Ordering::Relaxed);
                }
                let again = Instant::now() + pause;
                while Instant::now() < again {
                    std::hint::spin_loop();
                }
                let next = (pause.as_nanos() as u64 + 137) % 200_000;
                pause = Duration::from_nanos(next);
            }
        });
        while Instant::now() < end {
            let before = served.load(Ordering::Relaxed);
            until("the next request is served", || {
                served.load(Ordering::Relaxed) > before
            });
        }
        guest.vm.pause().expect("PAUSE_VM");
        guest
            .vm
            .destroy_ioreq_client()
            .expect("DESTROY_IOREQ_CLIENT");
        server.join().expect("the serving thread panicked");
    });
    println!("served {}", served.into_inner());
    Outcome::Passed
}

/// Waiting threads run as soon as DESTROY_IOREQ_CLIENT wakes them, before the thread that destroys
/// their client continues. The client must be gone by then.
pub fn waiters_come_first() -> Outcome {
    const CPU: usize = cpus::UPCALLS;
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    let device = Arc::new(device);
    need!(cpus::stay_on(CPU));
    for _ in 0..5 {
        device
            .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
            .expect("CREATE_IOREQ_CLIENT");
        let waiters = [(); 3].map(|()| Waiter::start_urgent(&device, CPU));
        device
            .plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
            .expect("DESTROY_IOREQ_CLIENT");
        for waiter in waiters {
            assert_eq!(waiter.result(), Err(Errno::ENODEV));
        }
    }
    Outcome::Passed
}

/// Serves requests until the client is destroyed. Returns the number of requests that this thread
/// has completed.
fn serve(guest: &Guest) -> usize {
    let mut served = 0;
    while guest.vm.attach_ioreq_client().is_ok() {
        for (vcpu, _) in guest.page.slots().filter(|(_, slot)| slot.is_ours()) {
            // The request may have been completed when the client was destroyed.
            served += usize::from(guest.vm.notify_request_finish(vcpu).is_ok());
        }
    }
    thread::yield_now();
    served
}

/// Threads that serve a guest race with a thread that destroys their client and creates another
/// (R1, A12). The guest continues all the time.
pub fn clients_under_load() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::chatter(PORT));
    guest.vm.start().expect("START_VM");
    let done = AtomicBool::new(false);
    let end = end();
    thread::scope(|scope| {
        let servers = [(), ()].map(|()| {
            scope.spawn(|| {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    served += serve(&guest);
                }
                served
            })
        });
        let mut pause = 0;
        while Instant::now() < end {
            guest
                .vm
                .destroy_ioreq_client()
                .expect("DESTROY_IOREQ_CLIENT");
            guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
            // The varying pause lets DESTROY_IOREQ_CLIENT meet requests in every state.
            pause = (pause + 1) % 5;
            thread::sleep(Duration::from_micros(100 * pause));
        }
        done.store(true, Ordering::Relaxed);
        guest
            .vm
            .destroy_ioreq_client()
            .expect("DESTROY_IOREQ_CLIENT");
        let served = servers.map(|server| server.join().expect("a thread panicked"));
        println!("served {served:?}");
        assert!(served.iter().sum::<usize>() > 0, "no request was served");
    });
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    let requests = guest.serve_requests(20);
    let values: Vec<_> = requests.iter().map(|(_, request)| request.value).collect();
    let first = values[0];
    assert!(first > 20, "the guest made only {first} requests");
    assert!(values.into_iter().eq(first..first + 20));
    Outcome::Passed
}
