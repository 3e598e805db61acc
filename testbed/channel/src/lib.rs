// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The trace and script channel between tests and mini-ACRN.
//!
//! A test in the Service VM reads through it which hypercalls and events reached mini-ACRN, and
//! scripts mini-ACRN's future behaviour.
//!
//! The channel is a range of hypercalls that real ACRN answers with `-ENOTTY`. R8 holds the id, RDI
//! the guest-physical address of a 4 KiB page, RSI is 0, and RAX returns 0 or a negative errno.
//! Every structure of this crate is at the start of that page, is little-endian and has no padding.
//! Only the Service VM may call.
#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Reads trace records. The page holds a [`TraceRead`], in and out.
pub const TRACE_READ: u64 = 0x8000_00F0;
/// Reads the state of all User VMs. The page holds a [`VmList`], out.
pub const VM_LIST: u64 = 0x8000_00F1;
/// Looks up an address of a User VM. The page holds a [`MappingQuery`], in and out. Fails with
/// `EINVAL` if there is no such VM.
pub const MAPPING_QUERY: u64 = 0x8000_00F2;
/// Scripts the result of future hypercalls. The page holds a [`Fault`]. Fails with `ENOSPC` if 16
/// faults wait.
pub const FAULT_PUSH: u64 = 0x8000_00F3;
/// Removes all faults that wait.
pub const FAULT_CLEAR: u64 = 0x8000_00F4;
/// Raises an I/O request as if a vCPU had raised it. The page holds a [`RaiseRequest`].
///
/// Fails with `EINVAL` if there is no such VM or slot or if no request page is set, and with
/// `EBUSY` if the slot is not FREE.
pub const RAISE_REQUEST: u64 = 0x8000_00F5;
/// Fires the upcall without a request.
pub const RAISE_UPCALL: u64 = 0x8000_00F6;
/// Writes or reads memory of a User VM through its nested page tables. The page holds a
/// [`GuestAccess`], in and out. Fails with `EFAULT` if the memory is not mapped.
pub const GUEST_ACCESS: u64 = 0x8000_00F7;
/// Holds a future hypercall before it is carried out, until [`CALL_RELEASE`]. The page holds a
/// [`Hold`].
///
/// Other hypercalls continue, on the same CPU only if its interrupts are enabled. A second hold
/// replaces the first.
pub const CALL_HOLD: u64 = 0x8000_00F8;
/// Releases the hypercall that is held, and cancels a hold that has not matched.
pub const CALL_RELEASE: u64 = 0x8000_00F9;
/// Announces one more broken rule if RDI is 1. Cancels the announced ones that have not happened if
/// RDI is 0.
pub const RULE_EXPECT: u64 = 0x8000_00FA;
/// Makes a passed-through PCI device read or write memory. The page holds a [`DeviceDma`], in and
/// out. Fails with `EFAULT` if the device has no translation for the address, or is assigned to no
/// VM.
pub const DEVICE_DMA: u64 = 0x8000_00FB;
/// Sets whether SET_MEMORY_REGIONS kicks the vCPUs that have to flush their translations: not if
/// RDI is 1, again if RDI is 0.
pub const KICKS_HOLD: u64 = 0x8000_00FC;

/// Sets a trap for a slot: RDI holds the VM id in bits 15:0 and the vCPU above.
///
/// When the Service VM next makes the slot COMPLETE, mini-ACRN consumes the request before the next
/// instruction of that CPU, and toggles `completion_polling`. The trap applies to the calling CPU
/// at once, to other CPUs from their next exit on. If RDI is [`NO_SLOT`], it removes the trap.
/// Fails with `EINVAL` if there is no such slot.
pub const SLOT_TRAP: u64 = 0x8000_00FD;
/// Value of RDI that removes the trap of [`SLOT_TRAP`].
pub const NO_SLOT: u64 = u64::MAX;
/// Reads the account of the time spent in mini-ACRN, and resets it. The page holds an [`Account`],
/// out.
pub const ACCOUNT_TAKE: u64 = 0x8000_00FE;
/// Makes the CPUs of the Service VM slow after they have sent an IPI: the next instructions, until
/// interrupts are enabled, take RDI microseconds each. Ends that if RDI is 0. Applies to the
/// calling CPU at once, to other CPUs from their next exit on.
pub const IPI_SLOW: u64 = 0x8000_00FF;

/// Size in bytes of the page of a call.
pub const PAGE_SIZE: usize = 4096;
/// Maximum number of parameter bytes of a record.
pub const RECORD_DATA: usize = 432;
/// Number of records that follow the header of a [`TraceRead`].
pub const RECORDS_PER_READ: usize = 8;
/// Number of records that mini-ACRN keeps. A new record replaces the oldest.
pub const TRACE_CAPACITY: usize = 4096;
/// Maximum number of User VMs: one for each CPU that mini-ACRN reserves for them. ACRN supports 16
/// VMs, the Service VM included.
pub const MAX_VMS: usize = 8;
/// `vmid` of a record that belongs to no VM, or of a fault for any VM.
pub const ANY_VM: u16 = 0xFFFF;

