// SPDX-License-Identifier: GPL-2.0

//! A VM that is made and driven by 32-bit requests only.

use std::mem::offset_of;

use acrn_ioctls::{RequestPage, Target, Width};
use acrn_selftests::{
    cpus,
    device::{Argument, creation},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall,
    mapping_fixture::ALL_RIGHTS,
    need,
    probe::Probe,
    program::{self, DONE_PORT, REAL_MODE_ENTRY, read},
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::compat_device::CompatDevice;

/// The VM.
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
    /// CREATE_VM. The error says why the test has to be skipped.
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

    /// PAUSE_VM and DESTROY_VM.
    pub fn destroy(&self) {
        self.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        self.device
            .plain(ACRN_IOCTL_DESTROY_VM)
            .expect("DESTROY_VM");
        assert!(self.probe.vm(self.vmid).is_none());
    }

    /// Serves requests until the guest is done; the values that it was given are `answer`.
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

/// Bytes of `acrn_vcpu_regs` on i386, where the end is not padded.
const VCPU_REGS: usize = size_of::<acrn_vcpu_regs>() - 4;
/// Its SET_VCPU_REGS, which has another number for that.
const SET_VCPU_REGS: u32 = ACRN_IOCTL_SET_VCPU_REGS - (4 << 16);

/// `acrn_vcpu_regs` of vCPU 0 at [`REAL_MODE_ENTRY`] in real mode. It has padding, so that it is put together
/// from its fields.
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

/// The whole life of a VM, with a guest that runs, twice.
pub fn life_of_a_vm() -> Outcome {
    const RESULTS: usize = 0xa000;
    let machine = need!(Machine::new());
    let device = &machine.device;
    let memory = GuestMemory::low(16 * PAGE);
    let segment = acrn_vm_memmap {
        type_: ACRN_MEMMAP_RAM,
        attr: ACRN_MEM_TYPE_WB | ALL_RIGHTS,
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
    // As i386 has them, and as a program has them that was built to agree with 64-bit ones.
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

/// The part of the structure that a 32-bit program does not have is zero for the hypervisor, not what was in that memory
/// before.
pub fn end_of_registers() -> Outcome {
    let machine = need!(Machine::new());
    let before = GuestMemory::anonymous(PAGE);
    for offset in 0..size_of::<acrn_vcpu_regs>() {
        before.write::<u8>(offset, 0xff);
    }
    for _ in 0..16 {
        // Refused, and the driver's copy of it is free again.
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
        let told = &calls[0].data[..calls[0].data_len as usize];
        assert_eq!(told[VCPU_REGS..], [0; 4]);
    }
    machine.destroy();
    Outcome::Passed
}

/// The segment's bytes: the union in it keeps it from being taken for bytes as it is.
fn memmap_bytes(segment: &acrn_vm_memmap) -> Vec<u8> {
    let words = [
        u64::from(segment.attr) << 32 | u64::from(segment.type_),
        segment.user_vm_pa,
        // SAFETY: both members of the union are numbers of 64 bits.
        unsafe { segment.__bindgen_anon_1.vma_base },
        segment.len,
    ];
    words.map(u64::to_le_bytes).concat()
}

/// Without a VM: as for 64-bit programs.
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
