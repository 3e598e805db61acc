// SPDX-License-Identifier: GPL-2.0

//! A User VM with memory and a program.

use acrn_ioctls::{
    Direction, Hsm, IoEvent, IoEventAddress, MemoryAttributes, Request, RequestPage, Target, Vm,
};
use acrn_uapi::{acrn_descriptor_ptr, acrn_gp_regs, acrn_regs, acrn_vcpu_regs};

use crate::{
    cleanup,
    device::{self, Device},
    guest_memory::GuestMemory,
    program::{DONE_PORT, ENTRY, REAL_MODE_ENTRY},
};

/// Bytes of guest memory, from address 0.
pub const MEMORY: usize = 2 << 20;

const GDT: u64 = 0x500;
/// PML4, PDPT, and a page directory for each of the first 4 GiB.
const PAGE_TABLES: u64 = 0x1000;
const STACK_TOP: u64 = 0x7ff0;
/// The interrupt descriptor table, empty except for [`Guest::set_handler`].
const IDT: u64 = 0x9000;
/// Selector of 64-bit code.
const CODE: u16 = 0x08;
const DATA: u16 = 0x10;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
const CR0_LONG_MODE: u64 = 1 << 31 | 1 << 5 | 1 << 4 | 1;
const CR0_REAL_MODE: u64 = 1 << 5 | 1 << 4;
const CR0_PROTECTED_MODE: u64 = CR0_REAL_MODE | 1;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 1 << 10 | 1 << 8;
/// Access rights in the format of VMX: code, readable, accessed, present; then with the bits for
/// 64-bit code with page granularity.
const CODE_ACCESS: u32 = 0x9b;
const CODE_ACCESS_64: u32 = 0xa09b;
/// The same with the bits for 32-bit code with page granularity.
const CODE_ACCESS_32: u32 = 0xc09b;

/// A VM, its request page and its memory.
pub struct Guest {
    /// The VM.
    pub vm: Vm,
    /// The VM's request page.
    pub page: RequestPage,
    /// The VM's memory.
    pub memory: GuestMemory,
}

impl Guest {
    /// Creates a VM with memory and an ioreq client on the physical CPUs `cpus`.
    pub fn new(cpus: u64) -> Self {
        let guest = Self::without_client(cpus);
        guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
        guest
    }

    /// Creates a VM with memory, but without an ioreq client.
    pub fn without_client(cpus: u64) -> Self {
        Self::with_flags(cpus, 0)
    }

    /// Creates a VM with memory and these creation flags, but without an ioreq client.
    pub fn with_flags(cpus: u64, flags: u64) -> Self {
        let page = RequestPage::new().expect("a request page");
        let hsm = Hsm::open().expect("/dev/acrn_hsm");
        let vm = create(hsm, &page, cpus, flags);
        let memory = GuestMemory::anonymous(MEMORY);
        // SAFETY: The memory is only accessed by volatile reads and writes, see `GuestMemory`.
        unsafe { vm.set_memory(0, memory.address(), MEMORY as u64, MemoryAttributes::RAM) }
            .expect("SET_MEMSEG");
        Self { vm, page, memory }
    }

    /// Creates a VM whose vCPU 0 runs `program` in long mode once it is started.
    pub fn long_mode(cpus: u64, program: &[u8]) -> Self {
        let guest = Self::new(cpus);
        guest.load_long_mode(program);
        guest
    }

    /// Loads `program` for vCPU 0, which starts in long mode.
    pub fn load_long_mode(&self, program: &[u8]) {
        let registers = load_long_mode(&self.memory, program);
        self.vm.set_vcpu_regs(&registers).expect("SET_VCPU_REGS");
    }

    /// Loads `program` for vCPU 0, which starts in real mode.
    pub fn load_real_mode(&self, program: &[u8]) {
        self.memory.write_bytes(REAL_MODE_ENTRY as usize, program);
        self.vm.set_vcpu_regs(&real_mode()).expect("SET_VCPU_REGS");
    }

