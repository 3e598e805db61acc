// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! ACPI power management: the PM1a event and control blocks.
//!
//! There are no events. The control block powers the machine off. It is at the ports that ACRN
//! expects: ACRN writes to them when a guest shuts down.

use super::Demand;

/// The status and enable registers, 2 bytes each.
pub const EVENT_BLOCK: u16 = 0x400;
/// 2 bytes.
pub const CONTROL_BLOCK: u16 = EVENT_BLOCK + 4;
pub const FIRST: u16 = EVENT_BLOCK;
pub const LAST: u16 = CONTROL_BLOCK + 1;

/// The value of the sleep type field for power-off, as in the DSDT.
pub const SLEEP_TYPE_S5: u8 = 5;

const ENABLE: u16 = EVENT_BLOCK + 2;

/// Control register, low byte: the machine is in ACPI mode.
const SCI_ENABLED: u8 = 1;
/// High byte: sleep type in 4:2, sleep enable.
const SLEEP_TYPE_SHIFT: u32 = 2;
const SLEEP_ENABLE: u8 = 1 << 5;

/// The registers.
#[derive(Debug, Default)]
pub struct PowerManagement {
    enable: [u8; 2],
    control: [u8; 2],
}

impl PowerManagement {
    pub fn read(&self, port: u16) -> u8 {
        match port {
            ENABLE => self.enable[0],
            port if port == ENABLE + 1 => self.enable[1],
            CONTROL_BLOCK => self.control[0] | SCI_ENABLED,
            LAST => self.control[1],
            // No status bit is ever set.
            _ => 0,
        }
    }

    pub fn write(&mut self, port: u16, value: u8) -> Option<Demand> {
        match port {
            ENABLE => self.enable[0] = value,
            port if port == ENABLE + 1 => self.enable[1] = value,
            CONTROL_BLOCK => self.control[0] = value,
            LAST => {
                // Sleep enable reads as zero.
                self.control[1] = value & !SLEEP_ENABLE;
                let sleep_type = value >> SLEEP_TYPE_SHIFT & 7;
                if value & SLEEP_ENABLE != 0 && sleep_type == SLEEP_TYPE_S5 {
                    return Some(Demand::PowerOff);
                }
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_s5_powers_off() {
        let mut pm = PowerManagement::default();
        for sleep_type in 0..8 {
            assert_eq!(pm.write(LAST, sleep_type << 2), None);
            let demand = pm.write(LAST, sleep_type << 2 | SLEEP_ENABLE);
            assert_eq!(
                demand,
                (sleep_type == SLEEP_TYPE_S5).then_some(Demand::PowerOff)
            );
            assert_eq!(pm.read(LAST), sleep_type << 2);
        }
    }

    #[test]
    fn acpi_mode_is_always_on() {
        let mut pm = PowerManagement::default();
        assert_eq!(pm.read(CONTROL_BLOCK), 1);
        assert_eq!(pm.write(CONTROL_BLOCK, 0), None);
        assert_eq!(pm.read(CONTROL_BLOCK), 1);
    }

    #[test]
    fn enable_reads_back_and_status_stays_clear() {
        let mut pm = PowerManagement::default();
        for port in FIRST..=FIRST + 3 {
            pm.write(port, 0xa5);
        }
        assert_eq!([0, 1, 2, 3].map(|n| pm.read(FIRST + n)), [0, 0, 0xa5, 0xa5]);
    }
}
