// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Raw mode of the user's terminal.

use std::io;
use std::mem::MaybeUninit;

/// Standard input in raw mode, until it is dropped. The output mode stays, so that lines start at
/// the left.
pub struct RawMode {
    before: libc::termios,
}

impl RawMode {
    /// Returns `None` if standard input is not a terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        // SAFETY: the call takes no pointer.
        if unsafe { libc::isatty(libc::STDIN_FILENO) } != 1 {
            return Ok(None);
        }
        let mut before = MaybeUninit::uninit();
        // SAFETY: the call writes a `termios`.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, before.as_mut_ptr()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has written the `termios`.
        let before: libc::termios = unsafe { before.assume_init() };
        let mut raw = before;
        raw.c_iflag &=
            !(libc::ICRNL | libc::INLCR | libc::IGNCR | libc::IXON | libc::ISTRIP | libc::BRKINT);
        raw.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN);
        set(&raw)?;
        Ok(Some(RawMode { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(error) = set(&self.before) {
            eprintln!("acrn-vmm: restoring the terminal: {error}");
        }
    }
}

fn set(mode: &libc::termios) -> io::Result<()> {
    // SAFETY: the call reads a `termios`.
    if unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, mode) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
