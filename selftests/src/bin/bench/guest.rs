// SPDX-License-Identifier: GPL-2.0

//! Guests that measure their own requests.

use acrn_ioctls::Target;
use acrn_selftests::{
    guest::{Guest, MEMORY},
    probe::Probe,
    program::{self, DONE_PORT, ENTRY},
};
use iced_x86::{IcedError, code_asm::*};

use crate::{
    clock::{Samples, WARM_UP},
    hypervisor::Hypervisor,
};

/// The port that the guest writes to.
pub const PORT: u16 = 0x510;
/// Iterations of a loop of two instructions between two requests. They take half a millisecond to
/// one and a half, so that requests are isolated and no limit on their rate applies. The number
/// varies, because the Service VM has periodic work of its own.
const SHORTEST_PACE: u64 = 250_000;
const LONGER_BY_BITS: u32 = 19;
/// Guest address of the samples.
const SAMPLES: u64 = 1 << 20;

/// The intervals between a guest's requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The guest spins between two requests.
    Alone,
    /// The guest makes one request after the other.
    BackToBack,
}

/// Returns a program that reports that it runs, makes `requests` requests, and reports that it is
/// done.
pub fn program(requests: u64, pace: Pace) -> Vec<u8> {
    assert!(8 * requests <= MEMORY as u64 - SAMPLES);
    program::assemble(64, ENTRY, |code| {
        let (mut next, mut spin) = (code.create_label(), code.create_label());
        code.mov(dx, u32::from(DONE_PORT))?;
        code.out(dx, al)?;
        code.mov(rdi, SAMPLES)?;
        code.mov(rbx, requests)?;
        code.mov(ebp, 1u32)?;
        code.set_label(&mut next)?;
        time(code)?;
        code.mov(rsi, rax)?;
        code.mov(dx, u32::from(PORT))?;
        code.out(dx, eax)?;
        time(code)?;
        code.sub(rax, rsi)?;
        code.mov(qword_ptr(rdi), rax)?;
        code.add(rdi, 8)?;
        if pace == Pace::Alone {
            code.imul_3(ebp, ebp, 1_664_525)?;
            code.add(ebp, 1_013_904_223)?;
            code.mov(ecx, ebp)?;
            code.shr(ecx, 32 - LONGER_BY_BITS)?;
            code.add(rcx, SHORTEST_PACE as i32)?;
            code.set_label(&mut spin)?;
            code.dec(rcx)?;
            code.jnz(spin)?;
        }
        code.dec(rbx)?;
        code.jnz(next)?;
        program::done(code)
    })
}

/// Loads the TSC into RAX.
fn time(code: &mut CodeAssembler) -> Result<(), IcedError> {
    code.rdtsc()?;
    code.shl(rdx, 32)?;
    code.or(rax, rdx)
}

/// The results of a guest's requests.
pub struct Trips {
    /// Duration of each request by the guest's TSC.
    pub samples: Samples,
    /// Time that mini-ACRN spent for each request.
    pub hypervisor: u64,
}

/// Runs a guest that makes `rounds` requests, and serves those that are left to the device model.
pub fn run(guest: &Guest, probe: &Probe, rounds: u64, pace: Pace) -> Trips {
    let requests = rounds + WARM_UP;
    guest.load_long_mode(&program(requests, pace));
    guest.vm.start().expect("START_VM");
    serve(guest);
    let hypervisor = Hypervisor::watch(probe);
    serve(guest);
    let hypervisor = hypervisor.spent(requests);
    let samples =
        (WARM_UP..requests).map(|sample| guest.memory.read((SAMPLES + 8 * sample) as usize));
    Trips {
        samples: Samples::of(samples.collect()),
        hypervisor,
    }
}

/// Serves requests as a device model does, until the guest writes to [`DONE_PORT`].
pub fn serve(guest: &Guest) {
    loop {
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
        for (vcpu, slot) in guest.page.slots().filter(|(_, slot)| slot.is_ours()) {
            let request = slot.request().expect("a request that makes sense");
            guest
                .vm
                .notify_request_finish(vcpu)
                .expect("NOTIFY_REQUEST_FINISH");
            if request.target == Target::Port(DONE_PORT) {
                return;
            }
        }
    }
}
