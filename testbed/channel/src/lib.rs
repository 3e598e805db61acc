// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The trace and script channel: how a test in the Service VM sees what reached mini-ACRN, and tells it
//! what to do next.
//!
//! The channel is a range of hypercalls that real ACRN answers with -ENOTTY: r8 = id, rdi = guest-physical
//! address of one 4 KiB page, rsi = 0; rax = 0 or a negative errno. Every structure here lies at the start
//! of that page, is little-endian and has no padding. Only the Service VM may call.
#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Reads trace records: the page holds [`TraceRead`] on the way in and on the way out.
pub const TRACE_READ: u64 = 0x8000_00F0;
/// Reads the state of all User VMs: the page holds [`VmList`] on the way out.
pub const VM_LIST: u64 = 0x8000_00F1;
/// Looks up one User VM address: the page holds [`MappingQuery`] in and out; -EINVAL for no such VM.
pub const MAPPING_QUERY: u64 = 0x8000_00F2;
/// Scripts the result of hypercalls to come: the page holds a [`Fault`]; -ENOSPC if 16 are waiting.
pub const FAULT_PUSH: u64 = 0x8000_00F3;
/// Forgets all faults that are waiting.
pub const FAULT_CLEAR: u64 = 0x8000_00F4;
/// Raises an I/O request as if a vCPU had made it: the page holds a [`RaiseRequest`].
/// -EINVAL: no such VM or slot, no request page; -EBUSY: the slot is not FREE.
pub const RAISE_REQUEST: u64 = 0x8000_00F5;
/// Fires the upcall with no request behind it.
pub const RAISE_UPCALL: u64 = 0x8000_00F6;
/// Writes a User VM's memory or reads it, through its nested page tables: the page holds a
/// [`GuestAccess`] in and out; -EFAULT where unmapped.
pub const GUEST_ACCESS: u64 = 0x8000_00F7;
/// Has a hypercall to come wait, before it is carried out, until [`CALL_RELEASE`]: the page holds a [`Hold`].
/// Other hypercalls go on meanwhile, also on the same CPU unless its interrupts are off. A second hold takes
/// the place of the first.
pub const CALL_HOLD: u64 = 0x8000_00F8;
/// Lets the hypercall that is held go on, and holds none any more.
pub const CALL_RELEASE: u64 = 0x8000_00F9;
/// rdi = 1: one more broken rule is announced. rdi = 0: those announced that did not come are forgotten.
pub const RULE_EXPECT: u64 = 0x8000_00FA;
/// Has a passed-through PCI device read or write memory: the page holds a [`DeviceDma`] in and out; -EFAULT if
/// the device has no translation for the address, or is nobody's.
pub const DEVICE_DMA: u64 = 0x8000_00FB;
/// rdi = 1: from now on SET_MEMORY_REGIONS does not kick the vCPUs that have to flush. rdi = 0: it does again.
pub const KICKS_HOLD: u64 = 0x8000_00FC;

/// rdi = vmid, and the vCPU from bit 16 on: the next time that the Service VM makes this slot COMPLETE mini-ACRN takes the
/// request before the next instruction of that CPU, and turns `completion_polling` round. The CPU that makes this call
/// does so at once, others from their next exit on. rdi = [`NO_SLOT`]: no slot any more. -EINVAL: no such slot.
pub const SLOT_TRAP: u64 = 0x8000_00FD;
/// Of [`SLOT_TRAP`].
pub const NO_SLOT: u64 = u64::MAX;
/// Reads the time spent in mini-ACRN, and begins anew: the page holds an [`Account`] on the way out.
pub const ACCOUNT_TAKE: u64 = 0x8000_00FE;

/// First bytes of a page handed to a channel call, wherever a count follows.
pub const PAGE_SIZE: usize = 4096;
/// Parameter bytes kept in a record.
pub const RECORD_DATA: usize = 432;
/// Records that fit behind the header of one [`TraceRead`].
pub const RECORDS_PER_READ: usize = 8;
/// Records that mini-ACRN keeps; older ones are lost.
pub const TRACE_CAPACITY: usize = 4096;
/// User VMs that there can be: one for each CPU that mini-ACRN keeps for them. ACRN has 16 slots, the Service
/// VM's included.
pub const MAX_VMS: usize = 8;
/// `vmid` of a record or fault that belongs to no VM, or to any.
pub const ANY_VM: u16 = 0xFFFF;

