// SPDX-License-Identifier: GPL-2.0

//! Memory of a User VM: mapped as it is, counted, and given back.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod dirty;
mod files;
mod holes;
mod hypercall_args;
mod killed;
mod kinds;
mod large;
mod limits;
mod parked;
mod random;
mod refused_mmio;
mod remap;
mod reused_id;
mod running;
mod stale;
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
        Test::new("file_of_hugetlbfs", files::of_hugetlbfs),
        Test::new("file_with_folio", files::with_folio),
        Test::new("file_untouched", files::untouched),
        Test::new("file_private", files::private),
        Test::new("file_private_and_forked", files::private_and_forked),
        Test::new("file_sealed_while_mapped", files::sealed_while_mapped),
        Test::new("file_sealed", files::sealed),
        Test::new("file_read_only", files::read_only),
        Test::new("file_parts", files::parts),
        Test::new("files_in_one_segment", files::several),
        Test::new("file_punched", files::punched),
        Test::new("file_truncated", files::truncated),
        Test::new("file_with_missing_pages", files::missing),
        Test::new("file_closed", files::outlives_its_file),
        Test::new("mmio", kinds::mmio),
        Test::new("header", hypercall_args::header),
        Test::new("rights", hypercall_args::rights),
        Test::new("mmio_by_acrn_ioctls", typed::mmio),
        Test::new("unset_by_acrn_ioctls", typed::unset),
        Test::new("unset_ram", undo::unset_ram),
        Test::new("unset_with_hole", undo::unset_with_hole),
        Test::new("unset_of_something_else", undo::unset_of_something_else),
        Test::new("fresh_buffers", remap::fresh_buffers).within(240),
        Test::new("same_segment", remap::same_segment),
        Test::new("same_but_for_bits", remap::same_but_for_bits),
        Test::new("other_rights", remap::other_rights),
        Test::new("other_pages", remap::other_pages),
        Test::new("other_pages_refused", remap::refused),
        Test::new("part", remap::part),
        Test::new("part_of_huge_pages", remap::part_of_huge_pages),
        Test::new("devices_and_memory", remap::devices_and_memory),
        Test::new("same_but_longer", remap::same_but_longer),
        Test::new("same_pages_twice", remap::same_pages_twice),
        Test::new("part_of_a_device", remap::part_of_a_device),
        Test::new("random_segments", random::segments).within(180),
        Test::new("holes_cost_few_hypercalls", holes::few_hypercalls).telling(),
        Test::new("all_lost", holes::all_lost),
        Test::new("too_much_lost", holes::too_much_lost),
        Test::new("parked_until_pause", parked::until_pause),
        Test::new("parked_until_close", parked::until_close),
        Test::new("parked_once", parked::once),
        Test::new("parked_parts", parked::parts),
        Test::new("parked_after_roll_back", parked::rolled_back),
        Test::new("parked_not_without_end", parked::not_without_end).within(1800),
        Test::new("not_parked_while_stopped", parked::not_while_stopped),
        Test::new("stale_vcpu", stale::vcpu),
        Test::new("stale_device", stale::of_a_device),
        Test::new("stale_vcpu_and_device", stale::of_both),
        Test::new("stale_no_device", stale::of_no_device),
        Test::new("stale_device_until_destroy", stale::until_destroy),
        Test::new("started_while_unset", stale::started_meanwhile),
        Test::new("paused_while_unset", stale::paused_meanwhile),
        Test::new("unset_while_assigned", stale::assigned_meanwhile),
        Test::new("killed_while_set", killed::while_set),
        Test::new("killed_while_unset", killed::while_unset),
        Test::new("of_replaced_vm", reused_id::replaced),
        Test::new("mmio_of_kernel_ram", refused_mmio::ram_of_the_kernel),
        Test::new("mmio_of_other_memory", refused_mmio::other_memory),
        Test::new("mmio_locked_down", refused_mmio::locked_down),
        Test::new("many_segments", undo::many_segments),
        Test::new("batch_fails", undo::batch_fails),
        Test::new("later_batch_fails", undo::later_batch_fails),
        Test::new("roll_back_fails", undo::roll_back_fails),
        Test::new("unset_fails", undo::unset_fails),
        Test::new(
            "set_after_failed_roll_back",
            undo::set_after_failed_roll_back,
        ),
        Test::new("set_after_failed_unset", undo::set_after_failed_unset),
        Test::new("part_of_failed_roll_back", undo::part_of_failed_roll_back),
        Test::new("running_roll_back_refused", running::roll_back_refused),
        Test::new("running_first_batch_stays", running::first_batch_stays),
        Test::new(
            "running_unset_fails_page_wise",
            running::unset_fails_page_wise,
        ),
        Test::new("roll_back_of_a_part", running::roll_back_of_a_part),
        Test::new("running_after_failed_start", running::after_failed_start),
        Test::new(
            "running_after_refused_destroy",
            running::after_refused_destroy,
        ),
        Test::new("destroy_unpins", undo::destroy_unpins),
        Test::new("pages_are_dirty", dirty::pages_are_dirty),
        Test::new("many_small_pages", large::many_small_pages).within(180),
        Test::new("locked_memory_counted", limits::counted),
        Test::new("locked_memory_of_failure", limits::failure_not_counted),
        Test::new("locked_memory_limit", limits::limit_holds),
        Test::new("locked_memory_of_hugetlb", limits::hugetlb),
        Test::new("locked_memory_of_mixed", limits::mixed),
        Test::new("locked_memory_of_same", limits::same_again),
        Test::new(
            "locked_memory_of_another_process",
            limits::of_another_process,
        ),
        Test::new("looked_at_without_a_lock", limits::looked_at_without_a_lock),
        Test::new("segments_limit", limits::segments),
    ])
}
