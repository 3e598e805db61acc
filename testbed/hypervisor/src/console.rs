// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The log of mini-ACRN: QEMU's debug console (port 0xE9), for a panic also COM1.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Mutex;
use x86_64::instructions::port::Port;

static LOCK: Mutex<()> = Mutex::new(());
/// Set by the CPU that panics, so that the lock does not delay it.
static PANICKING: AtomicBool = AtomicBool::new(false);

struct Console {
    serial: bool,
}

impl Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            // SAFETY: Port 0xE9 is QEMU's debug console. A write has no other effect.
            unsafe { Port::new(0xE9).write(b) };
            if self.serial {
                // SAFETY: This is the data port of COM1. Another user of the port is about to be
                // stopped.
                unsafe { Port::new(0x3F8).write(b) };
            }
        }
        Ok(())
    }
}

/// Logs a line.
pub fn line(args: fmt::Arguments) {
    let _guard = (!PANICKING.load(Ordering::Relaxed)).then(|| LOCK.lock());
    let _ = Console { serial: false }.write_fmt(format_args!("mini-ACRN: {args}\n"));
}

/// Logs the line of a panic, on both consoles.
pub fn panic_line(args: fmt::Arguments) {
    PANICKING.store(true, Ordering::Relaxed);
    let _ = Console { serial: true }.write_fmt(format_args!("\r\nmini-ACRN: PANIC {args}\r\n"));
}

/// Logs a line, with the arguments of `format!`.
#[macro_export]
macro_rules! log {
    ($($arg:tt)*) => { $crate::console::line(format_args!($($arg)*)) };
}
