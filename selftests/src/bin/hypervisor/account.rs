// SPDX-License-Identifier: GPL-2.0

//! Tests of the time that mini-ACRN spends in hypercalls. `bench` subtracts it from the cost of a
//! path.

use acrn_selftests::{harness::Outcome, hypercall::*, mapping_fixture::MappingFixture, need};
use mini_acrn_channel::{Account, Spent};

/// Reads the TSC.
fn now() -> u64 {
    // SAFETY: x86-64 has RDTSC, and Linux lets programs execute it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn of(account: &Account, hypercall: u32) -> Spent {
    account.lines[usize::from(hypercall as u8)]
}

/// Each hypercall is accounted separately, and reading the account resets it.
pub fn account_of_hypercalls() -> Outcome {
    const CALLS: u64 = 50;
    let fixture = need!(MappingFixture::new());
    let vmid = fixture.vmid.into();
    fixture.probe.take_account();
    let from = now();
    for _ in 0..CALLS {
        assert_eq!(fixture.probe.call(SET_IRQLINE, vmid, 5), 0);
    }
    let account = fixture.probe.take_account();
    let all = now() - from;
    let spent = of(&account, SET_IRQLINE);
    assert_eq!(spent.exits, CALLS);
    assert!(
        0 < spent.ticks && spent.ticks < all,
        "{} of {all} ticks",
        spent.ticks
    );
    assert_eq!(of(&account, INJECT_MSI).exits, 0);
    assert_eq!(of(&fixture.probe.take_account(), SET_IRQLINE).exits, 0);
    Outcome::Passed
}
