// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Hypercalls of the Service VM: decoding, handlers, trace, and scripted faults.

mod call;
mod channel;
mod device;
mod hold;
mod interrupt;
mod ioreq;
mod lifecycle;
mod memory;
mod power;
mod script;

use crate::svm::Context;
use crate::trace;
use acrn_hypercall_abi::{Hypercall, PmCommand};
use call::Call;
use device::Kind;
use mini_acrn_channel::{Fault, kind};
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::regs::{R8, RAX, RDI, RSI, RSP};
use script::SCRIPT;
use spin::Mutex;

/// Held while a hypercall is served.
static SERIAL: Mutex<()> = Mutex::new(());

/// Serves the hypercall that made `cx` exit. Returns whether it is complete. If not, the guest has
/// to repeat it.
pub fn exit(cx: &mut Context) -> bool {
    let r = cx.gprs().0;
    let call = Call { number: r[R8] as u8, p1: r[RDI], p2: r[RSI] };
    cx.account_to(call.number);
    if hold::must_wait(&call, r[RSP]) {
        return false;
    }
    cx.gprs().0[RAX] = serve(&call) as u64;
    true
}

fn value(result: Result) -> i64 {
    result.map_or_else(Errno::value, |()| 0)
}

fn serve(call: &Call) -> i64 {
    let _serial = SERIAL.lock();
    if let Some(result) = channel::serve(call) {
        return value(result);
    }
    let parameter = call.snapshot();
    let mut vmid = call.target(&parameter);
    let fault = SCRIPT.lock().take(call.id(), vmid);
    let mut result = 0;
    if fault.is_none_or(|f| f.after == 1 || f.patch != 0 || f.entry > 0) {
        result = value(dispatch(call, fault.as_ref(), &mut vmid));
    }
    if let Some(f) = fault {
        result = f.result;
    }
    trace::push(kind::HYPERCALL, vmid, &parameter, |r| {
        (r.id, r.p1, r.p2, r.result) = (call.id(), call.p1, call.p2, result);
        r.scripted = fault.is_some().into();
    });
    result
}

fn dispatch(call: &Call, fault: Option<&Fault>, vmid: &mut u16) -> Result {
    let (p1, p2) = (call.p1, call.p2);
    match call.hypercall().ok_or(Errno::NOTTY)? {
        Hypercall::ServiceVmOfflineCpu => lifecycle::offline_cpu(p1),
        Hypercall::SetCallbackVector => ioreq::set_callback_vector(p1),
        Hypercall::CreateVm => lifecycle::create(p1, fault, vmid),
        Hypercall::DestroyVm => lifecycle::destroy(p1),
        Hypercall::StartVm => lifecycle::start(p1),
        Hypercall::PauseVm => lifecycle::pause(p1),
        Hypercall::ResetVm => lifecycle::reset(p1),
        Hypercall::SetVcpuRegs => lifecycle::set_vcpu_regs(p1, p2),
        Hypercall::InjectMsi => interrupt::inject_msi(p1, p2),
        Hypercall::VmIntrMonitor => interrupt::monitor(p1, p2),
        Hypercall::SetIrqline => interrupt::set_irqline(p1, p2),
        Hypercall::SetIoreqBuffer => ioreq::set_buffer(p1, p2),
        Hypercall::NotifyRequestFinish => ioreq::notify(p1, p2),
        Hypercall::SetMemoryRegions => {
            memory::set(p1, fault.filter(|f| f.entry > 0).map(|f| f.entry))
        }
        Hypercall::SetPtdevIntr => device::assign(Kind::Intx, p1, p2),
        Hypercall::ResetPtdevIntr => device::deassign(Kind::Intx, p1, p2),
        Hypercall::AssignPcidev => device::assign(Kind::Pci, p1, p2),
        Hypercall::DeassignPcidev => device::deassign(Kind::Pci, p1, p2),
        Hypercall::AssignMmiodev => device::assign(Kind::Mmio, p1, p2),
        Hypercall::DeassignMmiodev => device::deassign(Kind::Mmio, p1, p2),
        Hypercall::CreateVdev => device::assign(Kind::Virtual, p1, p2),
        Hypercall::DestroyVdev => device::deassign(Kind::Virtual, p1, p2),
        Hypercall::PmGetCpuState => power::get_state(PmCommand(p1), p2),
        // mini-ACRN has no asynchronous I/O.
        Hypercall::AsyncioAssign | Hypercall::AsyncioDeassign | Hypercall::SetupSbuf => {
            Err(Errno::NOTTY)
        }
    }
}
