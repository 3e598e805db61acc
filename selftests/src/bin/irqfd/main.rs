// SPDX-License-Identifier: GPL-2.0

//! Tests of IRQFD, which makes eventfds interrupt a guest.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod arguments;
mod assign;
mod detach;
mod ending;
mod guest;
mod inject;
mod semaphore;

fn main() -> ExitCode {
    harness::main(&tests![
        arguments::without_vm,
        arguments::unknown_flags,
        arguments::descriptors,
        arguments::same_again,
        arguments::too_many,
        arguments::too_many_but_closed,
        arguments::by_two_threads,
        inject::exact_bytes,
        inject::one_for_each_write,
        inject::event_is_taken,
        inject::signalled_before,
        inject::signalled_before_is_taken,
        inject::writer_goes_on,
        inject::silent_until_signalled,
        semaphore::semaphore,
        semaphore::semaphore_signalled_before,
        semaphore::semaphore_is_not_signalled_by_commands,
        inject::many,
        inject::two_vms,
        inject::refused,
        inject::refused_at_once,
        guest::to_halted_guest,
        guest::to_spinning_guest,
        guest::signalled_before_to_guest,
        guest::two_guests,
        guest::from_several_threads,
        guest::one_event_of_several_threads,
        guest::with_another_reader,
        guest::doorbell_to_another_vm,
        guest::doorbell_to_itself,
        detach::deassign_stops,
        detach::deassign_unknown,
        detach::deassign_by_duplicate,
        detach::assign_again,
        detach::deassign_releases,
        detach::closed_detaches,
        detach::closed_is_released,
        detach::closed_is_released_by_deassign,
        detach::closed_but_not_last,
        detach::closed_but_signalled,
        ending::destroy,
        ending::destroy_refused,
        ending::refused_while_paused,
        ending::assigned_while_stopping,
        ending::shared_while_starting,
        ending::closed_while_starting,
        ending::reset_keeps,
        // The tests from here on may damage upstream's driver, and affect the tests after them.
        ending::close_running,
        ending::killed,
        ending::victim.helper(),
    ])
}