/// Kinds of a [`Record`].
pub mod kind {
    /// A hypercall returned. `id`, `p1`, `p2` and `result` are its own. `data` holds the parameter
    /// structure as it was on entry.
    pub const HYPERCALL: u16 = 1;
    /// An entry of a SET_MEMORY_REGIONS array, recorded before its HYPERCALL record. `data` holds
    /// its 32 bytes, `result` is that of the entry.
    pub const MEMORY_REGION: u16 = 2;
    /// A slot became PENDING. `p1` is the vCPU id, `data` holds the 256 bytes of the slot.
    pub const REQUEST_PENDING: u16 = 3;
    /// A slot was consumed (COMPLETE to FREE). `p1` is the vCPU id, `data` holds the 256 bytes of
    /// the slot.
    pub const REQUEST_CONSUMED: u16 = 4;
    /// mini-ACRN sent the upcall vector to the Service VM.
    pub const UPCALL: u16 = 5;
    /// A vCPU woke early, while its slot was not COMPLETE, because of a spurious
    /// NOTIFY_REQUEST_FINISH. `p1` is the vCPU id, `data` holds the slot.
    pub const REQUEST_WEDGED: u16 = 6;
    /// An interrupt was delivered to a User VM. `p1` is the vCPU id, `p2` the vector.
    pub const INTERRUPT: u16 = 7;
    /// A vCPU stopped for good. `p1` is the vCPU id, `p2` the SVM exit code, `result` RIP.
    pub const VCPU_FAILED: u16 = 8;
    /// The Service VM broke a rule of ACRN: ACRN would halt the machine or use freed memory. `id`
    /// is the hypercall, `result` is 1 if the broken rule was announced, `data` holds the rule in
    /// words.
    pub const RULE_BROKEN: u16 = 9;
}

/// A record of the trace.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Record {
    /// Sequence number since boot, from 0 without gaps.
    pub seq: u64,
    /// TSC at the time of the record.
    pub time: u64,
    /// One of [`kind`].
    pub kind: u16,
    /// The VM that the record is about, [`ANY_VM`] if none.
    pub vmid: u16,
    /// Hypercall id, 0 if none.
    pub id: u32,
    /// First parameter.
    pub p1: u64,
    /// Second parameter.
    pub p2: u64,
    /// Result.
    pub result: i64,
    /// Number of valid bytes of `data`.
    pub data_len: u32,
    /// 1 if the result was scripted by a [`Fault`].
    pub scripted: u32,
    /// Parameter structure or slot.
    pub data: [u8; RECORD_DATA],
}

/// In and out: parameter of [`TRACE_READ`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TraceRead {
    /// In: first record to read. Out: first record returned, a later one if that record is lost.
    pub seq: u64,
    /// Out: number of records returned, 0 if there are no newer ones.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: sequence number of the next record.
    pub next: u64,
    /// Zero.
    pub reserved2: u64,
}
// The records follow the header: `[Record; RECORDS_PER_READ]` at offset 32.
const _: () = assert!(size_of::<TraceRead>() + RECORDS_PER_READ * size_of::<Record>() <= PAGE_SIZE);

/// States of a VM, with ACRN's names.
pub mod vm_state {
    /// The VM does not exist.
    pub const OFF: u8 = 0;
    /// The VM is created or reset, and not started.
    pub const CREATED: u8 = 1;
    /// The vCPUs run.
    pub const RUNNING: u8 = 2;
    /// The VM is powering off.
    pub const READY_TO_POWEROFF: u8 = 3;
    /// The vCPUs are blocked.
    pub const PAUSED: u8 = 4;
}

/// The state of a VM.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmInfo {
    /// VM id, relative to the Service VM.
    pub vmid: u16,
    /// Number of vCPUs.
    pub vcpu_num: u16,
    /// One of [`vm_state`].
    pub state: u8,
    /// 1 if the request page is set.
    pub has_request_page: u8,
    /// Number of assigned devices: PCI devices, MMIO devices, emulated devices and routed interrupt
    /// lines.
    pub devices: u16,
    /// Physical address of the request page.
    pub request_page: u64,
    /// Bytes of Service VM memory that the nested page tables map, devices of mini-ACRN excluded.
    pub mapped_bytes: u64,
    /// Physical CPUs, bit n for CPU n.
    pub cpu_affinity: u64,
    /// The 16 bytes that CREATE_VM passed as the name.
    pub name: [u8; 16],
}

/// Out: parameter of [`VM_LIST`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmList {
    /// Number of valid entries of `vms`. VMs that are OFF have none.
    pub count: u32,
    /// Physical CPUs that are free for User VMs, bit n for CPU n.
    pub free_cpus: u32,
    /// Number of broken rules since boot that no test had announced.
    pub broken_rules: u64,
    /// Number of announced broken rules ([`RULE_EXPECT`]) that have not happened yet.
    pub expected_rules: u32,
    /// 1 if a hypercall is held ([`CALL_HOLD`]).
    pub held: u32,
    /// The VMs.
    pub vms: [VmInfo; MAX_VMS],
}
const _: () = assert!(size_of::<VmList>() <= PAGE_SIZE);

