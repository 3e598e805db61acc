// SPDX-License-Identifier: GPL-2.0

//! The hypercalls of ACRN that this driver makes; the only `vmcall`.
//!
//! Convention (ACRN, `acrn_common.h` and hypercall documentation): id in r8, parameters in rdi and
//! rsi, result in rax. Parameters in memory are passed by guest-physical address, as [`Contiguous`]
//! or [`ContiguousVec`]. Any context, unless a function says otherwise.

use crate::{
    abstractions::{
        contiguous::{
            Contiguous,
            ContiguousVec, //
        },
        cpu_hotplug::OfflineCpu,
        lent_pages::{
            LentRun,
            Returned, //
        },
        mmio_range::MmioRange, //
        mmu_interval_notifier::WatchedPfns,
        shared_page::SharedPage,
    },
    uapi,
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

const SERVICE_VM_OFFLINE_CPU: u64 = 0x8000_0001;
const CREATE_VM: u64 = 0x8000_0010;
const DESTROY_VM: u64 = 0x8000_0011;
const START_VM: u64 = 0x8000_0012;
const PAUSE_VM: u64 = 0x8000_0013;
const RESET_VM: u64 = 0x8000_0015;
const SET_VCPU_REGS: u64 = 0x8000_0016;
const INJECT_MSI: u64 = 0x8000_0023;
const VM_INTR_MONITOR: u64 = 0x8000_0024;
const SET_IRQLINE: u64 = 0x8000_0025;
const SET_IOREQ_BUFFER: u64 = 0x8000_0030;
const NOTIFY_REQUEST_FINISH: u64 = 0x8000_0031;
const SET_MEMORY_REGIONS: u64 = 0x8000_0042;
const SET_PTDEV_INTR: u64 = 0x8000_0053;
const RESET_PTDEV_INTR: u64 = 0x8000_0054;
const ASSIGN_PCIDEV: u64 = 0x8000_0055;
const DEASSIGN_PCIDEV: u64 = 0x8000_0056;
const ASSIGN_MMIODEV: u64 = 0x8000_0057;
const DEASSIGN_MMIODEV: u64 = 0x8000_0058;
const CREATE_VDEV: u64 = 0x8000_0059;
const DESTROY_VDEV: u64 = 0x8000_005A;
const PM_GET_CPU_STATE: u64 = 0x8000_0080;

/// Id of a User VM, relative to the Service VM.
///
/// # Invariants
///
/// Not [`VmId::INVALID`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VmId(u16);

impl VmId {
    /// `ACRN_INVALID_VMID`: the hypervisor's word for "no VM".
    const INVALID: u16 = 0xFFFF;

    /// The id in `raw`, unless it is the invalid one.
    fn new(raw: u16) -> Option<Self> {
        // INVARIANT: Checked here.
        (raw != Self::INVALID).then_some(Self(raw))
    }
}

impl From<VmId> for u16 {
    fn from(vm: VmId) -> u16 {
        vm.0
    }
}

impl From<VmId> for u64 {
    fn from(vm: VmId) -> u64 {
        vm.0.into()
    }
}

impl kernel::fmt::Display for VmId {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        kernel::fmt::Display::fmt(&self.0, f)
    }
}

/// What a guest may do with its memory: any of `ACRN_MEM_ACCESS_*`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccessRights(u32);

impl AccessRights {
    /// Those in the attributes of a segment. As upstream does, all other bits are ignored.
    pub(crate) fn from_attributes(attr: u32) -> Self {
        Self(attr & uapi::ACRN_MEM_ACCESS_RIGHT_MASK)
    }

    /// Whether writes are among them.
    pub(crate) fn may_write(self) -> bool {
        self.0 & uapi::ACRN_MEM_ACCESS_WRITE != 0
    }
}

/// One entry of a SET_MEMORY_REGIONS array (`struct vm_memory_region`, 32 bytes).
#[repr(C)]
#[derive(Clone, Copy)]
struct RegionEntry {
    operation: u32,
    attr: u32,
    user_vm_pa: u64,
    service_vm_pa: u64,
    size: u64,
}
static_assert!(size_of::<RegionEntry>() == 32);

/// A change to the memory of a VM; what it maps is borrowed until the change is made.
pub(crate) struct MemoryRegion<'a> {
    entry: RegionEntry,
    _source: PhantomData<&'a ()>,
}

impl<'a> MemoryRegion<'a> {
    const ADD: u32 = 0;
    const DELETE: u32 = 2;