/// What a [`Record`] tells.
pub mod kind {
    /// A hypercall returned: `id`, `p1`, `p2`, `result`, and the parameter structure as it was on entry in `data`.
    pub const HYPERCALL: u16 = 1;
    /// One entry of a SET_MEMORY_REGIONS array (32 bytes in `data`), before its HYPERCALL record; `result` of this entry.
    pub const MEMORY_REGION: u16 = 2;
    /// A slot became PENDING: `p1` = vCPU id, `data` = the 256 bytes of the slot.
    pub const REQUEST_PENDING: u16 = 3;
    /// A slot was consumed (COMPLETE -> FREE): `p1` = vCPU id, `data` = the 256 bytes of the slot.
    pub const REQUEST_CONSUMED: u16 = 4;
    /// The upcall vector was sent to the Service VM.
    pub const UPCALL: u16 = 5;
    /// A vCPU woke early and its slot was not COMPLETE (a spurious NOTIFY_REQUEST_FINISH): `p1` = vCPU id, `data` = the slot.
    pub const REQUEST_WEDGED: u16 = 6;
    /// An interrupt was delivered to a User VM: `p1` = vCPU id, `p2` = vector.
    pub const INTERRUPT: u16 = 7;
    /// A vCPU stopped for good: `p1` = vCPU id, `p2` = SVM exit code, `result` = RIP.
    pub const VCPU_FAILED: u16 = 8;
    /// A rule of ACRN was broken, where ACRN would halt the machine or run on freed memory: `id` = the hypercall
    /// that would, `result` = 1 if it was announced, `data` = the rule in words.
    pub const RULE_BROKEN: u16 = 9;
}

/// One event.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Record {
    /// Position in the trace since boot, from 0, without gaps.
    pub seq: u64,
    /// TSC.
    pub time: u64,
    /// [`kind`].
    pub kind: u16,
    /// VM that the event is about, [`ANY_VM`] if none.
    pub vmid: u16,
    /// Hypercall id, or 0.
    pub id: u32,
    /// First parameter as passed.
    pub p1: u64,
    /// Second parameter as passed.
    pub p2: u64,
    /// Result as returned.
    pub result: i64,
    /// Bytes of `data` that mean something.
    pub data_len: u32,
    /// 1 if the result was scripted by a [`Fault`].
    pub scripted: u32,
    /// Parameter structure or slot.
    pub data: [u8; RECORD_DATA],
}

/// In and out of [`TRACE_READ`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TraceRead {
    /// In: first record wanted. Out: first record given (later than wanted if that one was lost).
    pub seq: u64,
    /// Out: records given, 0 if there are no newer ones.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: sequence number that the next record will get.
    pub next: u64,
    /// Zero.
    pub reserved2: u64,
}
// The records follow the header: `[Record; RECORDS_PER_READ]` at offset 32.
const _: () = assert!(size_of::<TraceRead>() + RECORDS_PER_READ * size_of::<Record>() <= PAGE_SIZE);

/// State of a VM as ACRN names it.
pub mod vm_state {
    /// Slot is free.
    pub const OFF: u8 = 0;
    /// Created or reset, not started.
    pub const CREATED: u8 = 1;
    /// vCPUs run.
    pub const RUNNING: u8 = 2;
    /// Going down.
    pub const READY_TO_POWEROFF: u8 = 3;
    /// vCPUs stand still.
    pub const PAUSED: u8 = 4;
}

/// One VM.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmInfo {
    /// VM id, relative to the Service VM.
    pub vmid: u16,
    /// vCPUs.
    pub vcpu_num: u16,
    /// [`vm_state`].
    pub state: u8,
    /// 1 if the request page is set.
    pub has_request_page: u8,
    /// Entries in the books of devices given to it: PCI, MMIO, virtual, and interrupt lines routed.
    pub devices: u16,
    /// Physical address of the request page.
    pub request_page: u64,
    /// Bytes of Service VM memory that the nested page tables map, not counting mini-ACRN's own devices.
    pub mapped_bytes: u64,
    /// Physical CPUs.
    pub cpu_affinity: u64,
    /// The 16 bytes that named the VM at CREATE_VM.
    pub name: [u8; 16],
}

/// Out of [`VM_LIST`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmList {
    /// Entries of `vms` that mean something (VMs that are not OFF).
    pub count: u32,
    /// Physical CPUs free for User VMs, bit n = CPU n.
    pub free_cpus: u32,
    /// Rules that were broken since boot and that no test had announced.
    pub broken_rules: u64,
    /// Broken rules that are announced ([`RULE_EXPECT`]) and did not come yet.
    pub expected_rules: u32,
    /// 1 if the hypercall that was to be held ([`CALL_HOLD`]) has arrived, and waits.
    pub held: u32,
    /// The VMs.
    pub vms: [VmInfo; MAX_VMS],
}
const _: () = assert!(size_of::<VmList>() <= PAGE_SIZE);

