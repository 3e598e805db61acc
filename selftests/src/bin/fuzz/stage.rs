// SPDX-License-Identifier: GPL-2.0

//! State that the threads of a test share, and the start and end of a test.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::Eventfd,
    guest::create_raw,
    harness::{self, Outcome},
    need,
    probe::Probe,
};
use acrn_uapi::ioctl::ACRN_IOCTL_DESTROY_IOREQ_CLIENT;
use fastrand::Rng;
use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::{Pid, getpid, gettid},
};

use crate::{
    actor::{Actor, Weights},
    arena::Arena,
};

/// Number of files of the device.
pub const FILES: usize = 3;
/// Number of eventfds.
pub const EVENTS: usize = 8;
/// Number of threads that perform all operations, and of threads that wait for requests.
const ACTORS: u64 = 4;
const WAITERS: u64 = 2;
/// Interval at which waiting threads get a signal.
const NUDGES: Duration = Duration::from_millis(20);

/// Shared state. Descriptors stay open and are redirected to other files, so a descriptor never
/// refers to an unrelated file.
pub struct Stage {
    pub files: [Device; FILES],
    pub events: [Eventfd; EVENTS],
    pub nothing: File,
    /// CPUs of the User VMs, one for each.
    pub cpus: Vec<u64>,
    /// The id of the last VM of each file.
    pub vmids: [AtomicU32; FILES],
    /// The first one holds request pages and guests.
    pub arenas: Vec<Arena>,
    pub program: Vec<u8>,
    waiters: Mutex<Vec<Pid>>,
    is_over: AtomicBool,
    done: AtomicU64,
    went_well: AtomicU64,
    /// Number of VMs that were created.
    pub made: AtomicU64,
}

impl Stage {
    fn new() -> Result<Self, String> {
        let cpus = cpus::pick_many(&[1; FILES])?;
        let mut arenas = vec![Arena::private(), Arena::shared()];
        arenas.extend(Arena::firmware());
        let open = |_| Device::open();
        let files: Vec<_> = (0..FILES).map(open).collect::<Result<_, _>>()?;
        let Ok(files) = files.try_into() else {
            unreachable!("the number of files that were opened")
        };
        Ok(Self {
            files,
            events: [(); EVENTS].map(|()| Eventfd::new()),
            nothing: File::open("/dev/null").map_err(|error| error.to_string())?,
            cpus,
            vmids: Default::default(),
            arenas,
            program: crate::guest::program(),
            waiters: Mutex::default(),
            is_over: AtomicBool::new(false),
            done: AtomicU64::new(0),
            went_well: AtomicU64::new(0),
            made: AtomicU64::new(0),
        })
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Registers the calling thread as one that waits for requests.
    pub fn add_waiter(&self) {
        self.waiters.lock().expect("no panic").push(gettid());
    }

    /// Interrupts the waiting threads with a signal, as acrn-dm does to get its thread's attention.
    fn nudge(&self) {
        for waiter in &*self.waiters.lock().expect("no panic") {
            // SAFETY: The signal has a handler. The thread may have ended.
            unsafe {
                libc::syscall(
                    libc::SYS_tgkill,
                    getpid().as_raw(),
                    waiter.as_raw(),
                    libc::SIGUSR1,
                )
            };
        }
    }

    pub fn count(&self, went_well: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.went_well
            .fetch_add(went_well.into(), Ordering::Relaxed);
    }

    /// Redirects the descriptor `old` to the file of `new`.
    pub fn replace(old: &impl AsRawFd, new: &impl AsRawFd) {
        replace(old.as_raw_fd(), new.as_raw_fd());
    }
}

fn replace(old: RawFd, new: RawFd) {
    // SAFETY: Both descriptors are open. Users of `old` expect any file.
    unsafe { libc::dup3(new, old, libc::O_CLOEXEC) };
}

/// The end of a thread: after a number of operations, or at a moment.
#[derive(Clone, Copy)]
pub enum Length {
    Operations(u64),
    Until(Instant),
}

/// Returns the seed of a test, which depends on its name.
fn seed_of(name: &str) -> u64 {
    let mix = |seed: u64, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(harness::seed(), mix)
}

extern "C" fn ignore(_: i32) {}

/// Runs a test: `operations` operations for each thread, or as long as the run's options say.
pub fn run(name: &str, weights: Weights, operations: u64) -> Outcome {
    let seed = seed_of(name);
    let length = match harness::seconds() {
        Some(seconds) => Length::Until(Instant::now() + Duration::from_secs(seconds)),
        None => Length::Operations(operations),
    };
    let probe = Probe::open().ok();
    let stage = need!(Stage::new());
    let handler = SigAction::new(
        SigHandler::Handler(ignore),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: The handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &handler) }.expect("sigaction");
    thread::scope(|scope| {
        let threads: Vec<_> = (0..ACTORS + WAITERS)
            .map(|number| {
                let stage = &stage;
                let chance = Rng::with_seed(seed.wrapping_add(number));
                scope.spawn(move || {
                    let mut actor = Actor::new(stage, chance);
                    match number < ACTORS {
                        true => actor.act(&weights, length),
                        false => actor.wait(),
                    }
                })
            })
            .collect();
        for actor in &threads[..ACTORS as usize] {
            while !actor.is_finished() {
                thread::sleep(NUDGES);
                stage.nudge();
            }
        }
        stage.is_over.store(true, Ordering::Relaxed);
        if let Some(probe) = &probe {
            probe.release();
            probe.clear_faults();
        }
        // A waiting thread goes on until there is no client. On a file that has no descriptor any
        // more, it goes on until a signal.
        while !threads.iter().all(|thread| thread.is_finished()) {
            for file in &stage.files {
                let _ = file.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
            }
            stage.nudge();
            thread::sleep(Duration::from_millis(1));
        }
    });
    let made = stage.made.load(Ordering::Relaxed);
    println!(
        "run's seed {}: {} operations, of which {} went well, and {made} VMs",
        harness::seed(),
        stage.done.load(Ordering::Relaxed),
        stage.went_well.load(Ordering::Relaxed),
    );
    assert!(made > 0, "no VM was created");
    for file in &stage.files {
        Stage::replace(&file.as_fd().as_raw_fd(), &stage.nothing);
    }
    need!(reuse_all_ids());
    Outcome::Passed
}

/// Destroys the VMs that the hypervisor refused to destroy while faults were scripted: the driver
/// notices when the hypervisor assigns all of their ids again.
fn reuse_all_ids() -> Result<(), String> {
    let masks = cpus::pick_many(&[1; 3])?;
    let vms: Vec<_> = masks.into_iter().map(create_raw).collect();
    drop(vms);
    Ok(())
}