    /// Loads `program` for vCPU 0, which starts in 32-bit protected mode without paging and without
    /// an interrupt descriptor table.
    pub fn load_protected_mode(&self, program: &[u8]) {
        self.memory.write_bytes(ENTRY as usize, program);
        let regs = protected_mode();
        self.vm.set_vcpu_regs(&regs).expect("SET_VCPU_REGS");
    }

    /// Installs the code at `handler` as the handler of an interrupt or exception vector of a long
    /// mode program.
    pub fn set_handler(&self, vector: u8, handler: u64) {
        set_handler(&self.memory, vector, handler);
    }

    /// Closes the file and leaves the VM to the driver.
    pub fn close(self) {
        cleanup::unregister(&self.vm);
    }

    /// Serves requests until `done` vCPUs have reported that they are done. `answer` returns the
    /// values for reads. Returns the requests, without those that report the end.
    pub fn serve(
        &self,
        done: usize,
        answer: impl FnMut(u32, Request) -> u64,
    ) -> Vec<(u32, Request)> {
        let mut left = done;
        self.serve_until(answer, |_, request| {
            if request.target == Target::Port(DONE_PORT) {
                left -= 1;
            }
            left == 0
        })
    }

    /// Serves `count` requests, with 0 for reads.
    pub fn serve_requests(&self, count: usize) -> Vec<(u32, Request)> {
        let mut left = count;
        self.serve_until(
            |_, _| 0,
            |_, _| {
                left -= 1;
                left == 0
            },
        )
    }

    /// Serves requests until `last` returns true for one.
    pub fn serve_until(
        &self,
        mut answer: impl FnMut(u32, Request) -> u64,
        mut last: impl FnMut(u32, Request) -> bool,
    ) -> Vec<(u32, Request)> {
        let mut asked = Vec::new();
        loop {
            self.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
            for (vcpu, slot) in self.page.slots().filter(|(_, slot)| slot.is_ours()) {
                let request = slot.request().expect("a valid request");
                if request.direction == Direction::Read {
                    slot.answer(answer(vcpu, request));
                }
                let ends = last(vcpu, request);
                if request.target != Target::Port(DONE_PORT) {
                    asked.push((vcpu, request));
                }
                self.vm
                    .notify_request_finish(vcpu)
                    .expect("NOTIFY_REQUEST_FINISH");
                if ends {
                    return asked;
                }
            }
        }
    }
}

/// Returns a range of 4 bytes at a port, for IOEVENTFD.
pub const fn doorbell(port: u16) -> IoEvent {
    IoEvent {
        address: IoEventAddress::Pio(port),
        len: 4,
        datamatch: None,
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        cleanup::destroy(&self.vm);
    }
}

/// Creates a VM on the physical CPUs `cpus`.
fn create(hsm: Hsm, page: &RequestPage, cpus: u64, flags: u64) -> Vm {
    let creation = device::creation(page, cpus);
    let config = acrn_ioctls::VmConfig {
        name: acrn_ioctls::VmName::from_bytes(creation.uuid),
        cpu_affinity: cpus,
        flags,
    };
    let vm = hsm.create_vm(&config, page).expect("CREATE_VM");
    cleanup::register(&vm);
    vm
}

/// Creates a VM on the physical CPUs `cpus` for raw requests. The request page must live as long as
/// the VM.
pub fn create_raw(cpus: u64) -> (Device, RequestPage, u16) {
    create_raw_with_flags(cpus, 0)
}

/// As [`create_raw`], with flags of CREATE_VM.
pub fn create_raw_with_flags(cpus: u64, flags: u64) -> (Device, RequestPage, u16) {
    let page = RequestPage::new().expect("a request page");
    let device = Device::open().expect("the device");
    let created = device
        .create_with_flags(&page, cpus, flags)
        .expect("CREATE_VM");
    (device, page, created.vmid)
}

