// SPDX-License-Identifier: GPL-2.0

//! Arguments that make no sense are refused, and nothing comes of them.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod fields;
mod pointers;
mod segments;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("bad_pointers", pointers::bad_pointers),
        Test::new("create_bad_pointers", pointers::create_bad_pointers),
        Test::new("unknown_requests", pointers::unknown_requests),
        Test::new("segment_misaligned", segments::misaligned),
        Test::new("segment_empty", segments::empty),
        Test::new("segment_wrapping", segments::wrapping),
        Test::new("segment_huge", segments::huge),
        Test::new("segment_unknown_type", segments::unknown_types),
        Test::new("segment_not_the_callers", segments::not_the_callers),
        Test::new("segment_partly_read_only", segments::partly_read_only),
        Test::new("segment_mmio_from_nowhere", segments::mmio_from_nowhere),
        Test::new("registers_reserved", fields::registers_reserved),
        Test::new(
            "registers_of_unknown_vcpu",
            fields::registers_of_unknown_vcpu,
        ),
        Test::new("notify_bad_fields", fields::notify),
        Test::new("creation_reserved", fields::creation_reserved),
        Test::new("creation_bad_request_page", fields::bad_request_page),
    ])
}
