// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The thread of a virtio device, which waits for doorbells and serves queues.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::Device;
use super::function::Function;
use crate::error::{Context, Error, Result};

/// The data of the event that ends the thread. Other values are numbers of queues.
const STOP: u64 = u64::MAX;
/// The time limit for a request that is being served.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The thread.
pub struct Worker {
    name: String,
    thread: JoinHandle<io::Result<()>>,
    stop: EventFd,
}

impl Worker {
    pub fn start<D: Device>(function: Arc<Mutex<Function<D>>>) -> Result<Self> {
        let locked = function.lock().unwrap_or_else(PoisonError::into_inner);
        let name = locked.name().to_owned();
        let doorbells = locked.doorbells();
        drop(locked);
        let doing = || format!("starting the thread of {name}");
        let stop = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).context(doing)?;
        let epoll = Epoll::new().context(doing)?;
        let queues = doorbells.into_iter().zip(0..);
        for (fd, data) in queues.chain([(stop.as_raw_fd(), STOP)]) {
            let event = EpollEvent::new(EventSet::IN, data);
            epoll.ctl(ControlOperation::Add, fd, event).context(doing)?;
        }
        let thread = thread::Builder::new()
            .name(name.clone())
            .spawn(move || run(&epoll, &function))
            .context(doing)?;
        Ok(Worker { name, thread, stop })
    }

    /// Ends the thread after the request that it serves.
    pub fn stop(self) -> Result<()> {
        let doing = || format!("stopping the thread of {}", self.name);
        self.stop.write(1).context(doing)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.thread.is_finished() {
            if Instant::now() > deadline {
                // The thread may be blocked in a write to a pipe without a reader. It ends with the
                // process.
                return Err(Error::new(format!("{}: it does not", doing())));
            }
            thread::sleep(Duration::from_millis(1));
        }
        match self.thread.join() {
            Ok(result) => result.context(doing),
            Err(_) => Err(Error::new(format!("{}: it panicked", doing()))),
        }
    }
}

fn run<D: Device>(epoll: &Epoll, function: &Mutex<Function<D>>) -> io::Result<()> {
    let mut events = [EpollEvent::default(); 8];
    loop {
        let count = match epoll.wait(-1, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for event in &events[..count] {
            if event.data() == STOP {
                return Ok(());
            }
            let mut function = function.lock().unwrap_or_else(PoisonError::into_inner);
            function.answer(event.data() as usize);
        }
    }
}
