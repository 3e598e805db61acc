// SPDX-License-Identifier: GPL-2.0

//! Tests of the APIC ids of vCPUs, which are those of their physical CPUs, and of the lines of the
//! I/O APIC.

use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    hypercall::{INJECT_MSI, SET_IRQLINE},
    interrupt_guest::{InterruptGuest, Rest, VECTORS},
    mapping_fixture::MappingFixture,
    need,
    probe::Probe,
    program::{self, ENTRY, REAL_MODE_ENTRY, RESULTS},
    trace::Trace,
};
use iced_x86::{IcedError, code_asm::*};

use crate::parameters::GENERIC;

const LAPIC_ID: u64 = 0xfee0_0020;
const ICR_LOW: u64 = 0xfee0_0300;
const ICR_HIGH: u64 = 0xfee0_0310;
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600 | (REAL_MODE_ENTRY >> 12) as u32;

/// Returns the APIC ids of the physical CPUs in `cpus`.
fn ids(cpus: u64) -> Result<Vec<u8>, String> {
    let of_mask = (0..64).filter(|cpu| cpus & 1 << cpu != 0);
    of_mask.map(cpus::apic_id).collect()
}

/// Returns an MSI in the format of INJECT_MSI: address and data.
fn msi(id: u8, vector: u8) -> [u8; 16] {
    let address = 0xfee0_0000 | u64::from(id) << 12;
    let words = [address, vector.into()].map(u64::to_le_bytes);
    words.as_flattened().try_into().expect("convert two words")
}

/// Emits a store of RAX to result `index`.
fn store(code: &mut CodeAssembler, index: u64) -> Result<(), IcedError> {
    code.mov(rsi, RESULTS + 8 * index)?;
    code.mov(qword_ptr(rsi), rax)
}

/// vCPU 0 reads its APIC id in the local APIC, and in CPUID leaves 1 and 0xB.
pub fn id_of_vcpu() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let program = program::assemble(64, ENTRY, |code| {
        code.mov(rbx, LAPIC_ID)?;
        code.mov(eax, dword_ptr(rbx))?;
        code.shr(eax, 24)?;
        store(code, 0)?;
        code.mov(eax, 1u32)?;
        code.cpuid()?;
        code.shr(ebx, 24)?;
        code.mov(eax, ebx)?;
        store(code, 1)?;
        code.mov(eax, 0xbu32)?;
        code.xor(ecx, ecx)?;
        code.cpuid()?;
        code.mov(eax, edx)?;
        store(code, 2)?;
        program::done(code)
    });
    let guest = Guest::long_mode(cpus, &program);
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    let seen = [0, 8, 16].map(|offset| guest.memory.read::<u64>(RESULTS as usize + offset));
    assert_eq!(seen, [need!(ids(cpus))[0].into(); 3]);
    Outcome::Passed
}

/// INIT and start-up IPIs go to the vCPU with the APIC id in them, not to the vCPU with that
/// number.
pub fn ipi_by_id() -> Outcome {
    let cpus = need!(cpus::pick(2));
    let second = need!(ids(cpus))[1];
    let program = program::assemble(64, ENTRY, |code| {
        for (id, command) in [(1, INIT), (1, STARTUP), (second, INIT), (second, STARTUP)] {
            code.mov(rbx, ICR_HIGH)?;
            code.mov(dword_ptr(rbx), u32::from(id) << 24)?;
            code.mov(rbx, ICR_LOW)?;
            code.mov(dword_ptr(rbx), command)?;
        }
        program::done(code)
    });
    let guest = Guest::long_mode(cpus, &program);
    let real = program::real_mode(program::SECOND_RESULTS, &[]);
    guest.memory.write_bytes(REAL_MODE_ENTRY as usize, &real);
    guest.vm.start().expect("START_VM");
    guest.serve(2, |_, _| 0);
    Outcome::Passed
}

/// The hypervisor accepts MSIs to an APIC id that no vCPU has, and broadcasts, but delivers
/// neither.
pub fn msi_to_another_id() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let own = need!(ids(cpus))[0];
    let receiver = InterruptGuest::start(cpus, Rest::Halt);
    let vmid = receiver.vm().vmid();
    let inject = |id, vector| probe.call_with_parameter(INJECT_MSI, Some(vmid), &msi(id, vector));
    for id in [0, own + 1, own ^ 0x80, 0xff] {
        assert_ne!(id, own);
        assert_eq!(inject(id, VECTORS[0]), 0, "to {id}");
    }
    assert_eq!(inject(own, VECTORS[1]), 0);
    receiver.wait(VECTORS[1], 1);
    receiver.assert_count(VECTORS[0], 0);
    Outcome::Passed
}

/// GSIs 0 to 47 are lines. SET_IRQLINE fails for other GSIs.
pub fn lines() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    let set = |gsi| fixture.probe.call(SET_IRQLINE, fixture.vmid.into(), gsi);
    for gsi in [0, 23, 24, 47] {
        assert_eq!(set(gsi), 0, "GSI {gsi}");
    }
    for gsi in [48, 64, 0xffff_ffff] {
        assert_eq!(set(gsi), GENERIC, "GSI {gsi}");
    }
    assert_eq!(trace.calls(SET_IRQLINE).len(), 7);
    Outcome::Passed
}
