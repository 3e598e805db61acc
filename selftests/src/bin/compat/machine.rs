// SPDX-License-Identifier: GPL-2.0

//! A VM that is created and used by 32-bit requests only.

use std::mem::offset_of;

use acrn_ioctls::{RequestPage, Target, Width};
use acrn_selftests::{
    cpus,
    device::{Argument, creation},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall, need,
    probe::Probe,
    program::{self, DONE_PORT, REAL_MODE_ENTRY, read},
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::compat_device::CompatDevice;

/// A VM of a 32-bit program.
pub struct Machine {
    /// The hypervisor's side.
    pub probe: Probe,
    /// The driver's side.
    pub device: CompatDevice,
    /// The VM's id.
    pub vmid: u16,
    page: RequestPage,
}

impl Machine {
    /// Makes CREATE_VM. The error says why the test must be skipped.
    pub fn new() -> Result<Self, String> {
        let probe = Probe::open()?;
        let cpus = cpus::pick(1)?;
        let device = CompatDevice::open()?;
        let page = RequestPage::new().expect("a request page");
        let asked = creation(&page, cpus);
        let created = device
            .with(ACRN_IOCTL_CREATE_VM, &asked)
            .expect("CREATE_VM");
        device.learn();
        assert_eq!(created.vcpu_num, 1);
        assert!(probe.vm(created.vmid).is_some());
        Ok(Self {
            probe,
            device,
            vmid: created.vmid,
            page,
        })
    }

    /// Makes PAUSE_VM and DESTROY_VM.
    pub fn destroy(&self) {
        self.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        self.device
            .plain(ACRN_IOCTL_DESTROY_VM)
            .expect("DESTROY_VM");
        assert!(self.probe.vm(self.vmid).is_none());
    }

    /// Serves requests with the value `answer` until the guest is done.
    fn serve(&self, answer: u64) {
        loop {
            self.device
                .plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT)
                .expect("ATTACH_IOREQ_CLIENT");
            for (vcpu, slot) in self.page.slots().filter(|(_, slot)| slot.is_ours()) {
                let request = slot.request().expect("a request that makes sense");
                slot.answer(answer);
                let notify = acrn_ioreq_notify {
                    vmid: self.vmid,
                    reserved: 0,
                    vcpu,
                };
                self.device
                    .with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &notify)
                    .expect("NOTIFY_REQUEST_FINISH");
                if request.target == Target::Port(DONE_PORT) {
                    return;
                }
            }
        }
    }
}

/// Bytes of `acrn_vcpu_regs` on i386, where its end is not padded.
const VCPU_REGS: usize = size_of::<acrn_vcpu_regs>() - 4;
/// SET_VCPU_REGS of i386, whose number contains that size.
const SET_VCPU_REGS: u32 = ACRN_IOCTL_SET_VCPU_REGS - (4 << 16);

/// Returns `acrn_vcpu_regs` of vCPU 0 at [`REAL_MODE_ENTRY`] in real mode. The structure has
/// padding, so its bytes are written field by field.
fn registers() -> [u8; size_of::<acrn_vcpu_regs>()] {
    const STATE: usize = offset_of!(acrn_vcpu_regs, vcpu_regs);
    let mut bytes = [0; size_of::<acrn_vcpu_regs>()];
    let mut put = |offset: usize, value: &[u8]| {
        bytes[STATE + offset..][..value.len()].copy_from_slice(value);
    };
    put(offset_of!(acrn_regs, rip), &REAL_MODE_ENTRY.to_le_bytes());
    put(offset_of!(acrn_regs, cr0), &0x30u64.to_le_bytes());
    put(offset_of!(acrn_regs, rflags), &2u64.to_le_bytes());
    put(offset_of!(acrn_regs, cs_ar), &0x9bu32.to_le_bytes());
    put(offset_of!(acrn_regs, cs_limit), &0xffffu32.to_le_bytes());
    bytes
}

