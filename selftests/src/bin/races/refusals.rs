// SPDX-License-Identifier: GPL-2.0

//! Tests of a guest whose vCPUs make requests all the time while the hypervisor refuses to pause,
//! reset and destroy it. No request is lost or completed twice, and each vCPU continues.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use acrn_ioctls::Target;
use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::Eventfd,
    guest::Guest,
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{DESTROY_VM, PAUSE_VM, RESET_VM},
    need,
    probe::Probe,
    program::{self, SECOND_RESULTS},
    waiter::until,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::end;

/// The port of the requests of vCPU 0, and the port of the requests of vCPU 1.
const PORT: u16 = 0x510;
const BELL: u16 = 0x600;

/// Commands that the hypervisor refuses, with their hypercalls.
const COMMANDS: [(u32, u32); 3] = [
    (ACRN_IOCTL_PAUSE_VM, PAUSE_VM),
    (ACRN_IOCTL_RESET_VM, RESET_VM),
    (ACRN_IOCTL_DESTROY_VM, DESTROY_VM),
];

/// The guest, and the number of requests of each vCPU that the device model has served.
struct Busy {
    probe: Probe,
    guest: Guest,
    device: Arc<Device>,
    bell: Eventfd,
    served: [AtomicU64; 2],
}

impl Busy {
    fn new() -> Result<Self, String> {
        let probe = Probe::open()?;
        let guest = Guest::long_mode(cpus::pick(2)?, &program::chatter_with_second_vcpu(PORT));
        let real_mode = program::real_mode_chatter(BELL, SECOND_RESULTS);
        let entry = program::REAL_MODE_ENTRY as usize;
        guest.memory.write_bytes(entry, &real_mode);
        guest.memory.write::<u64>(SECOND_RESULTS as usize, 0);
        let device = Arc::new(Device::sharing(&guest.vm));
        Ok(Self {
            probe,
            guest,
            device,
            bell: Eventfd::new(),
            served: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    /// Serves requests until the client is destroyed. vCPU 0 writes consecutive numbers from 0 on.
    /// The numbers of vCPU 1 may have gaps, because the eventfd takes some of its writes.
    fn serve(&self) {
        let mut last = None;
        while self.guest.vm.attach_ioreq_client().is_ok() {
            for (vcpu, slot) in self.guest.page.slots().filter(|(_, slot)| slot.is_ours()) {
                let request = slot.request().expect("a valid request");
                let served = &self.served[vcpu as usize];
                match request.target {
                    Target::Port(PORT) => {
                        assert_eq!(request.value, served.load(Ordering::Relaxed));
                    }
                    Target::Port(BELL) => {
                        assert!(last < Some(request.value), "{last:?}, {request:?}");
                        last = Some(request.value);
                    }
                    _ => panic!("{request:?}"),
                }
                served.fetch_add(1, Ordering::Relaxed);
                self.guest
                    .vm
                    .notify_request_finish(vcpu)
                    .expect("NOTIFY_REQUEST_FINISH");
            }
        }
    }

    /// Returns the number of requests whose completion vCPU 1 has seen.
    fn completed(&self) -> u64 {
        let completed: u32 = self.guest.memory.read(SECOND_RESULTS as usize);
        completed.into()
    }

    /// Waits until several more requests of each vCPU are completed.
    fn until_both_continue(&self) {
        let first = self.served[0].load(Ordering::Relaxed);
        let second = self.completed();
        until("vCPU 0 continues", || {
            self.served[0].load(Ordering::Relaxed) > first + 5
        });
        until("vCPU 1 continues", || self.completed() > second + 5);
    }

    /// Issues IOEVENTFD for the port of vCPU 1.
    fn set_ioeventfd(&self, flags: u32) {
        let flags = ACRN_IOEVENTFD_FLAG_PIO | flags;
        let set = self.device.ioeventfd(&self.bell, flags, BELL.into(), 4);
        assert_eq!(set, Ok(()), "IOEVENTFD");
    }

    /// Repeats `act` while another thread serves requests. Compares the counts at the end.
    fn repeat(&self, mut act: impl FnMut(usize)) {
        self.guest.vm.start().expect("START_VM");
        let end = end();
        thread::scope(|scope| {
            let server = scope.spawn(|| self.serve());
            self.until_both_continue();
            let mut round = 0;
            while Instant::now() < end || round < 12 {
                act(round);
                round += 1;
            }
            self.until_both_continue();
            self.guest.vm.pause().expect("PAUSE_VM");
            let destroyed = self.device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
            assert_eq!(destroyed, Ok(()));
            server.join().expect("the serving thread panicked");
            println!("{round} rounds");
        });
        let taken = self.served[1].load(Ordering::Relaxed) + self.bell.take();
        let completed = self.completed();
        // The last request may have been taken while the VM was paused. The guest may not have
        // counted the request before it yet.
        assert!(
            (completed..=completed + 1).contains(&taken),
            "{taken} requests of vCPU 1 were taken, {completed} were completed"
        );
    }
}

/// The hypervisor refuses commands at once, while eventfds are assigned and deassigned.
pub fn refusals_beside_io() -> Outcome {
    let busy = need!(Busy::new());
    busy.repeat(|round| {
        let (command, hypercall) = COMMANDS[round % COMMANDS.len()];
        busy.probe.refuse(hypercall, busy.guest.vm.vmid());
        let refused = busy.device.plain(command);
        assert_eq!(refused, Err(Errno::EIO), "{command:#x}");
        match round % 4 {
            0 => busy.set_ioeventfd(0),
            2 => busy.set_ioeventfd(ACRN_IOEVENTFD_FLAG_DEASSIGN),
            _ => {}
        }
    });
    Outcome::Passed
}

/// The hypervisor holds commands and refuses them afterwards. Meanwhile each vCPU has a request
/// whose completion waits for the result.
pub fn held_refusals_beside_io() -> Outcome {
    let busy = need!(Busy::new());
    busy.repeat(|round| {
        let (command, hypercall) = COMMANDS[round % COMMANDS.len()];
        if round % 2 == 0 {
            busy.set_ioeventfd(0);
        }
        busy.probe.refuse(hypercall, busy.guest.vm.vmid());
        let device = busy.device.clone();
        let vmid = busy.guest.vm.vmid();
        let held =
            HeldHypercall::start(&busy.probe, hypercall, vmid, move || device.plain(command));
        for (_, slot) in busy.guest.page.slots().take(2) {
            until("the next request waits", || {
                slot.state() != ACRN_IOREQ_STATE_FREE
            });
        }
        assert_eq!(held.release(), Err(Errno::EIO), "{command:#x}");
        busy.until_both_continue();
        if round % 2 == 0 {
            busy.set_ioeventfd(ACRN_IOEVENTFD_FLAG_DEASSIGN);
        }
    });
    Outcome::Passed
}
