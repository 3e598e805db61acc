// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Hypercalls of the Service VM: from registers to handlers, with the trace and scripted faults round them.

mod channel;
mod device;
mod hold;
mod lifecycle;
mod line;
mod power;
mod region;
mod request;
pub mod rule;

use crate::svm::Context;
use crate::{phys, trace};
use alloc::vec;
use alloc::vec::Vec;
use mini_acrn_channel::{ANY_VM, Fault, kind};
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::regs::{R8, RAX, RDI, RSI, RSP};
use mini_acrn_logic::script::Script;
use spin::Mutex;

/// Held while a hypercall is served.
static SERIAL: Mutex<()> = Mutex::new(());
static SCRIPT: Mutex<Script> = Mutex::new(Script::new());

/// High bytes of every id.
const ID_BASE: u32 = 0x8000_0000;
const CREATE_VM: u8 = 0x10;
/// A rule may be about it.
pub const DESTROY_VM: u8 = 0x11;
/// A rule may be about it.
pub const RESET_VM: u8 = 0x15;
const SET_MEMORY_REGIONS: u8 = 0x42;
const PM_GET_CPU_STATE: u8 = 0x80;

/// A hypercall. Only the low byte of its id is looked at, as on ACRN.
pub struct Call {
    /// Low byte of the id.
    pub number: u8,
    /// First parameter.
    pub p1: u64,
    /// Second parameter.
    pub p2: u64,
}

impl Call {
    fn id(&self) -> u32 {
        ID_BASE | u32::from(self.number)
    }

    /// Where the parameter structure is, and its bytes.
    fn parameter(&self) -> Option<(u64, usize)> {
        Some(match self.number {
            CREATE_VM => (self.p1, 48),
            SET_MEMORY_REGIONS => (self.p1, 24),
            0x16 => (self.p2, 296),
            0x23 | 0x44 => (self.p2, 16),
            0x24 => (self.p2, 392),
            0x30 => (self.p2, 8),
            0x32 | 0x33 => (self.p2, 32),
            0x53 | 0x54 => (self.p2, 24),
            0x55 | 0x56 => (self.p2, 36),
            0x57 | 0x58 => (self.p2, 104),
            0x59 | 0x5A => (self.p2, 192),
            _ => return None,
        })
    }

    /// A copy of the parameter structure, empty if there is none or it can't be read.
    fn snapshot(&self) -> Vec<u8> {
        let Some((addr, len)) = self.parameter() else { return Vec::new() };
        let mut bytes = vec![0; len];
        match phys::is_service_ram(addr, len as u64).then(|| phys::read_bytes(addr, &mut bytes)) {
            Some(Some(())) => bytes,
            _ => Vec::new(),
        }
    }

    /// The VM that the call is about.
    fn target(&self, parameter: &[u8]) -> u16 {
        match self.number {
            0x01 | 0x02 | CREATE_VM => ANY_VM,
            SET_MEMORY_REGIONS => parameter.first_chunk().map_or(ANY_VM, |b| u16::from_le_bytes(*b)),
            PM_GET_CPU_STATE => (self.p1 >> 24) as u16 & 0xFF,
            _ => self.p1 as u16,
        }
    }
}

/// Serves the hypercall at which `cx` stopped. Returns whether it is done; otherwise it is to be made again.
pub fn exit(cx: &mut Context) -> bool {
    let r = cx.gprs().0;
    let call = Call { number: r[R8] as u8, p1: r[RDI], p2: r[RSI] };
    cx.charge(call.number);
    if hold::keeps(&call, r[RSP]) {
        return false;
    }
    cx.gprs().0[RAX] = serve(&call) as u64;
    true
}

/// ACRN's name of a hypercall that a rule is about.
fn name(number: u8) -> &'static str {
    match number {
        CREATE_VM => "CREATE_VM",
        DESTROY_VM => "DESTROY_VM",
        RESET_VM => "RESET_VM",
        SET_MEMORY_REGIONS => "SET_MEMORY_REGIONS",
        _ => "hypercall",
    }
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
    match call.number {
        0x01 => lifecycle::offline_cpu(call.p1),
        0x02 => request::set_callback_vector(call.p1),
        CREATE_VM => lifecycle::create(call.p1, fault, vmid),
        DESTROY_VM => lifecycle::destroy(call.p1),
        0x12 => lifecycle::start(call.p1),
        0x13 => lifecycle::pause(call.p1),
        RESET_VM => lifecycle::reset(call.p1),
        0x16 => lifecycle::set_vcpu_regs(call.p1, call.p2),
        0x23 => line::inject_msi(call.p1, call.p2),
        0x24 => line::monitor(call.p1, call.p2),
        0x25 => line::set_irqline(call.p1, call.p2),
        0x30 => request::set_buffer(call.p1, call.p2),
        0x31 => request::notify(call.p1, call.p2),
        SET_MEMORY_REGIONS => region::set(call.p1, fault.filter(|f| f.entry > 0).map(|f| f.entry)),
        n @ (0x53..=0x5A) => device::change(n, call.p1, call.p2),
        PM_GET_CPU_STATE => power::get_state(call.p1, call.p2),
        // Without asynchronous I/O the ids 32, 33 and 44 are unknown as well.
        _ => Err(Errno::NOTTY),
    }
}
