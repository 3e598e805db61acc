// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Panics: mini-ACRN logs the reason and powers the machine off.

use crate::{console, cpu, lapic, phys};
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use x86_64::instructions::port::Port;

/// Port of the PM1a control register, from the FADT. The initial value is that of QEMU's PIIX4.
pub static PM1A_CONTROL: AtomicU16 = AtomicU16::new(0x604);

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    static FIRST: AtomicBool = AtomicBool::new(true);
    if FIRST.swap(false, Ordering::Relaxed) {
        match info.location() {
            Some(at) => {
                console::panic_line(format_args!("LAPIC {} {} ({at})", lapic::id(), info.message()))
            }
            None => console::panic_line(format_args!("LAPIC {} {}", lapic::id(), info.message())),
        }
    }
    power_off()
}

/// Powers the machine off by ACPI: SLP_EN with sleep type 0, which is S5 on PIIX4.
pub fn power_off() -> ! {
    // SAFETY: This is the PM1a control register. The write ends QEMU, so that no code runs after
    // it.
    unsafe { Port::<u16>::new(PM1A_CONTROL.load(Ordering::Relaxed)).write(1 << 13) };
    cpu::halt()
}

#[repr(C)]
struct ExceptionFrame {
    vector: u64,
    code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
}

/// Panics because of an exception in mini-ACRN itself. `interrupt.s` calls this.
#[unsafe(no_mangle)]
extern "C" fn exception_panic(frame: &ExceptionFrame) -> ! {
    let cr2 = x86_64::registers::control::Cr2::read_raw();
    let ExceptionFrame { vector, code, rip, cs, rflags, rsp } = *frame;
    // Below the stack pointer are the frames from which the CPU has returned.
    let stack = Words { from: rsp.wrapping_sub(128) & !7, count: 32 };
    panic!(
        "exception {vector}, code {code:#x} at {cs:#x}:{rip:#x}, rflags {rflags:#x}, \
         rsp {rsp:#x}, cr2 {cr2:#x}, stack from {:#x}:{stack}",
        stack.from
    );
}

/// Words of mini-ACRN's image, where the stacks are.
struct Words {
    from: u64,
    count: u64,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = phys::image();
        let words = (0..self.count).map(|index| self.from + index * 8);
        for address in words.filter(|at| *at >= image.start && at + 8 <= image.end) {
            // SAFETY: The word is in the image, which is mapped one to one, and is aligned.
            let word = unsafe { (address as *const u64).read_volatile() };
            write!(f, " {word:x}")?;
        }
        Ok(())
    }
}

/// The prebuilt `core` refers to this symbol. With `panic=abort` it is never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