/// In and out of [`MAPPING_QUERY`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MappingQuery {
    /// In.
    pub vmid: u16,
    /// Out: 1 if mapped.
    pub mapped: u8,
    /// Out: 1 if writable.
    pub writable: u8,
    /// Out: 1 if executable.
    pub executable: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// In: User VM address.
    pub user_vm_pa: u64,
    /// Out: Service VM address behind it.
    pub service_vm_pa: u64,
    /// Out: caching bits as given (`ACRN_MEM_TYPE_*`).
    pub mem_type: u64,
}

/// In of [`FAULT_PUSH`]: the `skip + 1`th matching hypercall from now on, and `count - 1` after it, return
/// `result` without doing anything else; for SET_MEMORY_REGIONS `entry` entries are carried out first.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Fault {
    /// Hypercall id.
    pub id: u32,
    /// Target VM, or [`ANY_VM`].
    pub vmid: u16,
    /// 1: carry the hypercall out, then return `result` in place of what it returned.
    pub after: u8,
    /// 1: CREATE_VM is carried out and writes `value` as vcpu_num. 2: CREATE_VM writes `value` as vmid; it
    /// is carried out only if `after` is 1.
    pub patch: u8,
    /// Matching calls to let pass first.
    pub skip: u32,
    /// Matching calls to fail.
    pub count: u32,
    /// Entries of a SET_MEMORY_REGIONS batch to carry out before failing.
    pub entry: u32,
    /// Value for `patch`.
    pub value: u32,
    /// Result, e.g. -22.
    pub result: i64,
}

/// In of [`RAISE_REQUEST`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RaiseRequest {
    /// VM.
    pub vmid: u16,
    /// Slot = vCPU id; may be a vCPU that the VM does not have, up to 15.
    pub vcpu: u16,
    /// 1: do not fire the upcall. 2: fire it twice.
    pub upcall: u32,
    /// 1: write `slot` even if the slot is not FREE, `processed` field included.
    pub force: u32,
    /// Zero.
    pub reserved: u32,
    /// The 256 bytes of the slot (`struct acrn_io_request`); `processed` is set to PENDING unless `force`.
    /// mini-ACRN turns the slot FREE again when NOTIFY_REQUEST_FINISH comes, or at once on the next
    /// channel call that finds it COMPLETE; no vCPU waits for it.
    pub slot: [u8; 256],
}

/// In and out of [`GUEST_ACCESS`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GuestAccess {
    /// VM.
    pub vmid: u16,
    /// 1: write `data`, 0: read into it.
    pub write: u16,
    /// Bytes, 1 to 2048, within one 4 KiB page.
    pub len: u32,
    /// User VM address.
    pub user_vm_pa: u64,
    /// The bytes.
    pub data: [u8; 2048],
}

/// In of [`CALL_HOLD`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Hold {
    /// Hypercall id.
    pub id: u32,
    /// Target VM, or [`ANY_VM`].
    pub vmid: u16,
    /// Milliseconds after which it goes on by itself; 0 for never.
    pub limit_ms: u16,
    /// Matching calls to let pass first.
    pub skip: u32,
}

/// In and out of [`DEVICE_DMA`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DeviceDma {
    /// The device's own PCI address, as ASSIGN_PCIDEV got it.
    pub phys_bdf: u16,
    /// 1: write `data`, 0: read into it.
    pub write: u16,
    /// Bytes, 1 to 2048, within one 4 KiB page.
    pub len: u32,
    /// User VM address.
    pub user_vm_pa: u64,
    /// The bytes.
    pub data: [u8; 2048],
}

/// One line of an [`Account`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Spent {
    /// TSC ticks from the exit to the next entry of the same vCPU. One in which the vCPU stopped does not count.
    pub ticks: u64,
    /// Exits.
    pub exits: u64,
}

/// Out of [`ACCOUNT_TAKE`]: what was spent since the last time, in hypercalls by the low byte of their ids, and in
/// other exits.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Account {
    /// The lines.
    pub lines: [Spent; ACCOUNT_LINES],
}
const _: () = assert!(size_of::<Account>() <= PAGE_SIZE);

/// Lines of an [`Account`].
pub const ACCOUNT_LINES: usize = 256;
/// The line of User VMs: all of their exits, less the time that their CPUs slept.
pub const ACCOUNT_USER: usize = 0;
/// The line of the Service VM's exits that are no hypercalls.
pub const ACCOUNT_SERVICE: usize = 0xFF;
