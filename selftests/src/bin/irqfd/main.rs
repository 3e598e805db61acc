// SPDX-License-Identifier: GPL-2.0

//! IRQFD: eventfds that interrupt a guest.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod arguments;
mod assign;
mod detach;
mod ending;
mod guest;
mod inject;
mod semaphore;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("without_vm", arguments::without_vm),
        Test::new("unknown_flags", arguments::unknown_flags),
        Test::new("descriptors", arguments::descriptors),
        Test::new("same_again", arguments::same_again),
        Test::new("too_many", arguments::too_many),
        Test::new("too_many_but_closed", arguments::too_many_but_closed),
        Test::new("by_two_threads", arguments::by_two_threads),
        Test::new("exact_bytes", inject::exact_bytes),
        Test::new("one_for_each_write", inject::one_for_each_write),
        Test::new("event_is_taken", inject::event_is_taken),
        Test::new("signalled_before", inject::signalled_before),
        Test::new(
            "signalled_before_is_taken",
            inject::signalled_before_is_taken,
        ),
        Test::new("writer_goes_on", inject::writer_goes_on),
        Test::new("silent_until_signalled", inject::silent_until_signalled),
        Test::new("semaphore", semaphore::one_for_each_write),
        Test::new("semaphore_signalled_before", semaphore::signalled_before),
        Test::new("many", inject::many),
        Test::new("two_vms", inject::two_vms),
        Test::new("refused", inject::refused),
        Test::new("refused_at_once", inject::refused_at_once),
        Test::new("to_halted_guest", guest::to_halted_guest),
        Test::new("to_spinning_guest", guest::to_spinning_guest),
        Test::new("signalled_before_to_guest", guest::signalled_before),
        Test::new("two_guests", guest::two_guests),
        Test::new("from_several_threads", guest::from_several_threads),
        Test::new(
            "one_event_of_several_threads",
            guest::one_event_of_several_threads,
        ),
        Test::new("with_another_reader", guest::with_another_reader),
        Test::new("doorbell_to_another_vm", guest::doorbell_to_another_vm),
        Test::new("doorbell_to_itself", guest::doorbell_to_itself),
        Test::new("deassign_stops", detach::deassign_stops),
        Test::new("deassign_unknown", detach::deassign_unknown),
        Test::new("deassign_by_duplicate", detach::deassign_by_duplicate),
        Test::new("assign_again", detach::assign_again),
        Test::new("deassign_releases", detach::deassign_releases),
        Test::new("closed_detaches", detach::closed_detaches),
        Test::new("closed_is_released", detach::closed_is_released),
        Test::new(
            "closed_is_released_by_deassign",
            detach::closed_is_released_by_deassign,
        ),
        Test::new("closed_but_not_last", detach::closed_but_not_last),
        Test::new("closed_but_signalled", detach::closed_but_signalled),
        Test::new("destroy", ending::destroy),
        Test::new("destroy_refused", ending::destroy_refused),
        Test::new("refused_while_paused", ending::refused_while_paused),
        Test::new("assigned_while_stopping", ending::assigned_while_stopping),
        Test::new("reset_keeps", ending::reset_keeps),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("close_running", ending::close_running),
        Test::new("killed", ending::killed),
        Test::helper("victim", ending::victim),
    ])
}
