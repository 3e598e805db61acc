// SPDX-License-Identifier: GPL-2.0

//! A VM that need not run, whose vCPUs make requests that mini-ACRN is told to raise.

use std::sync::Arc;

use acrn_ioctls::{RequestPage, Target};
use acrn_uapi::{ioctl::ACRN_IOCTL_CREATE_IOREQ_CLIENT, *};
use mini_acrn_channel::{RaiseRequest, Record, kind};
use nix::errno::Errno;
use zerocopy::FromZeros;

use crate::{
    cpus, device::Device, guest::create_raw, hypercall::NOTIFY_REQUEST_FINISH, probe::Probe,
    program::Access, trace::Trace, waiter::until,
};

/// Offsets in a slot.
const TYPE: usize = 0;
const COMPLETION_POLLING: usize = 4;
const DIRECTION: usize = 64;
const ADDRESS: usize = 72;
const SIZE: usize = 80;
const VALUE: usize = 88;
/// Bus, device, function and register of configuration space.
const CONFIG: usize = 92;

/// The value in a slot before a read is completed.
const UNANSWERED: u64 = 0x5555_5555_5555_5555;

/// Returns the request of vCPU `vcpu` of a VM for `access`. The value is stored in the slot
/// unchanged, even if it is wider than the access.
pub fn request(vmid: u16, vcpu: u16, access: Access) -> RaiseRequest {
    let mut request = RaiseRequest::new_zeroed();
    request.vmid = vmid;
    request.vcpu = vcpu;
    let (kind, address) = match access.target {
        Target::Port(port) => (ACRN_IOREQ_TYPE_PORTIO, port.into()),
        Target::Memory(address) => (ACRN_IOREQ_TYPE_MMIO, address),
        Target::PciConfig {
            bus,
            device,
            function,
            register,
        } => {
            let fields = [bus, device, function, register].map(u32::to_le_bytes);
            set(&mut request, CONFIG, fields.as_flattened());
            (ACRN_IOREQ_TYPE_PCICFG, 0)
        }
    };
    let direction = match access.value {
        Some(_) => ACRN_IOREQ_DIR_WRITE,
        None => ACRN_IOREQ_DIR_READ,
    };
    let value = access.value.unwrap_or(UNANSWERED);
    set(&mut request, TYPE, &kind.to_le_bytes());
    set(&mut request, DIRECTION, &direction.to_le_bytes());
    set(&mut request, ADDRESS, &address.to_le_bytes());
    set(&mut request, SIZE, &access.width.bytes().to_le_bytes());
    match access.target {
        Target::Memory(_) => set(&mut request, VALUE, &value.to_le_bytes()),
        // The value of a port or of a register of configuration space is 4 bytes wide.
        _ => set(&mut request, VALUE, &(value as u32).to_le_bytes()),
    }
    request
}

/// Returns the request of a hypervisor that polls for completion.
pub fn polled(mut request: RaiseRequest) -> RaiseRequest {
    set(&mut request, COMPLETION_POLLING, &1u32.to_le_bytes());
    request
}

/// Returns the request with an invalid size.
pub fn sized(mut request: RaiseRequest, size: u64) -> RaiseRequest {
    set(&mut request, SIZE, &size.to_le_bytes());
    request
}

