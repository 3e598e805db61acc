// SPDX-License-Identifier: GPL-2.0

//! Invalid arguments are refused without any effect.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod fields;
mod pointers;
mod segments;

fn main() -> ExitCode {
    harness::main(&tests![
        pointers::bad_pointers,
        pointers::create_bad_pointers,
        pointers::unknown_requests,
        segments::segment_misaligned,
        segments::segment_empty,
        segments::segment_wrapping,
        segments::segment_huge,
        segments::segment_unknown_type,
        segments::segment_not_the_callers,
        segments::segment_partly_read_only,
        segments::segment_mmio_from_nowhere,
        fields::registers_reserved,
        fields::registers_of_unknown_vcpu,
        fields::notify_bad_fields,
        fields::creation_reserved,
        fields::creation_bad_request_page,
    ])
}
