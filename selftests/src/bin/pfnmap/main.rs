// SPDX-License-Identifier: GPL-2.0

//! Memory that the kernel has no pages for, mapped by a process, as RAM of a User VM.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod concurrent;
mod owner;
mod physical;
mod set;
mod unmap;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("whole_area", set::whole_area),
        Test::new("device_registers", set::device_registers),
        Test::new("reserved_pages", set::reserved_pages),
        Test::new("part_of_area", set::part_of_area),
        Test::new("beyond_its_end", set::beyond_its_end),
        Test::new("mixed_with_memory", set::mixed_with_memory),
        Test::new("not_contiguous", set::not_contiguous),
        Test::new("read_only", set::read_only),
        Test::new("counted_memory", set::counted_memory),
        Test::new("counted_memory_behind", set::counted_memory_behind),
        Test::new("refused", set::refused),
        Test::new("kept_after_fork", unmap::kept_after_fork),
        Test::new("after_the_vm", unmap::after_the_vm),
        Test::new("unset", set::unset),
        Test::new("truncating_lengths", set::truncating_lengths),
        Test::new("unmapped", unmap::unmapped),
        Test::new("partly_unmapped", unmap::partly_unmapped),
        Test::new("with_hole", unmap::with_hole),
        Test::new("set_twice", unmap::set_twice),
        Test::new("moved", unmap::moved),
        Test::new("protected", unmap::protected),
        Test::new("replaced", unmap::replaced),
        Test::new("one_of_many", unmap::one_of_many),
        Test::new("after_unset", unmap::after_unset),
        Test::new("hypervisor_refuses", unmap::hypervisor_refuses),
        Test::new("refused_once", unmap::refused_once),
        Test::new("counted", unmap::counted),
        Test::new("hole_filled", unmap::hole_filled),
        Test::new("soft_dirty", unmap::soft_dirty),
        Test::new("lost_segments_make_room", unmap::lost_segments_make_room).within(120),
        Test::new(
            "split_among_lost_segments",
            unmap::split_among_lost_segments,
        )
        .within(120),
        Test::new("unmapped_while_set", concurrent::unmapped_while_set),
        Test::new("replaced_while_set", concurrent::replaced_while_set),
        Test::new("vm_replaced_while_set", concurrent::vm_replaced_while_set),
        Test::new(
            "unmapped_while_destroyed",
            concurrent::unmapped_while_destroyed,
        ),
        Test::new(
            "unpinned_without_a_lock",
            concurrent::unpinned_without_a_lock,
        ),
        Test::new("process_ends", unmap::process_ends),
        Test::new("races_with_set", unmap::races_with_set),
        Test::new("killed", unmap::killed),
        Test::helper("victim", unmap::victim),
    ])
}