fn set(request: &mut RaiseRequest, offset: usize, bytes: &[u8]) {
    request.slot[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn is_polled(request: &RaiseRequest) -> bool {
    request.slot[COMPLETION_POLLING] != 0
}

/// Returns the state of the slot once a request is completed. The hypervisor takes a request at
/// once only if it is notified.
fn end(request: &RaiseRequest) -> u32 {
    match is_polled(request) {
        true => ACRN_IOREQ_STATE_COMPLETE,
        false => ACRN_IOREQ_STATE_FREE,
    }
}

/// The handler that completed a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The driver itself, with this value if it was a read.
    Driver(Option<u64>),
    /// The device model.
    DeviceModel,
}

/// A VM that does not run, with an ioreq client.
pub struct ScriptedVm {
    /// The hypervisor's side.
    pub probe: Probe,
    /// The driver's side.
    pub device: Arc<Device>,
    /// The request page.
    pub page: RequestPage,
    /// The VM's id.
    pub vmid: u16,
}

impl ScriptedVm {
    /// Creates the VM with one vCPU. The error says why the test must be skipped.
    pub fn new() -> Result<Self, String> {
        Self::on(cpus::pick(1)?)
    }

    /// Creates the VM on the physical CPUs `cpus`. The error says why the test must be skipped.
    pub fn on(cpus: u64) -> Result<Self, String> {
        let vm = Self::without_client(cpus)?;
        vm.device
            .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
            .expect("CREATE_IOREQ_CLIENT");
        Ok(vm)
    }

    /// Creates the VM without an ioreq client. The error says why the test must be skipped.
    pub fn without_client(cpus: u64) -> Result<Self, String> {
        let probe = Probe::open()?;
        let (device, page, vmid) = create_raw(cpus);
        Ok(Self {
            probe,
            device: Arc::new(device),
            page,
            vmid,
        })
    }

    /// Makes vCPU 0 request an access, and returns its handler. Completes the request if it is left
    /// to the device model.
    pub fn ask(&self, access: Access) -> Answer {
        self.raise(request(self.vmid, 0, access))
    }

    /// Raises a request, and returns its handler. Completes the request if it is left to the device
    /// model.
    pub fn raise(&self, request: RaiseRequest) -> Answer {
        let vcpu = request.vcpu.into();
        let trace = Trace::start(&self.probe);
        assert_eq!(self.probe.raise(request), 0, "RAISE_REQUEST");
        let slot = self.page.slot(vcpu).expect("a slot");
        // Does not call mini-ACRN meanwhile, which would take a COMPLETE request before it is
        // notified.
        until("a request is completed", || {
            slot.is_ours() || slot.state() == end(&request)
        });
        if slot.is_ours() {
            self.finish(vcpu).expect("NOTIFY_REQUEST_FINISH");
            return Answer::DeviceModel;
        }
        Answer::Driver(self.answered(&trace, &request))
    }

    /// Returns the value with which the driver has just completed a request since `trace` began, if
    /// it was a read.
    pub fn answered(&self, trace: &Trace<'_>, request: &RaiseRequest) -> Option<u64> {
        let slot = self.page.slot(request.vcpu.into()).expect("a slot");
        assert_eq!(slot.state(), end(request), "state");
        let polling = is_polled(request);
        if !polling {
            until("NOTIFY_REQUEST_FINISH is in the trace", || {
                !trace.calls(NOTIFY_REQUEST_FINISH).is_empty()
            });
        }
        let notified = trace.calls(NOTIFY_REQUEST_FINISH).len();
        assert_eq!(notified, usize::from(!polling), "NOTIFY_REQUEST_FINISH");
        trace.assert_sane();
        self.consumed(trace, request)
            .expect("a request that mini-ACRN has taken")
    }

    /// Returns whether mini-ACRN has taken a request since `trace` began, and the value that it
    /// found in the slot if the request was a read.
    pub fn consumed(&self, trace: &Trace<'_>, request: &RaiseRequest) -> Option<Option<u64>> {
        let consumed = trace.events(kind::REQUEST_CONSUMED);
        let of_vcpu =
            |record: &&Record| (record.vmid, record.p1) == (self.vmid, request.vcpu.into());
        let record = consumed.iter().find(of_vcpu)?;
        let reads = request.slot[DIRECTION] == ACRN_IOREQ_DIR_READ as u8;
        Some(reads.then(|| value(&record.data)))
    }

    /// Makes NOTIFY_REQUEST_FINISH.
    pub fn finish(&self, vcpu: u32) -> Result<(), Errno> {
        let mut notify = acrn_ioreq_notify {
            vmid: self.vmid,
            vcpu,
            ..Default::default()
        };
        self.device
            .with(ioctl::ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &mut notify)
    }
}

/// Returns the value in a slot.
fn value(slot: &[u8]) -> u64 {
    let number = |offset: usize, len: usize| {
        let bytes = slot[offset..offset + len].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    match number(TYPE, 4) as u32 {
        ACRN_IOREQ_TYPE_MMIO => number(VALUE, 8),
        _ => number(VALUE, 4),
    }
}

#[cfg(test)]
mod tests {
    use acrn_ioctls::Width;

    use super::*;
    use crate::program::{read, write};

    #[test]
    fn values_are_where_they_belong() {
        let memory = request(1, 0, write(Target::Memory(8), Width::One, u64::MAX - 1));
        assert_eq!(value(&memory.slot), u64::MAX - 1);
        let port = request(1, 0, read(Target::Port(8), Width::One));
        assert_eq!(value(&port.slot), UNANSWERED & 0xffff_ffff);
    }
}
