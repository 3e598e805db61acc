// SPDX-License-Identifier: GPL-2.0

//! Sequences in which the VM is kept and starts again: system reset, and suspend to RAM.

use std::{sync::mpsc, time::Duration};

use acrn_selftests::{
    cpus,
    guest_memory::{GuestMemory, PAGE},
    harness::{Outcome, patience},
    need,
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};

use crate::{
    guest::{End, activity},
    model::{Interrupters, Model, Next, Server, memory, set},
    watch::{ROUNDS, assert_silent_while_paused, probe},
};

/// Guest address of the memory of ivshmem, or of virtio-gpu.
const SHARED: u64 = 0xc000_0000;
/// Guest address of the ROM of a passed-through device.
const ROM: u64 = 0xc800_0000;
const LEN: usize = 16 * PAGE;

/// How long a guest may take until it requests its end. It does not measure speed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Destroys the VM after the last round.
fn power_off(model: &Model, server: Server, interrupters: Interrupters) {
    model.pause();
    model.destroy_client(server);
    model.destroy();
    interrupters.stop();
}

/// Repeats a sequence that the serving thread executes when the guest requests it. After the last
/// round the VM is destroyed while the guest waits for the completion of a request.
fn again(end: End, prepare: impl Fn(&Model, u64) + Send + 'static) -> Outcome {
    let probe = probe();
    let cpus = need!(cpus::pick(1));
    let model = need!(Model::create(cpus, memory(0), end, None, |_| {}));
    let trace = probe.as_ref().map(Trace::start);
    let interrupters = model.interrupt();
    let (sender, asked) = mpsc::channel();
    let mut round = 0;
    let server = model.serve(move |model, vcpu| {
        model.assert_served();
        if round == ROUNDS {
            sender.send(round).expect("the first thread");
            return Next::Leave;
        }
        model.reset(|model| {
            // CLEAR_VM_IOREQ has completed the guest's request, in memory only.
            let slot = model.page.slot(vcpu).expect("a slot");
            assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
            let before = activity(&model.memory);
            prepare(model, round);
            assert_eq!(activity(&model.memory), before, "the paused guest ran");
        });
        sender.send(round).expect("the first thread");
        round += 1;
        Next::Leave
    });
    for expected in 0..=ROUNDS {
        let round = patience(PATIENCE).receive(&asked);
        assert_eq!(round, Ok(expected), "rounds that the guest asked for");
    }
    power_off(&model, server, interrupters);
    if let Some(trace) = &trace {
        assert_silent_while_paused(trace, model.vmid, 1 + ROUNDS as usize);
    }
    Outcome::Passed
}

/// System reset: PAUSE_VM, CLEAR_VM_IOREQ, PM_GET_CPU_STATE, RESET_VM, SET_VCPU_REGS, START_VM.
pub fn system_reset() -> Outcome {
    again(End::SystemReset, |model, _| model.ask_for_power_states())
}

/// System reset with device memory that is set again over itself.
pub fn system_reset_shared_memory() -> Outcome {
    let shared = GuestMemory::shared(LEN);
    again(End::SystemReset, move |model, _| {
        set(&model.device, ACRN_IOCTL_SET_MEMSEG, SHARED, &shared);
        model.ask_for_power_states();
    })
}

/// System reset with the ROM of a passed-through device, which is set as RAM and unset as device
/// memory.
pub fn system_reset_rom() -> Outcome {
    let rom = GuestMemory::anonymous(LEN);
    again(End::SystemReset, move |model, _| {
        set(&model.device, ACRN_IOCTL_SET_MEMSEG, ROM, &rom);
        let mut segment = acrn_vm_memmap {
            type_: ACRN_MEMMAP_MMIO,
            user_vm_pa: ROM,
            len: LEN as u64,
            ..Default::default()
        };
        let unset = model.device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment);
        assert_eq!(unset, Ok(()), "UNSET_MEMSEG");
        model.ask_for_power_states();
    })
}

/// Suspend to RAM and resume: the sequence of a system reset without PM_GET_CPU_STATE.
pub fn suspend() -> Outcome {
    again(End::Suspend, |_, _| {})
}

/// The first thread resets the VM, while the serving thread waits in ATTACH_IOREQ_CLIENT.
pub fn system_reset_from_first_thread() -> Outcome {
    let probe = probe();
    let cpus = need!(cpus::pick(1));
    let model = need!(Model::create(
        cpus,
        memory(1),
        End::SystemReset,
        None,
        |_| {}
    ));
    let trace = probe.as_ref().map(Trace::start);
    let interrupters = model.interrupt();
    let (sender, asked) = mpsc::channel();
    let server = model.serve(move |_, _| {
        sender.send(()).expect("the first thread");
        Next::Notify
    });
    for _ in 0..ROUNDS {
        let asked = patience(PATIENCE).receive(&asked);
        assert_eq!(asked, Ok(()), "the guest asks for its end");
        server.until_idle();
        model.assert_served();
        model.reset(Model::ask_for_power_states);
    }
    power_off(&model, server, interrupters);
    if let Some(trace) = &trace {
        assert_silent_while_paused(trace, model.vmid, 1 + ROUNDS as usize);
    }
    Outcome::Passed
}
