// SPDX-License-Identifier: GPL-2.0

//! Conditions that hold for each round of each case.

use acrn_selftests::{
    hypercall::{
        DESTROY_VM, INJECT_MSI, NOTIFY_REQUEST_FINISH, PAUSE_VM, RESET_VM, SET_IRQLINE, START_VM,
    },
    leaks::Snapshot,
    probe::Probe,
    trace::Trace,
};

/// Number of rounds of each case.
pub const ROUNDS: u64 = 20;

/// Repeats a case. Fails if a round leaves anything behind.
pub fn again_and_again(
    mut round: impl FnMut(u64) -> Result<(), String>,
) -> acrn_selftests::harness::Outcome {
    for number in 0..ROUNDS {
        let before = Snapshot::take();
        acrn_selftests::need!(round(number));
        assert_eq!(before.leaks(), [""; 0], "after round {number}");
    }
    acrn_selftests::harness::Outcome::Passed
}

/// Panics if the driver made a hypercall that wakes a vCPU while the VM was paused, if the VM was
/// not paused and then destroyed or reset, or if it was not started `starts` times.
#[track_caller]
pub fn assert_silent_while_paused(trace: &Trace<'_>, vmid: u16, starts: usize) {
    let mut paused = false;
    let mut ended = false;
    let mut started = 0;
    for call in trace.events(mini_acrn_channel::kind::HYPERCALL) {
        if call.p1 != u64::from(vmid) {
            continue;
        }
        match call.id {
            PAUSE_VM if call.result == 0 => paused = true,
            RESET_VM | DESTROY_VM if call.result == 0 => {
                assert!(
                    paused,
                    "hypercall {:#x} for a VM that is not paused",
                    call.id
                );
                (paused, ended) = (false, true);
            }
            START_VM if call.result == 0 => started += 1,
            NOTIFY_REQUEST_FINISH | INJECT_MSI | SET_IRQLINE => {
                assert!(!paused, "hypercall {:#x} for a paused VM", call.id);
            }
            _ => {}
        }
    }
    assert!(ended, "neither RESET_VM nor DESTROY_VM");
    assert_eq!(started, starts, "number of START_VM hypercalls");
    trace.assert_sane();
}

/// Opens the probe of mini-ACRN, if there is one.
pub fn probe() -> Option<Probe> {
    Probe::open().ok()
}
