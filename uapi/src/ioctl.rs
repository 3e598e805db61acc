// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

//! The numbers of the commands. bindgen cannot evaluate the macros by which the C header defines
//! them.

use core::ffi::c_ulong;
use core::mem::size_of;

use crate::bindings::*;

/// No argument, or one by value.
const NONE: u32 = 0;
/// The driver reads the argument.
const WRITE: u32 = 1;
/// The driver writes the argument.
const READ: u32 = 2;

/// Returns a request number: direction in bits 31:30, size of the argument in bits 29:16, type in
/// bits 15:8, number in bits 7:0.
const fn request(direction: u32, number: u8, size: usize) -> u32 {
    assert!(size < 1 << 14);
    direction << 30 | (size as u32) << 16 | ACRN_IOCTL_TYPE << 8 | number as u32
}

macro_rules! command {
    (io, $number:literal) => {
        request(NONE, $number, 0)
    };
    (iow, $number:literal, $argument:ty) => {
        request(WRITE, $number, size_of::<$argument>())
    };
    (iowr, $number:literal, $argument:ty) => {
        request(READ | WRITE, $number, size_of::<$argument>())
    };
}

macro_rules! define_commands {
    ($(
        $(#[$doc:meta])*
        $name:ident = $direction:ident($number:literal $(, $argument:ty)?);
    )*) => {
        $(
            $(#[$doc])*
            $(#[doc = concat!("\n\nThe argument is of the type [`", stringify!($argument), "`].")])?
            pub const $name: u32 = command!($direction, $number $(, $argument)?);
        )*

        /// All commands: number and name in the C header.
        pub const ALL: &[(u32, &str)] = &[$(($name, stringify!($name))),*];
    };
}

include!("commands.rs");
for_each_command!(define_commands);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_abi() {
        let expected = [
            0xc030_a210,
            0x0000_a211,
            0x0000_a212,
            0x0000_a213,
            0x0000_a215,
            0x4128_a216,
            0x4010_a223,
            0x4008_a224,
            0x4008_a225,
            0x4008_a231,
            0x0000_a232,
            0x0000_a233,
            0x0000_a234,
            0x0000_a235,
            0x4020_a241,
            0x4020_a242,
            0x4014_a253,
            0x4014_a254,
            0x4024_a255,
            0x4024_a256,
            0x4068_a257,
            0x4068_a258,
            0x40c0_a259,
            0x40c0_a25a,
            0xc008_a260,
            0x4020_a270,
            0x4018_a271,
        ];
        assert_eq!(ALL.len(), 27);
        for ((number, name), expected) in ALL.iter().zip(expected) {
            assert_eq!(*number, expected, "{name}");
        }
    }
}
