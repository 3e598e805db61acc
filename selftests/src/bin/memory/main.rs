// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory of a User VM: how it is mapped, charged and released.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

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
    harness::main(&tests![
        kinds::small_pages,
        kinds::attributes,
        kinds::transparent_huge_pages,
        kinds::part_of_huge_page,
        kinds::huge_page_with_other_pages,
        kinds::hugetlb,
        kinds::part_of_hugetlb,
        kinds::shared_memory,
        kinds::untouched_memory,
        kinds::scattered_pages,
        kinds::hole,
        kinds::outlives_its_mapping,
        files::file_of_hugetlbfs,
        files::file_with_folio,
        files::file_untouched,
        files::file_private,
        files::file_private_and_forked,
        files::file_sealed_while_mapped,
        files::file_sealed,
        files::file_read_only,
        files::file_parts,
        files::files_in_one_segment,
        files::file_punched,
        files::file_truncated,
        files::file_with_missing_pages,
        files::file_closed,
        kinds::mmio,
        hypercall_args::header,
        hypercall_args::rights,
        hypercall_args::rights_without_read,
        typed::mmio_by_acrn_ioctls,
        typed::unset_by_acrn_ioctls,
        undo::unset_ram,
        undo::unset_with_hole,
        undo::unset_of_something_else,
        undo::mmio_half_way,
        undo::mmio_refused,
        remap::fresh_buffers.within(240),
        remap::same_segment,
        remap::same_but_for_bits,
        remap::other_rights,
        remap::other_pages,
        remap::other_pages_refused,
        remap::part,
        remap::part_of_huge_pages,
        remap::devices_and_memory,
        remap::same_but_longer,
        remap::same_pages_twice,
        remap::part_of_a_device,
        random::random_segments.within(180),
        holes::holes_cost_few_hypercalls.show_output(),
        holes::all_lost,
        holes::too_much_lost,
        parked::parked_until_pause,
        parked::parked_until_close,
        parked::parked_once,
        parked::parked_parts,
        parked::parked_with_secure_world,
        parked::parked_after_roll_back,
        parked::parked_not_without_end.within(1800),
        parked::not_parked_before_start,
        parked::parked_while_paused,
        stale::stale_vcpu,
        stale::stale_device,
        stale::stale_vcpu_and_device,
        stale::stale_no_device,
        stale::stale_device_until_destroy,
        stale::started_while_unset,
        stale::paused_while_unset,
        stale::unset_while_assigned,
        killed::killed_while_set,
        killed::killed_while_unset,
        reused_id::of_replaced_vm,
        refused_mmio::mmio_of_kernel_ram,
        refused_mmio::mmio_beyond_addresses,
        refused_mmio::mmio_unaligned,
        refused_mmio::mmio_of_reserved_type,
        refused_mmio::mmio_of_other_memory,
        refused_mmio::mmio_locked_down,
        undo::many_segments,
        undo::batch_fails,
        undo::batch_refused,
        undo::later_batch_fails,
        undo::roll_back_fails,
        undo::unset_fails,
        undo::set_after_failed_roll_back,
        undo::set_after_failed_unset,
        undo::part_of_failed_roll_back,
        running::running_refused,
        running::running_roll_back_refused,
        running::running_first_batch_stays,
        running::running_unset_fails_page_wise,
        running::roll_back_of_a_part,
        running::running_after_failed_start,
        running::running_after_refused_destroy,
        undo::destroy_unpins,
        dirty::pages_are_dirty,
        large::many_small_pages.within(180),
        limits::locked_memory_counted,
        limits::locked_memory_of_failure,
        limits::locked_memory_limit,
        limits::locked_memory_of_hugetlb,
        limits::locked_memory_of_mixed,
        limits::locked_memory_of_same,
        limits::locked_memory_of_overlap,
        limits::locked_memory_of_another_process,
        limits::same_pages_checked_without_lock,
        limits::segments_limit,
    ])
}