    /// Maps pinned memory at `user_vm_pa`, cached.
    pub(crate) fn add_pages(user_vm_pa: u64, pages: LentRun<'a>, rights: AccessRights) -> Self {
        let attr = uapi::ACRN_MEM_TYPE_WB | rights.0;
        Self::add(user_vm_pa, pages.phys(), pages.len(), attr)
    }

    /// Maps memory that is watched at `user_vm_pa`, cached.
    pub(crate) fn add_pfns(
        user_vm_pa: u64,
        pfns: &'a WatchedPfns<'_>,
        rights: AccessRights,
    ) -> Self {
        let attr = uapi::ACRN_MEM_TYPE_WB | rights.0;
        Self::add(user_vm_pa, pfns.phys(), pfns.len(), attr)
    }

    /// Maps the memory of a device at `user_vm_pa`, uncached.
    pub(crate) fn add_mmio(user_vm_pa: u64, range: &'a MmioRange, rights: AccessRights) -> Self {
        let attr = uapi::ACRN_MEM_TYPE_UC | rights.0;
        Self::add(user_vm_pa, range.phys(), range.len(), attr)
    }

    fn add(user_vm_pa: u64, service_vm_pa: u64, size: u64, attr: u32) -> Self {
        Self {
            entry: RegionEntry {
                operation: Self::ADD,
                attr,
                user_vm_pa,
                service_vm_pa,
                size,
            },
            _source: PhantomData,
        }
    }

    /// Unmaps `size` bytes at `user_vm_pa`.
    pub(crate) fn delete(user_vm_pa: u64, size: u64) -> Self {
        Self {
            entry: RegionEntry {
                operation: Self::DELETE,
                attr: 0,
                user_vm_pa,
                service_vm_pa: 0,
                size,
            },
            _source: PhantomData,
        }
    }
}

/// Parameter of SET_MEMORY_REGIONS (`struct set_regions`, 24 bytes).
#[repr(C)]
struct MemoryRegions {
    vmid: u16,
    reserved: [u16; 3],
    regions_num: u32,
    reserved1: u32,
    regions_gpa: u64,
}
static_assert!(size_of::<MemoryRegions>() == 24);

/// Makes a hypercall.
///
/// # Safety
///
/// `id` must be a hypercall whose effect on this VM's memory, now and later, is none, or is confined to
///
/// - what `p1` and `p2` name, which the caller has borrowed for the call in the way that the hypercall uses it;
/// - memory that is lent: it is unpinned only with a proof that the hypervisor is done with it
///   ([`Returned`]), and the kernel makes no references to it.
unsafe fn vmcall(id: u64, p1: u64, p2: u64) -> Result {
    let result: i64;
    // SAFETY: By the contract of this function, the hypervisor does nothing to memory that Rust or the
    // kernel relies on. No register but rax changes.
    unsafe {
        core::arch::asm!(
            "vmcall",
            inlateout("rax") 0i64 => result,
            in("r8") id,
            in("rdi") p1,
            in("rsi") p2,
            options(nostack),
        )
    };
    if result >= 0 {
        return Ok(());
    }
    // ACRN's errors are small; anything else must not look like one.
    match i32::try_from(result) {
        Ok(errno @ -4095..=-1) => Err(Error::from_errno(errno)),
        _ => Err(EIO),
    }
}

/// Makes a hypercall whose second parameter is a structure.
///
/// # Safety
///
/// `id` must be a hypercall that does nothing to this VM's memory but to read `*parameter`, and to write
/// to memory that is lent.
unsafe fn vmcall_with<T>(id: u64, vm: VmId, parameter: &Contiguous<T>) -> Result {
    // SAFETY: By the contract of this function.
    unsafe { vmcall(id, vm.into(), parameter.phys()) }
}

/// Takes a CPU away from the Service VM for good.
///
/// Fails with `EPERM` for the boot CPU.
pub(crate) fn service_vm_offline_cpu(cpu: &OfflineCpu) -> Result {
    // SAFETY: No memory parameter. Linux runs nothing on the CPU, by its type.
    unsafe { vmcall(SERVICE_VM_OFFLINE_CPU, cpu.lapic_id().into(), 0) }
}

/// A VM that the hypervisor made, and its number of vCPUs as told by the hypervisor.
pub(crate) struct Created {
    /// The new VM's id.
    pub(crate) vm: VmId,
    /// vCPUs, not checked.
    pub(crate) vcpus: u16,
}

