// SPDX-License-Identifier: GPL-2.0

//! Memory of a User VM: mapped as it is, counted, and given back.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod dirty;
mod kinds;
mod large;
mod limits;
mod pass;
mod typed;
mod undo;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("small_pages", kinds::small_pages),
        Test::new("attributes", kinds::attributes),
        Test::new("transparent_huge_pages", kinds::transparent_huge_pages),
        Test::new("part_of_huge_page", kinds::part_of_huge_page),
        Test::new(
            "huge_page_with_other_pages",
            kinds::huge_page_with_other_pages,
        ),
        Test::new("hugetlb", kinds::hugetlb),
        Test::new("part_of_hugetlb", kinds::part_of_hugetlb),
        Test::new("shared_memory", kinds::shared_memory),
        Test::new("untouched_memory", kinds::untouched_memory),
        Test::new("scattered_pages", kinds::scattered_pages),
        Test::new("hole", kinds::hole),
        Test::new("outlives_its_mapping", kinds::outlives_its_mapping),
        Test::new("mmio", kinds::mmio),
        Test::new("header", pass::header),
        Test::new("rights", pass::rights),
        Test::new("mmio_by_acrn_ioctls", typed::mmio),
        Test::new("unset_by_acrn_ioctls", typed::unset),
        Test::new("unset_ram", undo::unset_ram),
        Test::new("unset_twice", undo::unset_twice),
        Test::new("unset_with_hole", undo::unset_with_hole),
        Test::new("unset_of_something_else", undo::unset_of_something_else),
        Test::new("many_segments", undo::many_segments),
        Test::new("batch_fails", undo::batch_fails),
        Test::new("later_batch_fails", undo::later_batch_fails),
        Test::new("roll_back_fails", undo::roll_back_fails),
        Test::new("unset_fails", undo::unset_fails),
        Test::new("destroy_unpins", undo::destroy_unpins),
        Test::new("pages_are_dirty", dirty::pages_are_dirty),
        Test::new("many_small_pages", large::many_small_pages).within(180),
        Test::new("locked_memory_counted", limits::counted),
        Test::new("locked_memory_of_failure", limits::failure_not_counted),
        Test::new("locked_memory_limit", limits::limit_holds),
    ])
}
