// SPDX-License-Identifier: GPL-2.0

//! What must be true of each round of each case.

use acrn_selftests::{
    hypercall::{
        DESTROY_VM, INJECT_MSI, NOTIFY_REQUEST_FINISH, PAUSE_VM, RESET_VM, SET_IRQLINE, START_VM,
    },
    leaks::Snapshot,
    probe::Probe,
    trace::Trace,
};

/// How often each case is played.
pub const ROUNDS: u64 = 20;

/// Plays a case again and again. Each round must leave nothing.
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

/// Panics if a hypercall that wakes a vCPU was made for the VM while it was paused, and unless it was paused
/// and then destroyed or reset, and started `starts` times.
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
                assert!(paused, "{:#x} of a VM that was not paused", call.id);
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
    assert_eq!(started, starts, "START_VM");
    trace.assert_sane();
}

/// mini-ACRN, if it is there.
pub fn probe() -> Option<Probe> {
    Probe::open().ok()
}
