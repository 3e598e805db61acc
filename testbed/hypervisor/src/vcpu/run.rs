// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The loop in which a CPU runs a User VM's vCPU.

use super::{BlockedOn, INIT, NMI, SIPI, SIPI_PAGE_SHIFT, Vcpu, power_on};
use crate::exit::action::Action;
use crate::exit::{ioio, user};
use crate::svm::{self, Context};
use crate::vm::{self, Vm};
use crate::{lapic, log, trace, user_memory};
use core::sync::atomic::Ordering;
use mini_acrn_channel::kind;
use mini_acrn_logic::vcpu_state;
use mini_acrn_logic::vmcb::{Event, exit};

/// Runs the vCPU that `task` encodes until it is stopped.
pub fn run_task(task: u32) {
    let id = (task & 0xFF) as usize;
    let Ok(vm) = vm::get(u64::from(task >> 8 & 0xFFFF)) else { return };
    let vcpu = &vm.vcpus()[id];
    lapic::quiesce();
    svm::reset_extended_state();
    run(vm, vcpu, id, &mut vcpu.context.lock());
    lapic::quiesce();
    vcpu.active.store(false, Ordering::Release);
}

fn run(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) {
    cx.load();
    let mut shut_down = false;
    while !vcpu.is_stopping() {
        if vcpu.is_paused() {
            let halted = !vcpu.waits_for_sipi.load(Ordering::Acquire) && was_halted(vm, cx);
            vcpu.block_while_paused(if halted { BlockedOn::Interrupt } else { BlockedOn::Nothing });
            continue;
        }
        if take_signals(vcpu, cx) {
            shut_down = false;
            continue;
        }
        if vcpu.waits_for_sipi.load(Ordering::Acquire) {
            vcpu.sleep();
            continue;
        }
        let action = if shut_down {
            // The request is repeated until the VM is paused, as on ACRN.
            ioio::power_off(vm, vcpu, id)
        } else {
            cx.exclude_from_account(vcpu.slept.swap(0, Ordering::Relaxed));
            cx.enter();
            user::handle(vm, vcpu, id, cx)
        };
        match action {
            Action::Resume => {}
            Action::Stop => break,
            Action::ShutDown => {
                log!("VM {} vCPU {id}: triple fault at {:#x}", vm.id, cx.vmcb.save.rip);
                shut_down = true;
            }
            Action::Fail => {
                fail(vm, id, cx);
                while !vcpu.is_stopping() {
                    if vcpu.is_paused() {
                        vcpu.block_while_paused(BlockedOn::Nothing)
                    } else {
                        vcpu.sleep()
                    }
                }
            }
        }
    }
}

/// Returns whether the vCPU was halted when a kick made it exit. HLT is not intercepted, because an
/// interrupt ends it without mini-ACRN.
fn was_halted(vm: &Vm, cx: &Context) -> bool {
    const HLT: u64 = 0xF4;
    let (control, save) = (&cx.vmcb.control, &cx.vmcb.save);
    let before = save.linear_rip().wrapping_sub(1);
    control.exit_code == exit::NMI && user_memory::read_linear(vm, save, before, 1) == Ok(HLT)
}

/// Handles the signals of the vCPU. Returns whether it has set the global interrupt flag: a kick
/// may have arrived at that time, and is consumed.
fn take_signals(vcpu: &Vcpu, cx: &mut Context) -> bool {
    let signals = vcpu.signals.swap(0, Ordering::AcqRel);
    if signals & INIT != 0 {
        power_on(cx);
        lapic::quiesce();
        vcpu.waits_for_sipi.store(true, Ordering::Release);
    }
    if signals & SIPI != 0 && vcpu.waits_for_sipi.load(Ordering::Acquire) {
        vcpu_state::startup(&mut cx.vmcb.save, (signals >> SIPI_PAGE_SHIFT) as u8);
        cx.load();
        vcpu.waits_for_sipi.store(false, Ordering::Release);
    }
    if signals & NMI != 0 {
        if cx.has_event() {
            vcpu.signals.fetch_or(NMI, Ordering::AcqRel);
        } else {
            cx.inject(Event::NMI);
        }
    }
    signals & INIT != 0
}

fn fail(vm: &Vm, id: usize, cx: &Context) {
    let (control, save) = (&cx.vmcb.control, &cx.vmcb.save);
    let code = user_memory::fetch(vm, save);
    log!(
        "VM {} vCPU {id} stopped: exit {:#x} ({:#x}, {:#x}) at {:#x}, code {:02x?}",
        vm.id,
        control.exit_code,
        control.exit_info1,
        control.exit_info2,
        save.rip,
        code.bytes()
    );
    trace::push(kind::VCPU_FAILED, vm.id, &[], |r| {
        (r.p1, r.p2, r.result) = (id as u64, control.exit_code, save.rip as i64);
    });
}