impl Created {
    /// Proof that the VM that was called `older` is gone, if the new one has its id.
    ///
    /// The hypervisor gives an id to one VM at a time.
    pub(crate) fn replaces(&self, older: VmId) -> Option<Destroyed> {
        (self.vm == older).then_some(Destroyed(()))
    }
}

/// Proof that a VM is gone: the hypervisor uses none of its memory, and its id may be another's.
pub(crate) struct Destroyed(());

// SAFETY: The hypervisor has taken the VM's translations off all CPUs and devices.
unsafe impl Returned for Destroyed {}

/// Proof that a VM was stopped: no vCPU is in the guest, and none enters it again before the VM is
/// started but through a flush of its translations.
///
/// A VM of higher severity than the Service VM runs on. The hypervisor deletes none of its memory then.
pub(crate) struct Stopped(());

/// Makes a VM; writes its id and number of vCPUs to `parameter` as well.
///
/// Fails with `EINVAL` if the hypervisor reports success without a VM.
pub(crate) fn create_vm(parameter: &mut Contiguous<uapi::acrn_vm_creation>) -> Result<Created> {
    // SAFETY: Reads and writes `*parameter`, which is borrowed mutably.
    unsafe { vmcall(CREATE_VM, parameter.phys_mut(), 0) }?;
    Ok(Created {
        vm: VmId::new(parameter.vmid).ok_or(EINVAL)?,
        vcpus: parameter.vcpu_num,
    })
}

/// Ends a VM, which must be paused (`EPERM`).
///
/// An error is no proof that the VM is still there: the hypervisor may have destroyed it all the same
/// (`ETIMEDOUT`).
pub(crate) fn destroy_vm(vm: VmId) -> Result<Destroyed> {
    // SAFETY: No memory parameter; takes mappings away.
    unsafe { vmcall(DESTROY_VM, vm.into(), 0) }?;
    Ok(Destroyed(()))
}

/// Starts a created VM that has a request page (`EPERM`).
pub(crate) fn start_vm(vm: VmId) -> Result {
    // SAFETY: No memory parameter; the VM sees what was mapped into it.
    unsafe { vmcall(START_VM, vm.into(), 0) }
}

/// Stops the vCPUs of a VM.
pub(crate) fn pause_vm(vm: VmId) -> Result<Stopped> {
    // SAFETY: No memory parameter.
    unsafe { vmcall(PAUSE_VM, vm.into(), 0) }?;
    Ok(Stopped(()))
}

/// Puts a paused VM (`EPERM`) back to where it was created; all request slots become FREE.
pub(crate) fn reset_vm(vm: VmId) -> Result<Stopped> {
    // SAFETY: No memory parameter; writes to the VM's request page, which is shared.
    unsafe { vmcall(RESET_VM, vm.into(), 0) }?;
    Ok(Stopped(()))
}

/// Sets the registers of a vCPU of a VM that does not run (`EPERM`).
pub(crate) fn set_vcpu_regs(vm: VmId, registers: &Contiguous<uapi::acrn_vcpu_regs>) -> Result {
    // SAFETY: Reads `*registers`.
    unsafe { vmcall_with(SET_VCPU_REGS, vm, registers) }
}

/// Sends an MSI to a VM.
pub(crate) fn inject_msi(vm: VmId, msi: &Contiguous<uapi::acrn_msi_entry>) -> Result {
    // SAFETY: Reads `*msi`.
    unsafe { vmcall_with(INJECT_MSI, vm, msi) }
}

/// A command and a count of 4 bytes each, then 48 numbers.
pub(crate) type InterruptCounts = [u64; 49];

/// What VM_INTR_MONITOR reads and writes, aligned so that it does not cross a page.
#[repr(C, align(512))]
pub(crate) struct InterruptMonitor(pub(crate) InterruptCounts);

// SAFETY: Numbers, and padding.
unsafe impl FromBytes for InterruptMonitor {}

/// Asks for interrupt counts of a VM's passed-through devices, or delays their interrupts.
///
/// The hypervisor keeps no pointer to `monitor`.
pub(crate) fn vm_intr_monitor(vm: VmId, monitor: &mut Contiguous<InterruptMonitor>) -> Result {
    // SAFETY: Reads and writes `*monitor`, which is borrowed mutably.
    unsafe { vmcall(VM_INTR_MONITOR, vm.into(), monitor.phys_mut()) }
}