/// Loads `program` at [`ENTRY`] of guest memory that begins at address 0, with the tables of long
/// mode. Returns the initial registers of vCPU 0.
pub fn load_long_mode(memory: &GuestMemory, program: &[u8]) -> acrn_vcpu_regs {
    memory.write_bytes(ENTRY as usize, program);
    let write = |address: u64, value: u64| memory.write::<u64>(address as usize, value);
    write(GDT + u64::from(CODE), 0x00af_9b00_0000_ffff);
    write(GDT + u64::from(DATA), 0x00cf_9300_0000_ffff);
    let directories = PAGE_TABLES + 0x1000;
    write(PAGE_TABLES, directories | PRESENT_WRITABLE);
    for directory in 0..4 {
        let table = directories + 0x1000 * (1 + directory);
        write(directories + 8 * directory, table | PRESENT_WRITABLE);
        for entry in 0..512 {
            let page = (directory * 512 + entry) << 21;
            write(table + 8 * entry, page | LARGE | PRESENT_WRITABLE);
        }
    }
    long_mode()
}

/// Returns registers for vCPU 0 at [`ENTRY`] in long mode, with the first 4 GiB identity-mapped and
/// interrupts disabled.
fn long_mode() -> acrn_vcpu_regs {
    vcpu0(acrn_regs {
        gdt: acrn_descriptor_ptr {
            limit: DATA + 7,
            base: GDT,
            ..Default::default()
        },
        idt: acrn_descriptor_ptr {
            limit: 0xfff,
            base: IDT,
            ..Default::default()
        },
        cr0: CR0_LONG_MODE,
        cr4: CR4_PAE,
        cr3: PAGE_TABLES,
        ia32_efer: EFER_LONG_MODE,
        ..flat(CODE_ACCESS_64)
    })
}

/// Returns registers for vCPU 0 at [`ENTRY`] in protected mode without paging, with interrupts
/// disabled.
fn protected_mode() -> acrn_vcpu_regs {
    vcpu0(acrn_regs {
        cr0: CR0_PROTECTED_MODE,
        ..flat(CODE_ACCESS_32)
    })
}

/// Returns the registers that both modes share: segments that cover the whole address space.
fn flat(cs_ar: u32) -> acrn_regs {
    acrn_regs {
        gprs: acrn_gp_regs {
            rsp: STACK_TOP,
            ..Default::default()
        },
        rip: ENTRY,
        rflags: 2,
        cs_ar,
        cs_limit: u32::MAX,
        cs_sel: CODE,
        ss_sel: DATA,
        ds_sel: DATA,
        es_sel: DATA,
        fs_sel: DATA,
        gs_sel: DATA,
        ..Default::default()
    }
}

/// Returns registers for vCPU 0 at [`REAL_MODE_ENTRY`] in real mode, with interrupts disabled.
pub fn real_mode() -> acrn_vcpu_regs {
    vcpu0(acrn_regs {
        gprs: acrn_gp_regs {
            rsp: STACK_TOP,
            ..Default::default()
        },
        idt: acrn_descriptor_ptr {
            limit: 0x3ff,
            ..Default::default()
        },
        rip: REAL_MODE_ENTRY,
        cr0: CR0_REAL_MODE,
        rflags: 2,
        cs_ar: CODE_ACCESS,
        cs_limit: 0xffff,
        ..Default::default()
    })
}

/// Installs the code at `handler` as the handler of a vector in the memory of a long mode guest.
pub fn set_handler(memory: &GuestMemory, vector: u8, handler: u64) {
    let entry = (IDT + 16 * u64::from(vector)) as usize;
    let (low, high) = gate(handler);
    memory.write::<u64>(entry, low);
    memory.write::<u64>(entry + 8, high);
}

/// Returns an interrupt gate of long mode.
fn gate(handler: u64) -> (u64, u64) {
    const PRESENT_INTERRUPT: u64 = 0x8e00;
    let low = handler & 0xffff | u64::from(CODE) << 16 | PRESENT_INTERRUPT << 32;
    (low | (handler >> 16 & 0xffff) << 48, handler >> 32)
}

fn vcpu0(vcpu_regs: acrn_regs) -> acrn_vcpu_regs {
    acrn_vcpu_regs {
        vcpu_regs,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::gate;

    #[test]
    fn gates() {
        assert_eq!(gate(0x1_2345_8040), (0x2345_8e00_0008_8040, 1));
    }
}
