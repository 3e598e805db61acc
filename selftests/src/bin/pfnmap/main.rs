// SPDX-License-Identifier: GPL-2.0

//! Tests of memory without kernel pages (`VM_PFNMAP`) that a process maps and sets as RAM of a User
//! VM.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod concurrent;
mod owner;
mod physical;
mod set;
mod unmap;

fn main() -> ExitCode {
    harness::main(&tests![
        set::whole_area,
        set::device_registers,
        set::reserved_pages,
        set::part_of_area,
        set::beyond_its_end,
        set::mixed_with_memory,
        set::not_contiguous,
        set::read_only,
        set::counted_memory,
        set::counted_memory_behind,
        set::refused,
        set::half_way,
        set::roll_back_fails,
        set::with_secure_world,
        unmap::kept_after_fork,
        unmap::after_the_vm,
        set::unset,
        set::truncating_lengths,
        unmap::unmapped,
        unmap::partly_unmapped,
        unmap::with_hole,
        unmap::with_many_holes,
        unmap::set_twice,
        unmap::moved,
        unmap::protected,
        unmap::replaced,
        unmap::one_of_many,
        unmap::after_unset,
        unmap::hypervisor_refuses,
        unmap::refused_once,
        unmap::refused_part,
        unmap::counted,
        unmap::hole_filled,
        unmap::soft_dirty,
        unmap::lost_segments_make_room.within(120),
        unmap::split_among_lost_segments.within(120),
        concurrent::unmapped_while_set,
        concurrent::replaced_while_set,
        concurrent::vm_replaced_while_set,
        concurrent::unmapped_while_destroyed,
        concurrent::unpinned_without_a_lock,
        unmap::process_ends,
        unmap::races_with_set,
        unmap::killed,
        unmap::victim.helper(),
    ])
}
