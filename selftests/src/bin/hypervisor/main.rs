// SPDX-License-Identifier: GPL-2.0

//! What mini-ACRN refuses as ACRN does, though no driver asks for it: each hypercall is made by the test.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod names;
mod parameters;
mod regions;
mod states;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("unknown_hypercalls", names::unknown_hypercalls),
        Test::new("low_byte_counts", names::low_byte_counts),
        Test::new("unknown_vms", names::unknown_vms),
        Test::new("vm_that_is_off", names::vm_that_is_off),
        Test::new("callback_vector", parameters::callback_vector),
        Test::new("notify_unknown_vcpu", parameters::notify_unknown_vcpu),
        Test::new("no_regions", parameters::no_regions),
        Test::new("regions_refused", regions::refused),
        Test::new("regions_no_roll_back", regions::no_roll_back),
        Test::new("regions_unaligned", regions::unaligned),
        Test::new("regions_wrapping", regions::wrapping),
        Test::new("regions_of_nobody", regions::array_of_nobody),
        Test::new("request_pages", parameters::request_pages),
        Test::new("no_request_page", states::no_request_page),
        Test::new("created", states::created),
        Test::new("running", states::running),
        Test::new("paused", states::paused),
    ])
}
