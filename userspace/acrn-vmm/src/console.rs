// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Forwards standard input to the serial port or to the virtio console.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::EventFd;

use crate::supervisor::Stop;

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// A device that receives standard input.
pub trait Input: Send {
    /// Takes as much input as it has room for, and returns the number of bytes.
    fn feed(&mut self, input: &[u8]) -> usize;
}

/// Separates the user's input into commands and input for the guest.
#[derive(Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// Appends the input for the guest. Returns true if the user ends the VM.
    ///
    /// Ctrl-A x ends the VM. Ctrl-A Ctrl-A is a Ctrl-A for the guest. Ctrl-A with any other byte
    /// goes to the guest.
    fn sort(&mut self, typed: &[u8], guest: &mut VecDeque<u8>) -> bool {
        for &key in typed {
            match (self.escaped, key) {
                (true, b'x') => return true,
                (false, ESCAPE) => {
                    self.escaped = true;
                    continue;
                }
                (true, ESCAPE) => guest.push_back(ESCAPE),
                (true, key) => guest.extend([ESCAPE, key]),
                (false, key) => guest.push_back(key),
            }
            self.escaped = false;
        }
        false
    }
}

/// Reads standard input while the device has room for it.
pub struct Console {
    /// Without the buffer of the standard library, as no event reports buffered input.
    stdin: File,
    input: Arc<Mutex<dyn Input>>,
    /// Signalled when the guest has read all input of the device.
    drained: EventFd,
    /// Set if standard input is a terminal.
    keys: Option<Keys>,
    /// Input that the device has not taken yet.
    waiting: VecDeque<u8>,
    listening: bool,
    stop: Rc<Cell<Option<Stop>>>,
}

impl Console {
    pub fn new(
        input: Arc<Mutex<dyn Input>>,
        drained: EventFd,
        is_terminal: bool,
        stop: Rc<Cell<Option<Stop>>>,
    ) -> io::Result<Self> {
        let keys = is_terminal.then(Keys::default);
        Ok(Console {
            stdin: io::stdin().as_fd().try_clone_to_owned()?.into(),
            input,
            drained,
            keys,
            waiting: VecDeque::new(),
            listening: false,
            stop,
        })
    }

    fn stdin_events(&self) -> Events {
        Events::new(&self.stdin, EventSet::IN)
    }

    fn listen(&mut self, ops: &mut EventOps) {
        // Fails for a regular file or /dev/null. The guest then has no input.
        self.listening = self.listening || ops.add(self.stdin_events()).is_ok();
    }

    fn ignore(&mut self, ops: &mut EventOps) {
        if self.listening && ops.remove(self.stdin_events()).is_ok() {
            self.listening = false;
        }
    }

    fn read(&mut self, ops: &mut EventOps) {
        let mut typed = [0; 64];
        match self.stdin.read(&mut typed) {
            Ok(0) | Err(_) => self.ignore(ops),
            Ok(count) => {
                let typed = &typed[..count];
                match &mut self.keys {
                    Some(keys) => {
                        if keys.sort(typed, &mut self.waiting) {
                            self.stop.set(Some(Stop::User));
                        }
                    }
                    None => self.waiting.extend(typed),
                }
            }
        }
    }

    /// Passes input to the device. Returns true if the device took all of it.
    fn feed(&mut self) -> bool {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = input.feed(self.waiting.make_contiguous());
        self.waiting.drain(..taken);
        self.waiting.is_empty()
    }
}

impl MutEventSubscriber for Console {
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        if events.fd() == self.stdin.as_raw_fd() {
            self.read(ops);
            if !self.feed() {
                self.ignore(ops);
            }
        } else {
            // This event only wakes the thread.
            let _ = self.drained.read();
            if !self.waiting.is_empty() && self.feed() {
                self.listen(ops);
            }
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.drained, EventSet::IN)) {
            eprintln!("acrn-vmm: no console input: {error}");
            return;
        }
        self.listen(ops);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(keys: &mut Keys, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut guest = VecDeque::new();
        let end = keys.sort(typed, &mut guest);
        (guest.into(), end)
    }

    #[test]
    fn escape_sequences() {
        let keys = &mut Keys::default();
        assert_eq!(sort(keys, b"ab"), (b"ab".to_vec(), false));
        assert_eq!(sort(keys, b"\x01\x01"), (b"\x01".to_vec(), false));
        assert_eq!(sort(keys, b"\x01y"), (b"\x01y".to_vec(), false));
        assert_eq!(sort(keys, b"c\x01"), (b"c".to_vec(), false));
        assert_eq!(sort(keys, b"x"), (vec![], true));
    }
}
