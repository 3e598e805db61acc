// SPDX-License-Identifier: GPL-2.0

//! Prints the results of each command, case by case, in lines that `testbed-runner compare` reads.
//! The lines of two drivers show how the drivers differ. This program does not decide which results
//! are right.

use std::process::ExitCode;

use acrn_selftests::{
    harness::{self, Test},
    tests,
};

mod create;
mod devices;
mod eventfds;
mod interrupts;
mod lifecycle;
mod memory;
mod normal;
mod requests;
mod script;

fn main() -> ExitCode {
    let tests = tests![
        requests::unknown,
        create::create_vm,
        create::create_vm_request_page,
        lifecycle::destroy_vm,
        lifecycle::start_vm,
        lifecycle::pause_vm,
        lifecycle::reset_vm,
        lifecycle::set_vcpu_regs,
        lifecycle::close,
        interrupts::inject_msi,
        interrupts::set_irqline,
        interrupts::vm_intr_monitor,
        requests::create_ioreq_client,
        requests::destroy_ioreq_client,
        requests::attach_ioreq_client,
        requests::clear_vm_ioreq,
        requests::finish.named("notify_request_finish"),
        requests::notify_for_another_vm,
        memory::set_memseg_ram,
        memory::set_memseg_others,
        memory::unset.named("unset_memseg"),
        devices::ptdev_intr,
        devices::ptdev_intr_beyond,
        devices::pcidev,
        devices::mmiodev,
        devices::vdev,
        devices::pm_get_cpu_state,
        eventfds::ioeventfd,
        eventfds::ioeventfd_conflicts,
        eventfds::ioeventfd_signals,
        eventfds::irqfd,
        eventfds::irqfd_signals,
        // The tests from here on may break upstream's driver, and with it the tests after them.
        create::create_vm_hypervisor,
        interrupts::vm_intr_monitor_results,
        memory::set_memseg_bad_ram,
        requests::notify_nothing,
        create::create_vm_read_only,
        create::create_vm_again,
        create::create_vm_twice,
        lifecycle::close_with_vm,
    ];
    harness::main(&tests.map(Test::show_output))
}
