// SPDX-License-Identifier: GPL-2.0

//! What each command does, case by case, in lines that `testbed-runner compare` reads: run on two drivers,
//! they show where these differ. What is right or wrong is not judged here.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

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
    let tests = [
        Test::new("unknown", requests::unknown),
        Test::new("create_vm", create::arguments),
        Test::new("create_vm_request_page", create::request_page),
        Test::new("destroy_vm", lifecycle::destroy),
        Test::new("start_vm", lifecycle::start),
        Test::new("pause_vm", lifecycle::pause),
        Test::new("reset_vm", lifecycle::reset),
        Test::new("set_vcpu_regs", lifecycle::registers),
        Test::new("close", lifecycle::close),
        Test::new("inject_msi", interrupts::inject_msi),
        Test::new("set_irqline", interrupts::set_irqline),
        Test::new("vm_intr_monitor", interrupts::monitor_failures),
        Test::new("create_ioreq_client", requests::create_client),
        Test::new("destroy_ioreq_client", requests::destroy_client),
        Test::new("attach_ioreq_client", requests::attach_client),
        Test::new("clear_vm_ioreq", requests::clear),
        Test::new("notify_request_finish", requests::finish),
        Test::new("notify_for_another_vm", requests::finish_other),
        Test::new("set_memseg_ram", memory::set_ram),
        Test::new("set_memseg_others", memory::set_others),
        Test::new("unset_memseg", memory::unset),
        Test::new("ptdev_intr", devices::lines),
        Test::new("ptdev_intr_beyond", devices::beyond_lines),
        Test::new("pcidev", devices::pci),
        Test::new("mmiodev", devices::mmio),
        Test::new("vdev", devices::virtual_devices),
        Test::new("pm_get_cpu_state", devices::power),
        Test::new("ioeventfd", eventfds::ioeventfd_arguments),
        Test::new("ioeventfd_conflicts", eventfds::ioeventfd_conflicts),
        Test::new("ioeventfd_signals", eventfds::ioeventfd_signals),
        Test::new("irqfd", eventfds::irqfd_arguments),
        Test::new("irqfd_signals", eventfds::irqfd_signals),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("create_vm_hypervisor", create::hypervisor),
        Test::new("vm_intr_monitor_results", interrupts::monitor_results),
        Test::new("set_memseg_bad_ram", memory::set_bad_ram),
        Test::new("notify_nothing", requests::finish_nothing),
        Test::new("create_vm_read_only", create::read_only_argument),
        Test::new("create_vm_again", create::again),
        Test::new("create_vm_twice", create::twice),
        Test::new("close_with_vm", lifecycle::close_with_vm),
    ];
    harness::main(&tests.map(Test::telling))
}
