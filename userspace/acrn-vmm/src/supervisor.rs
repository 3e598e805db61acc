// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The main thread while the guest runs: forwards the console, and waits for the end of the run.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::error::{Context, Result};

/// Returns two descriptors of an event counter: one to signal, one to wait for.
pub fn event_pair() -> Result<(EventFd, EventFd)> {
    let doing = || "making an eventfd";
    let event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).context(doing)?;
    let twin = event.try_clone().context(doing)?;
    Ok((event, twin))
}

/// The reason for the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// The user typed Ctrl-A x.
    User,
    /// The thread that serves I/O requests has ended.
    Server,
}

/// The signals that end the VM, as a file to wait for.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals in this thread, and in threads that it creates later.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the call writes to `set`.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            // SAFETY: the set was initialised above.
            unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
        }
        // SAFETY: as above.
        let set: libc::sigset_t = unsafe { set.assume_init() };
        // SAFETY: the call reads the set, and does not write the old one.
        let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if errno != 0 {
            return Err(io::Error::from_raw_os_error(errno));
        }
        // SAFETY: the call reads the set.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor without another owner.
        Ok(Signals(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// Turns an event on a file into a [`Stop`].
struct Watch {
    fd: i32,
    reason: Stop,
    stop: Rc<Cell<Option<Stop>>>,
}

impl MutEventSubscriber for Watch {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        self.stop.set(Some(self.reason));
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new_raw(self.fd, EventSet::IN)) {
            eprintln!("acrn-vmm: can't wait for {:?}: {error}", self.reason);
            self.stop.set(Some(self.reason));
        }
    }
}

/// Waits for events.
pub struct Supervisor {
    manager: EventManager<Box<dyn MutEventSubscriber>>,
    stop: Rc<Cell<Option<Stop>>>,
    served: EventFd,
    _signals: Signals,
}

impl Supervisor {
    /// The thread that serves I/O requests signals `served` when it ends.
    pub fn new(signals: Signals, served: EventFd) -> Result<Self> {
        let stop = Rc::new(Cell::new(None));
        let mut manager: EventManager<Box<dyn MutEventSubscriber>> =
            EventManager::new().context(|| "making the event loop")?;
        for (fd, reason) in [
            (signals.0.as_raw_fd(), Stop::Signal),
            (served.as_raw_fd(), Stop::Server),
        ] {
            manager.add_subscriber(Box::new(Watch {
                fd,
                reason,
                stop: stop.clone(),
            }));
        }
        Ok(Supervisor {
            manager,
            stop,
            served,
            _signals: signals,
        })
    }

    /// Adds a subscriber that may stop the run.
    pub fn add<S: MutEventSubscriber + 'static>(
        &mut self,
        subscriber: impl FnOnce(Rc<Cell<Option<Stop>>>) -> io::Result<S>,
    ) -> io::Result<()> {
        let subscriber = subscriber(self.stop.clone())?;
        self.manager.add_subscriber(Box::new(subscriber));
        Ok(())
    }

    /// Handles events until one ends the run.
    pub fn wait(&mut self) -> Result<Stop> {
        loop {
            if let Some(stop) = self.stop.take() {
                if stop == Stop::Server {
                    // Reset for the next run.
                    let _ = self.served.read();
                }
                return Ok(stop);
            }
            self.manager.run().context(|| "waiting for events")?;
        }
    }
}