/// Drives an interrupt line of a VM: GSI in the low 32 bits, operation in the high ones.
pub(crate) fn set_irqline(vm: VmId, line: u64) -> Result {
    // SAFETY: No memory parameter.
    unsafe { vmcall(SET_IRQLINE, vm.into(), line) }
}

/// Tells the hypervisor where the request page of a VM is, and lends it.
///
/// After success the hypervisor writes to that page until the VM is destroyed.
pub(crate) fn set_ioreq_buffer(vm: VmId, page: &SharedPage) -> Result {
    // SAFETY: Reads the address. The page that it names is lent, by the type.
    unsafe { vmcall_with(SET_IOREQ_BUFFER, vm, page.lend()) }
}

/// Wakes the vCPU `vcpu`, whose request is COMPLETE.
///
/// The hypervisor keeps a wake-up that nobody waits for, and the vCPU's next request then returns
/// early: one call for one request.
pub(crate) fn notify_request_finish(vm: VmId, vcpu: u64) -> Result {
    // SAFETY: No memory parameter.
    unsafe { vmcall(NOTIFY_REQUEST_FINISH, vm.into(), vcpu) }
}

/// Room for the parameters of a SET_MEMORY_REGIONS call, so that nothing is allocated when it is made.
pub(crate) struct RegionChange {
    parameter: Contiguous<MemoryRegions>,
    regions: ContiguousVec<RegionEntry>,
}

impl RegionChange {
    /// Calls for `vm` with up to `wanted` regions, or with as many as are allowed.
    pub(crate) fn with_room_for(vm: VmId, wanted: usize) -> Result<Self> {
        let regions = ContiguousVec::with_capacity_up_to(wanted)?;
        Ok(Self {
            parameter: Contiguous::new(MemoryRegions {
                vmid: vm.0,
                reserved: [0; 3],
                regions_num: 0,
                reserved1: 0,
                regions_gpa: regions.phys(),
            })?,
            regions,
        })
    }

    /// How many regions there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.regions.capacity()
    }

    /// Makes the changes in order, and stops at the first that fails, without a roll-back. Fails with
    /// `ENOSPC`, and changes nothing, if there is no room for so many.
    ///
    /// A User VM gets access to what is added, at once.
    pub(crate) fn carry_out<'a>(
        &mut self,
        regions: impl Iterator<Item = MemoryRegion<'a>>,
    ) -> Result {
        self.regions.refill(regions.map(|region| region.entry))?;
        self.parameter.regions_num = u32::try_from(self.regions.len()).map_err(|_| EINVAL)?;
        // SAFETY: Reads `*parameter` and `regions`. What is mapped may be mapped, by the types that
        // regions are made of.
        unsafe { vmcall(SET_MEMORY_REGIONS, self.parameter.phys(), 0) }
    }
}

/// Parameter of SET_PTDEV_INTR and RESET_PTDEV_INTR. The hypervisor reads 24 bytes, of which the
/// interface to user space has 20.
#[repr(C)]
pub(crate) struct PtdevInterrupt {
    interrupt: uapi::acrn_ptdev_irq,
    reserved: u32,
}
static_assert!(size_of::<PtdevInterrupt>() == 24);

impl From<uapi::acrn_ptdev_irq> for PtdevInterrupt {
    fn from(interrupt: uapi::acrn_ptdev_irq) -> Self {
        Self {
            interrupt,
            reserved: 0,
        }
    }
}

/// Connects an interrupt line of a passed-through device.
pub(crate) fn set_ptdev_intr(vm: VmId, interrupt: &Contiguous<PtdevInterrupt>) -> Result {
    // SAFETY: Reads `*interrupt`.
    unsafe { vmcall_with(SET_PTDEV_INTR, vm, interrupt) }
}

/// Undoes [`set_ptdev_intr`].
pub(crate) fn reset_ptdev_intr(vm: VmId, interrupt: &Contiguous<PtdevInterrupt>) -> Result {
    // SAFETY: Reads `*interrupt`.
    unsafe { vmcall_with(RESET_PTDEV_INTR, vm, interrupt) }
}

/// Passes a PCI device through to a VM. `EINVAL`, `ENODEV`, `EFAULT`.
pub(crate) fn assign_pcidev(vm: VmId, device: &Contiguous<uapi::acrn_pcidev>) -> Result {
    // SAFETY: Reads `*device`.
    unsafe { vmcall_with(ASSIGN_PCIDEV, vm, device) }
}

