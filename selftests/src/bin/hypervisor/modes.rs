// SPDX-License-Identifier: GPL-2.0

//! Tests of guests in modes of the CPU in which few systems stay for long.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    guest::{self, Guest},
    harness::Outcome,
    need,
    program::{self, RESULTS, read},
};

const CR0_TASK_SWITCHED: u64 = 1 << 3;
const EFER_LONG_MODE_ENABLE: u64 = 1 << 8;

/// A guest in real mode may have enabled long mode already, without PAE. QEMU then does not restore
/// CR0 of mini-ACRN at an exit, and the next NMI, which wakes the vCPU after its request, would end
/// mini-ACRN.
pub fn long_mode_enabled_without_pae() -> Outcome {
    let accesses = [read(Target::Port(0x510), Width::Four); 3];
    for task_switched in [0, CR0_TASK_SWITCHED] {
        let guest = Guest::new(need!(cpus::pick(1)));
        let mut registers = guest::real_mode();
        registers.vcpu_regs.cr0 |= task_switched;
        registers.vcpu_regs.ia32_efer = EFER_LONG_MODE_ENABLE;
        guest.load_real_mode(&program::real_mode(RESULTS, &accesses));
        guest.vm.set_vcpu_regs(&registers).expect("SET_VCPU_REGS");
        guest.vm.start().expect("START_VM");
        let requests = guest.serve(1, |_, _| 0x1234_5678);
        assert_eq!(requests.len(), accesses.len());
    }
    Outcome::Passed
}
