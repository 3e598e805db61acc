// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Start-up of CPUs, and the loop in which each CPU waits for a task.

use crate::cpu::{self, Owner};
use crate::{lapic, log, phys, service, svm, time, vcpu};
use core::hint::spin_loop;
use mini_acrn_logic::npt::PAGE;

/// Page of low memory that holds the trampoline.
const TRAMPOLINE_PAGE: u8 = 8;

// SAFETY: These are symbols of `boot.s`.
unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Starts the CPUs with the LAPIC ids `lapic_ids`, except the current CPU.
pub fn start_others(lapic_ids: &[u8]) {
    let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
    // SAFETY: Both symbols delimit the trampoline in `boot.s`.
    let code = unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) };
    phys::write_bytes(u64::from(TRAMPOLINE_PAGE) * PAGE, code).expect("low memory is RAM");
    for id in lapic_ids.iter().filter_map(|lapic_id| cpu::with_lapic_id((*lapic_id).into())) {
        lapic::send_init(cpu::lapic_id(id));
        time::delay_us(1000);
        lapic::send_sipi(cpu::lapic_id(id), TRAMPOLINE_PAGE);
        // The limit is 10 seconds: on a busy machine, QEMU's thread for this CPU may have to wait.
        let end = time::now() + 10_000 * u64::from(time::tsc_khz());
        while !cpu::is_online(id) {
            if time::now() > end {
                log!("CPU {id} does not start");
                break;
            }
            spin_loop();
        }
    }
}

/// The entry point of all CPUs but the first.
#[unsafe(no_mangle)]
extern "C" fn ap_main(lapic_id: u32) -> ! {
    let n = cpu::with_lapic_id(lapic_id as usize).expect("only these are started");
    svm::enable(n);
    lapic::quiesce();
    cpu::set_owner(n, if n == cpu::BOOT { Owner::Service } else { Owner::Free });
    cpu::set_online(n);
    if n == cpu::BOOT {
        service::run::boot_cpu();
    }
    loop {
        idle(n);
        service::run::secondary_cpu(n);
        cpu::set_owner(n, Owner::Free);
    }
}

/// Runs the tasks of CPU `id` until the CPU belongs to the Service VM.
fn idle(id: usize) {
    loop {
        match cpu::take_task(id) {
            0 if cpu::is_owned_by(id, Owner::Service) => return,
            0 => svm::sleep(),
            task => vcpu::run::run_task(task),
        }
    }
}