/// Creates a VM, runs a guest in it twice, and destroys it.
pub fn life_of_a_vm() -> Outcome {
    const RESULTS: usize = 0xa000;
    let machine = need!(Machine::new());
    let device = &machine.device;
    let memory = GuestMemory::low(16 * PAGE);
    let segment = acrn_vm_memmap {
        type_: ACRN_MEMMAP_RAM,
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_RWX,
        user_vm_pa: 0,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            vma_base: memory.address(),
        },
        len: memory.len() as u64,
    };
    let bytes = memmap_bytes(&segment);
    device
        .bytes(ACRN_IOCTL_SET_MEMSEG, &bytes)
        .expect("SET_MEMSEG");
    let code = program::real_mode(RESULTS as u64, &[read(Target::Port(0x510), Width::Four)]);
    memory.write_bytes(REAL_MODE_ENTRY as usize, &code);
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    let registers = registers();
    // The first request has the layout of i386. The second has that of a program that was compiled
    // to agree with 64-bit programs.
    let ways = [
        (SET_VCPU_REGS, &registers[..VCPU_REGS]),
        (ACRN_IOCTL_SET_VCPU_REGS, &registers[..]),
    ];
    for ((request, registers), round) in ways.into_iter().zip([0x1234_5678, 0xfedc_ba98]) {
        device.bytes(request, registers).expect("SET_VCPU_REGS");
        device.plain(ACRN_IOCTL_START_VM).expect("START_VM");
        machine.serve(round);
        assert_eq!(u64::from(memory.read::<u32>(RESULTS)), round);
        device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        device
            .plain(ACRN_IOCTL_CLEAR_VM_IOREQ)
            .expect("CLEAR_VM_IOREQ");
        device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
    }
    device
        .plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
        .expect("DESTROY_IOREQ_CLIENT");
    device
        .bytes(ACRN_IOCTL_UNSET_MEMSEG, &bytes)
        .expect("UNSET_MEMSEG");
    machine.destroy();
    Outcome::Passed
}

/// The hypervisor gets zeros for the part of the structure that a 32-bit program does not pass, not
/// earlier contents of the memory.
pub fn end_of_registers() -> Outcome {
    let machine = need!(Machine::new());
    let before = GuestMemory::anonymous(PAGE);
    for offset in 0..size_of::<acrn_vcpu_regs>() {
        before.write::<u8>(offset, 0xff);
    }
    for _ in 0..16 {
        // The request is refused, and the driver's copy is freed.
        let refused = Argument::At(&before, 0);
        let refused = machine
            .device
            .wide()
            .ioctl(ACRN_IOCTL_SET_VCPU_REGS, refused);
        assert_eq!(refused, Err(Errno::EINVAL));
        let trace = Trace::start(&machine.probe);
        machine
            .device
            .bytes(SET_VCPU_REGS, &registers()[..VCPU_REGS])
            .expect("SET_VCPU_REGS");
        let calls = trace.calls(hypercall::SET_VCPU_REGS);
        let received = &calls[0].data[..calls[0].data_len as usize];
        assert_eq!(received[VCPU_REGS..], [0; 4]);
    }
    machine.destroy();
    Outcome::Passed
}

/// Returns the bytes of a segment. Its union prevents it from being viewed as bytes directly.
fn memmap_bytes(segment: &acrn_vm_memmap) -> Vec<u8> {
    let words = [
        u64::from(segment.attr) << 32 | u64::from(segment.type_),
        segment.user_vm_pa,
        // SAFETY: Both members of the union are 64-bit numbers.
        unsafe { segment.__bindgen_anon_1.vma_base },
        segment.len,
    ];
    words.map(u64::to_le_bytes).concat()
}

/// Requests on a file without a VM fail as for 64-bit programs.
pub fn without_a_vm() -> Outcome {
    let device = need!(CompatDevice::open());
    for (request, name) in ALL {
        if *request != ACRN_IOCTL_CREATE_VM {
            assert_eq!(device.plain(*request), Err(Errno::EINVAL), "{name}");
        }
    }
    assert_eq!(device.plain(ACRN_IOCTL_CREATE_VM), Err(Errno::EFAULT));
    Outcome::Passed
}
