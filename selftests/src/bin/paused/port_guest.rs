// SPDX-License-Identifier: GPL-2.0

//! A guest that waits for the completion of a port access, and shows whether it runs.

use std::ops::Deref;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    guest::Guest,
    program::{self, RESULTS, read},
};

/// A guest whose memory must not change while it is paused.
pub struct PortGuest {
    guest: Guest,
}

impl Deref for PortGuest {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

/// The contents of the word that the guest overwrites after its request is completed.
const UNWRITTEN: u64 = 0x5a5a_a5a5_5a5a_a5a5;

impl PortGuest {
    /// Returns a program that reads a port.
    pub fn program() -> Vec<u8> {
        program::long_mode(&[read(Target::Port(0x510), Width::Four)])
    }

    /// Starts a guest, and waits until it accesses its port.
    pub fn new(cpus: u64, program: Vec<u8>) -> Self {
        let guest = Guest::long_mode(cpus, &program);
        guest.memory.write::<u64>(RESULTS as usize, UNWRITTEN);
        guest.vm.start().expect("START_VM");
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
        Self { guest }
    }

    /// Pauses the guest.
    pub fn pause(&self) {
        self.guest.vm.pause().expect("PAUSE_VM");
    }

    /// Panics if the guest has run since it accessed its port.
    #[track_caller]
    pub fn assert_asleep(&self) {
        // The guest needs less time than this to run.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let written = self.guest.memory.read::<u64>(RESULTS as usize);
        assert_eq!(
            written, UNWRITTEN,
            "word that a paused guest must not write"
        );
    }

    /// Starts the guest again after RESET_VM.
    pub fn start_again(&self, program: Vec<u8>) {
        self.guest.load_long_mode(&program);
        self.guest.vm.start().expect("START_VM");
    }

    /// Closes the file, and leaves the VM to the driver.
    pub fn close(self) {
        self.guest.close();
    }
}
