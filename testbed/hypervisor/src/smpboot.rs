// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Start-up of CPUs, and what each of them runs.

use crate::cpu::{self, Owner};
use crate::{lapic, log, phys, service, svm, time, vcpu};
use core::hint::spin_loop;
use mini_acrn_logic::npt::PAGE;

/// Page of low memory where CPUs start.
const TRAMPOLINE_PAGE: u8 = 8;

// SAFETY: symbols of `boot.s`.
unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Starts all CPUs of which the LAPIC ids are in `lapic_ids`, except the one that runs this.
pub fn start_others(lapic_ids: &[u8]) {
    let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
    // SAFETY: both symbols delimit the trampoline in `boot.s`.
    let code = unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) };
    phys::write_bytes(u64::from(TRAMPOLINE_PAGE) * PAGE, code).expect("low memory is RAM");
    for id in lapic_ids.iter().filter_map(|lapic_id| cpu::with_lapic_id((*lapic_id).into())) {
        lapic::send_init(cpu::lapic_id(id));
        time::delay_us(1000);
        lapic::send_sipi(cpu::lapic_id(id), TRAMPOLINE_PAGE);
        // Seconds, because on a busy machine the thread that runs this CPU may have to wait.
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

/// Where all CPUs but the first arrive.
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

/// Runs what is assigned to CPU `id` until that is the Service VM's.
fn idle(id: usize) {
    loop {
        match cpu::take_task(id) {
            0 if cpu::is_owned_by(id, Owner::Service) => return,
            0 => svm::sleep(),
            task => vcpu::run::run_task(task),
        }
    }
}
