// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The two ways to reset a PC: the reset control register, and a command to the keyboard
//! controller, which has no other function here.

use super::Demand;

pub const KEYBOARD_DATA: u16 = 0x60;
pub const KEYBOARD_COMMAND: u16 = 0x64;
pub const RESET_CONTROL: u16 = 0xcf9;

/// The value that a guest writes to [`RESET_CONTROL`], as in the FADT.
pub const RESET_VALUE: u8 = RESET_CPU | RESET_SYSTEM;

const RESET_SYSTEM: u8 = 1 << 1;
const RESET_CPU: u8 = 1 << 2;

const COMMAND_PULSE_RESET: u8 = 0xfe;

/// Status 0: no data, and ready for a command. So the guest does not wait.
pub fn read(_port: u16) -> u8 {
    0
}

pub fn write(port: u16, value: u8) -> Option<Demand> {
    match port {
        KEYBOARD_COMMAND if value == COMMAND_PULSE_RESET => Some(Demand::Reset),
        RESET_CONTROL if value & RESET_CPU != 0 => Some(Demand::Reset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_values_reset() {
        for value in 0..=255 {
            assert_eq!(write(KEYBOARD_COMMAND, value).is_some(), value == 0xfe);
            assert_eq!(write(RESET_CONTROL, value).is_some(), value & 4 != 0);
            assert_eq!(write(KEYBOARD_DATA, value), None);
        }
        assert_eq!(write(RESET_CONTROL, RESET_VALUE), Some(Demand::Reset));
    }
}