/// Takes a PCI device back. `EINVAL`, `ENODEV`, `EFAULT`.
pub(crate) fn deassign_pcidev(vm: VmId, device: &Contiguous<uapi::acrn_pcidev>) -> Result {
    // SAFETY: Reads `*device`.
    unsafe { vmcall_with(DEASSIGN_PCIDEV, vm, device) }
}

/// Passes a device known by its memory ranges through to a VM. `EINVAL`.
pub(crate) fn assign_mmiodev(vm: VmId, device: &Contiguous<uapi::acrn_mmiodev>) -> Result {
    // SAFETY: Reads `*device`.
    unsafe { vmcall_with(ASSIGN_MMIODEV, vm, device) }
}

/// Takes a device known by its memory ranges back. `EINVAL`.
pub(crate) fn deassign_mmiodev(vm: VmId, device: &Contiguous<uapi::acrn_mmiodev>) -> Result {
    // SAFETY: Reads `*device`.
    unsafe { vmcall_with(DEASSIGN_MMIODEV, vm, device) }
}

/// Makes a device that the hypervisor plays. `EINVAL`.
pub(crate) fn create_vdev(vm: VmId, device: &Contiguous<uapi::acrn_vdev>) -> Result {
    // SAFETY: Reads `*device`.
    unsafe { vmcall_with(CREATE_VDEV, vm, device) }
}

/// Ends a device that the hypervisor plays. `EINVAL`.
pub(crate) fn destroy_vdev(vm: VmId, device: &Contiguous<uapi::acrn_vdev>) -> Result {
    // SAFETY: Reads `*device`.
    unsafe { vmcall_with(DESTROY_VDEV, vm, device) }
}

/// A CPU of a VM, and one of its idle or frequency states.
#[derive(Clone, Copy)]
pub(crate) struct CpuState {
    /// The VM's id, which has to fit.
    pub(crate) vm: u8,
    /// vCPU.
    pub(crate) vcpu: u8,
    /// Number of the state.
    pub(crate) number: u8,
}

/// `struct acrn_pstate_data` in words.
pub(crate) type Pstate = [u64; 6];
static_assert!(size_of::<uapi::acrn_pstate_data>() == size_of::<Pstate>());

/// `struct acrn_cstate_data` in words: the hypervisor writes its padding, too.
pub(crate) type Cstate = [u64; 4];
static_assert!(size_of::<uapi::acrn_cstate_data>() == size_of::<Cstate>());

/// Number of frequency states. Fails with `EPERM` if there is no word of them.
pub(crate) fn px_count(state: CpuState) -> Result<u64> {
    // SAFETY: The hypervisor writes one byte.
    unsafe { pm_get_cpu_state(uapi::ACRN_PMCMD_GET_PX_CNT, state, 0) }
}

/// A frequency state, numbered from 0. Fails with `EPERM` if there is no such state.
pub(crate) fn px_data(state: CpuState) -> Result<Pstate> {
    // SAFETY: The hypervisor writes a `struct acrn_pstate_data`.
    unsafe { pm_get_cpu_state(uapi::ACRN_PMCMD_GET_PX_DATA, state, [0; 6]) }
}

/// Number of idle states.
pub(crate) fn cx_count(state: CpuState) -> Result<u64> {
    // SAFETY: The hypervisor writes one byte.
    unsafe { pm_get_cpu_state(uapi::ACRN_PMCMD_GET_CX_CNT, state, 0) }
}

/// An idle state, numbered from 1. Fails with `EPERM` if there is no such state.
pub(crate) fn cx_data(state: CpuState) -> Result<Cstate> {
    // SAFETY: The hypervisor writes a `struct acrn_cstate_data`.
    unsafe { pm_get_cpu_state(uapi::ACRN_PMCMD_GET_CX_DATA, state, [0; 4]) }
}

/// Asks about idle and frequency states of a physical CPU, of a VM that does not run (`EPERM`).
///
/// # Safety
///
/// A `T` must have room for the answer to `question`.
unsafe fn pm_get_cpu_state<T: Copy>(question: u32, state: CpuState, empty: T) -> Result<T> {
    let command = u64::from(question)
        | u64::from(state.number) << 8
        | u64::from(state.vcpu) << 16
        | u64::from(state.vm) << 24;
    let mut answer = Contiguous::new(empty)?;
    // SAFETY: Writes to `*answer`, which is borrowed mutably and has room by the contract of this
    // function.
    unsafe { vmcall(PM_GET_CPU_STATE, command, answer.phys_mut()) }?;
    Ok(*answer)
}
