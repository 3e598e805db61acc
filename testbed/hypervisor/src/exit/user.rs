// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Exits of User VMs.

use super::action::Action;
use super::{cpuid, ioio, msr, npf};
use crate::svm::{self, Context};
use crate::user_memory;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use mini_acrn_logic::cpuid::Guest;
use mini_acrn_logic::vmcb::{Event, GP, UD, exit};

/// Handles the exit of a User VM's vCPU.
pub fn handle(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) -> Action {
    match cx.vmcb.control.exit_code {
        exit::NMI => svm::acknowledge_nmi(),
        exit::CPUID => {
            let count = vm.vcpus().len() as u32;
            cpuid::exit(cx, Guest::User { id: vcpu.apic_id().into(), count });
        }
        exit::MSR => msr::user_exit(cx, vm, id),
        exit::IOIO => return ioio::exit(vm, vcpu, id, cx),
        exit::NPF => return npf::exit(vm, vcpu, id, cx),
        exit::UD => {
            // VMCALL above ring 0 raises #GP on ACRN, in all VMs.
            let code = user_memory::fetch(vm, &cx.vmcb.save);
            let vmcall = code.bytes().starts_with(&[0x0F, 0x01, 0xC1]);
            let gp = vmcall && cx.vmcb.save.cpl != 0;
            cx.inject(if gp { Event::fault_with_code(GP, 0) } else { Event::fault(UD) });
        }
        exit::SHUTDOWN => return Action::ShutDown,
        exit::INVALID => return Action::Fail,
        // Instructions of SVM, MONITOR and MWAIT: User VMs do not have them.
        _ => cx.inject(Event::fault(UD)),
    }
    Action::Resume
}
