// SPDX-License-Identifier: GPL-2.0

//! Tests of the parameters of hypercalls, byte by byte.

use std::mem::offset_of;

use acrn_ioctls::{RequestPage, Target, Width};
use acrn_selftests::{
    cleanup, cpus,
    device::{Argument, Device},
    guest::{Guest, create_raw},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall,
    mapping_fixture::MappingFixture,
    need,
    pattern::pattern,
    probe::Probe,
    program::{self, write},
    scripted_vm::request,
    trace::{Trace, parameter},
};
use acrn_uapi::{ioctl::*, *};
use mini_acrn_channel::{RaiseRequest, kind};
use zerocopy::{FromBytes, IntoBytes};

/// CREATE_VM passes all bytes of its argument to the hypervisor, including those that the
/// hypervisor fills in.
pub fn creation_arrives() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let page = RequestPage::new().expect("a request page");
    for round in 0..4 {
        let bytes = pattern(size_of::<acrn_vm_creation>(), round);
        let creation = acrn_vm_creation {
            reserved0: 0,
            reserved1: 0,
            ioreq_buf: page.address(),
            cpu_affinity: cpus,
            ..FromBytes::read_from_bytes(&bytes)
                .expect("read the bytes as an argument of CREATE_VM")
        };
        let device = need!(Device::open());
        let trace = Trace::start(&probe);
        let created = device.with(ACRN_IOCTL_CREATE_VM, &mut creation.clone());
        assert_eq!(created, Ok(()));
        cleanup::register(&device);
        let calls = trace.calls(hypercall::CREATE_VM);
        assert_eq!(calls.len(), 1);
        assert_eq!(
            calls[0].data[..calls[0].data_len as usize],
            *creation.as_bytes()
        );
    }
    Outcome::Passed
}

/// SET_IOREQ_BUFFER passes the request page of user space to the hypervisor.
pub fn request_page_arrives() -> Outcome {
    let probe = need!(Probe::open());
    let trace = Trace::start(&probe);
    let (_device, page, vmid) = create_raw(need!(cpus::pick(1)));
    let calls = trace.calls(hypercall::SET_IOREQ_BUFFER);
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].p1, calls[0].data_len), (vmid.into(), 8));
    let passed: u64 = parameter(&calls[0]);
    assert_eq!(passed, probe.vm(vmid).expect("the VM").request_page);
    // The hypervisor's writes to the page are visible to user space.
    for vcpu in [0, 15] {
        let port = 0x510 + vcpu;
        let silent = RaiseRequest {
            upcall: 1,
            ..request(vmid, vcpu, write(Target::Port(port), Width::Two, 0))
        };
        assert_eq!(probe.raise(silent), 0);
        let slot = page.slot(vcpu.into()).expect("a slot");
        let seen = slot.request().expect("a valid request");
        assert_eq!(seen.target, Target::Port(port));
    }
    Outcome::Passed
}

/// Commands without an argument refer to the VM of their file, and make one hypercall each.
pub fn commands_name_the_vm() -> Outcome {
    const COMMANDS: [(u32, u32); 7] = [
        (ACRN_IOCTL_START_VM, hypercall::START_VM),
        (ACRN_IOCTL_PAUSE_VM, hypercall::PAUSE_VM),
        (ACRN_IOCTL_RESET_VM, hypercall::RESET_VM),
        (ACRN_IOCTL_START_VM, hypercall::START_VM),
        (ACRN_IOCTL_PAUSE_VM, hypercall::PAUSE_VM),
        (ACRN_IOCTL_PAUSE_VM, hypercall::PAUSE_VM),
        (ACRN_IOCTL_DESTROY_VM, hypercall::DESTROY_VM),
    ];
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let guests = [masks[0], masks[1]].map(|mask| Guest::long_mode(mask, &program::long_mode(&[])));
    for guest in guests.iter().rev() {
        let device = Device::sharing(&guest.vm);
        let trace = Trace::start(&probe);
        for (request, _) in COMMANDS {
            assert_eq!(device.plain(request), Ok(()), "{request:#x}");
        }
        let calls = trace.events(kind::HYPERCALL);
        let passed: Vec<_> = calls.iter().map(|record| (record.id, record.p1)).collect();
        let vmid = u64::from(guest.vm.vmid());
        assert_eq!(passed, COMMANDS.map(|(_, id)| (id, vmid)));
    }
    Outcome::Passed
}

/// Returns an argument of SET_VCPU_REGS whose reserved fields are zero.
fn registers(round: usize) -> Vec<u8> {
    let mut bytes = pattern(size_of::<acrn_vcpu_regs>(), round);
    let at = offset_of!(acrn_vcpu_regs, vcpu_regs);
    let reserved = offset_of!(acrn_descriptor_ptr, reserved);
    let zero = [
        (offset_of!(acrn_vcpu_regs, reserved), 6),
        (at + offset_of!(acrn_regs, gdt) + reserved, 6),
        (at + offset_of!(acrn_regs, idt) + reserved, 6),
        (at + offset_of!(acrn_regs, reserved_64), 32),
        (at + offset_of!(acrn_regs, reserved_32), 12),
    ];
    for (begin, len) in zero {
        bytes[begin..begin + len].fill(0);
    }
    bytes
}

/// SET_VCPU_REGS passes all bytes of its argument to the hypervisor.
pub fn registers_arrive() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    for round in 0..4 {
        let bytes = registers(round);
        memory.write_bytes(0, &bytes);
        let trace = Trace::start(&fixture.probe);
        // The result does not matter, because the registers may be invalid.
        let argument = Argument::At(&memory, 0);
        let _ = fixture.device.ioctl(ACRN_IOCTL_SET_VCPU_REGS, argument);
        let calls = trace.calls(hypercall::SET_VCPU_REGS);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].p1, u64::from(fixture.vmid));
        assert_eq!(calls[0].data[..calls[0].data_len as usize], bytes);
    }
    fixture.destroy();
    Outcome::Passed
}