/// In and out: parameter of [`MAPPING_QUERY`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MappingQuery {
    /// In: VM id.
    pub vmid: u16,
    /// Out: 1 if the address is mapped.
    pub mapped: u8,
    /// Out: 1 if the page is writable.
    pub writable: u8,
    /// Out: 1 if the page is executable.
    pub executable: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// In: address in the User VM.
    pub user_vm_pa: u64,
    /// Out: address in the Service VM.
    pub service_vm_pa: u64,
    /// Out: caching type of the region (`ACRN_MEM_TYPE_*`).
    pub mem_type: u64,
}

/// In: parameter of [`FAULT_PUSH`].
///
/// The first `skip` matching hypercalls pass. Each of the next `count` returns `result` and has no
/// other effect. SET_MEMORY_REGIONS first processes `entry` entries.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Fault {
    /// Hypercall id.
    pub id: u32,
    /// Target VM, or [`ANY_VM`].
    pub vmid: u16,
    /// 1: the hypercall is carried out, and `result` replaces its result.
    pub after: u8,
    /// 1: CREATE_VM is carried out and returns `value` as `vcpu_num`. 2: CREATE_VM returns `value`
    /// as `vmid`, and is carried out only if `after` is 1.
    pub patch: u8,
    /// Number of matching hypercalls that pass first.
    pub skip: u32,
    /// Number of matching hypercalls that fail.
    pub count: u32,
    /// Number of entries of a SET_MEMORY_REGIONS array that are processed before the failure.
    pub entry: u32,
    /// The value for `patch`.
    pub value: u32,
    /// The result, for example -22.
    pub result: i64,
}

/// In: parameter of [`RAISE_REQUEST`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RaiseRequest {
    /// VM id.
    pub vmid: u16,
    /// Slot, which is the vCPU id. It may be a vCPU that the VM does not have, up to 15.
    pub vcpu: u16,
    /// 1: mini-ACRN does not fire the upcall. 2: it fires the upcall twice.
    pub upcall: u32,
    /// 1: mini-ACRN writes `slot`, its `processed` field included, even if the slot is not FREE.
    pub force: u32,
    /// Zero.
    pub reserved: u32,
    /// The 256 bytes of the slot (`struct acrn_io_request`).
    ///
    /// `processed` is set to PENDING unless `force` is 1. No vCPU waits for the request. mini-ACRN
    /// makes the slot FREE at NOTIFY_REQUEST_FINISH, or at the next channel call that finds it
    /// COMPLETE.
    pub slot: [u8; 256],
}

/// In and out: parameter of [`GUEST_ACCESS`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GuestAccess {
    /// VM id.
    pub vmid: u16,
    /// 1: writes `data`. 0: reads into `data`.
    pub write: u16,
    /// Length in bytes, 1 to 2048, inside one 4 KiB page.
    pub len: u32,
    /// Address in the User VM.
    pub user_vm_pa: u64,
    /// The data.
    pub data: [u8; 2048],
}

/// In: parameter of [`CALL_HOLD`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Hold {
    /// Hypercall id.
    pub id: u32,
    /// Target VM, or [`ANY_VM`].
    pub vmid: u16,
    /// Time in milliseconds after which mini-ACRN releases the hypercall, 0 for no limit.
    pub limit_ms: u16,
    /// Number of matching hypercalls that pass first.
    pub skip: u32,
}

/// In and out: parameter of [`DEVICE_DMA`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DeviceDma {
    /// Physical PCI address of the device, as ASSIGN_PCIDEV passed it.
    pub phys_bdf: u16,
    /// 1: writes `data`. 0: reads into `data`.
    pub write: u16,
    /// Length in bytes, 1 to 2048, inside one 4 KiB page.
    pub len: u32,
    /// Address in the User VM.
    pub user_vm_pa: u64,
    /// The data.
    pub data: [u8; 2048],
}

/// A line of an [`Account`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Spent {
    /// TSC ticks from exits to the next entry of the same vCPU. An exit after which the vCPU
    /// stopped does not count.
    pub ticks: u64,
    /// Number of exits.
    pub exits: u64,
}

/// Out: parameter of [`ACCOUNT_TAKE`], the time since the last call.
///
/// Hypercalls are accounted by the low byte of their ids, other exits to lines of their own.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Account {
    /// The lines.
    pub lines: [Spent; ACCOUNT_LINES],
}
const _: () = assert!(size_of::<Account>() <= PAGE_SIZE);

/// Number of lines of an [`Account`].
pub const ACCOUNT_LINES: usize = 256;
/// The line of User VMs: all of their exits, without the time that their CPUs slept.
pub const ACCOUNT_USER: usize = 0;
/// The line of the Service VM's exits other than hypercalls.
pub const ACCOUNT_SERVICE: usize = 0xFF;
