// SPDX-License-Identifier: GPL-2.0

//! `/dev/acrn_probe`: hypercalls from user space, and thereby mini-ACRN's trace and script channel
//! (`testbed/README.md`).

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    time::Duration,
};

use acrn_uapi::acrn_vm_creation;
use mini_acrn_channel as channel;
use mini_acrn_channel::{
    Account, DeviceDma, Fault, GuestAccess, Hold, MappingQuery, RaiseRequest, TraceRead, VmInfo,
    VmList,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::hypercall;

/// `struct acrn_probe_call`.
#[repr(C)]
#[derive(Default)]
struct ProbeCall {
    id: u32,
    page_is_p2: u32,
    p1: u64,
    p2: u64,
    buf: u64,
    result: i64,
}

/// `_IOWR(0xA3, 0x01, struct acrn_probe_call)`.
const PROBE_CALL: libc::Ioctl = 0xC028_A301;

/// A page of parameters.
#[repr(C, align(4096))]
struct Page([u8; channel::PAGE_SIZE]);

/// The open device.
pub struct Probe(File);

impl Probe {
    /// Opens the device. The error says why the test must be skipped.
    pub fn open() -> Result<Self, String> {
        let path = "/dev/acrn_probe";
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Self)
            .map_err(|error| format!("no mini-ACRN to ask ({path}: {error})"))
    }

    /// Makes a hypercall with two numbers.
    pub fn call(&self, id: u32, p1: u64, p2: u64) -> i64 {
        let mut call = ProbeCall {
            id,
            p1,
            p2,
            ..Default::default()
        };
        self.ioctl(&mut call)
    }

    /// Makes a hypercall that reads a structure: its second parameter, or its first if there is no
    /// VM. The addresses in the structure must not refer to memory that is in use.
    pub fn call_with_parameter(&self, id: u32, vmid: Option<u16>, parameter: &[u8]) -> i64 {
        let mut page = Page([0; channel::PAGE_SIZE]);
        page.0[..parameter.len()].copy_from_slice(parameter);
        let mut call = ProbeCall {
            id,
            page_is_p2: vmid.is_some().into(),
            p1: vmid.unwrap_or(0).into(),
            buf: page.0.as_mut_ptr() as u64,
            ..Default::default()
        };
        self.ioctl(&mut call)
    }

    /// Makes a hypercall whose first parameter is a structure that is read and written.
    fn call_with<T: IntoBytes + FromBytes + Immutable>(&self, id: u64, value: &mut T) -> i64 {
        let mut page = Page([0; channel::PAGE_SIZE]);
        page.0[..size_of::<T>()].copy_from_slice(value.as_bytes());
        let result = self.call_with_page(id, &mut page);
        if let Ok((changed, _)) = T::read_from_prefix(&page.0) {
            *value = changed;
        }
        result
    }

    fn call_with_page(&self, id: u64, page: &mut Page) -> i64 {
        let mut call = ProbeCall {
            // IDs of the channel are 32 bits wide.
            id: id as u32,
            buf: page.0.as_mut_ptr() as u64,
            ..Default::default()
        };
        self.ioctl(&mut call)
    }

    fn ioctl(&self, call: &mut ProbeCall) -> i64 {
        // SAFETY: The request reads and writes a `ProbeCall`, and the page at `buf`, which is 0 or
        // the address of a `Page` that the caller borrows mutably. Hypercalls with addresses of
        // other memory are not made: `call` is used for those that take numbers.
        let status = unsafe { libc::ioctl(self.0.as_raw_fd(), PROBE_CALL, call as *mut ProbeCall) };
        assert_eq!(status, 0, "/dev/acrn_probe: {}", io::Error::last_os_error());
        call.result
    }

    fn must<T: IntoBytes + FromBytes + Immutable>(&self, id: u64, value: &mut T) {
        let result = self.call_with(id, value);
        assert_eq!(result, 0, "mini-ACRN's channel, call {id:#x}");
    }

    /// Returns all User VMs.
    pub fn vms(&self) -> Vec<VmInfo> {
        let list = self.list();
        list.vms[..list.count as usize].to_vec()
    }

    /// Panics if there is a User VM.
    #[track_caller]
    pub fn assert_no_vms(&self) {
        let ids: Vec<_> = self.vms().iter().map(|vm| vm.vmid).collect();
        assert!(
            ids.is_empty(),
            "expected no VMs, got those with the IDs {ids:?}"
        );
    }

    /// Returns one VM.
    pub fn vm(&self, vmid: u16) -> Option<VmInfo> {
        self.vms().into_iter().find(|vm| vm.vmid == vmid)
    }

    /// Returns the physical CPUs that a User VM can have.
    pub fn free_cpus(&self) -> u64 {
        self.list().free_cpus.into()
    }

    pub(crate) fn list(&self) -> VmList {
        let mut list = VmList::new_zeroed();
        self.must(channel::VM_LIST, &mut list);
        list
    }

    /// Returns the mapping of a User VM's address.
    pub fn mapping(&self, vmid: u16, user_vm_pa: u64) -> MappingQuery {
        let mut query = MappingQuery::new_zeroed();
        query.vmid = vmid;
        query.user_vm_pa = user_vm_pa;
        self.must(channel::MAPPING_QUERY, &mut query);
        query
    }

    /// Reads a User VM's memory through its nested page tables. Returns `None` if the address is
    /// not mapped.
    pub fn read_guest(&self, vmid: u16, user_vm_pa: u64, len: usize) -> Option<Vec<u8>> {
        let mut access = GuestAccess::new_zeroed();
        access.vmid = vmid;
        access.user_vm_pa = user_vm_pa;
        access.len = len as u32;
        match self.call_with(channel::GUEST_ACCESS, &mut access) {
            0 => Some(access.data[..len].to_vec()),
            error => {
                assert_eq!(error, -i64::from(libc::EFAULT), "GUEST_ACCESS");
                None
            }
        }
    }

    /// Writes to a User VM's memory through its nested page tables.
    pub fn write_guest(&self, vmid: u16, user_vm_pa: u64, bytes: &[u8]) {
        let mut access = GuestAccess::new_zeroed();
        access.vmid = vmid;
        access.write = 1;
        access.user_vm_pa = user_vm_pa;
        access.len = bytes.len() as u32;
        access.data[..bytes.len()].copy_from_slice(bytes);
        self.must(channel::GUEST_ACCESS, &mut access);
    }

    /// Scripts the result of future hypercalls.
    pub fn push_fault(&self, mut fault: Fault) {
        self.must(channel::FAULT_PUSH, &mut fault);
    }

    /// Scripts the result of future hypercalls. Returns false if too many faults are pending.
    pub fn try_push_fault(&self, mut fault: Fault) -> bool {
        self.call_with(channel::FAULT_PUSH, &mut fault) == 0
    }

    /// Makes the next hypercall `id` for a VM fail with `EIO`.
    pub fn refuse(&self, id: u32, vmid: u16) {
        self.push_fault(Fault {
            vmid,
            ..fault(id, -5)
        });
    }

    /// Makes the next DESTROY_VM of a VM return `ETIMEDOUT` after the hypervisor has destroyed the
    /// VM, as ACRN may.
    pub fn fail_after_destroying(&self, vmid: u16) {
        self.push_fault(Fault {
            after: 1,
            vmid,
            ..fault(hypercall::DESTROY_VM, -i64::from(libc::ETIMEDOUT))
        });
    }

    /// Makes SET_MEMORY_REGIONS for a VM fail with `result` after `entry` entries: `count` such
    /// hypercalls after the first `skip`.
    pub fn fail_regions(&self, vmid: u16, skip: u32, entry: u32, count: u32, result: i64) {
        self.push_fault(Fault {
            vmid,
            skip,
            entry,
            count,
            ..fault(hypercall::SET_MEMORY_REGIONS, result)
        });
    }

    /// Discards all pending faults.
    pub fn clear_faults(&self) {
        assert_eq!(self.call(channel::FAULT_CLEAR as u32, 0, 0), 0);
    }

    /// Raises a request as if a vCPU had made it. Returns the result of the call.
    pub fn raise(&self, mut request: RaiseRequest) -> i64 {
        self.call_with(channel::RAISE_REQUEST, &mut request)
    }

    /// Raises the upcall without a request.
    pub fn upcall(&self) {
        assert_eq!(self.call(channel::RAISE_UPCALL as u32, 0, 0), 0);
    }

    /// Declares that the test breaks a rule of ACRN intentionally with the next violation. A test
    /// fails if it breaks a rule without this declaration, or if the declared violation does not
    /// occur.
    pub fn expect_broken_rule(&self) {
        assert_eq!(self.call(channel::RULE_EXPECT as u32, 1, 0), 0);
    }

    /// Discards declared violations that did not occur.
    pub(crate) fn forget_expected_rules(&self) {
        assert_eq!(self.call(channel::RULE_EXPECT as u32, 0, 0), 0);
    }

    /// Makes the next hypercall `id` for the VM `vmid` (any VM for [`channel::ANY_VM`]) wait in the
    /// hypervisor before it is carried out, until [`Probe::release`]. Its thread receives no signal
    /// meanwhile.
    pub fn hold(&self, id: u32, vmid: u16) {
        self.hold_with(id, vmid, |_| ());
    }

    /// Holds a hypercall for at most `limit_ms` milliseconds. This suits a CPU that has its
    /// interrupts disabled.
    pub fn hold_for(&self, id: u32, vmid: u16, limit_ms: u16) {
        self.hold_with(id, vmid, |hold| hold.limit_ms = limit_ms);
    }

    /// Holds the hypercall after the next `skip` hypercalls.
    pub fn hold_after(&self, skip: u32, id: u32, vmid: u16) {
        self.hold_with(id, vmid, |hold| hold.skip = skip);
    }

    fn hold_with(&self, id: u32, vmid: u16, more: impl FnOnce(&mut Hold)) {
        let mut hold = Hold::new_zeroed();
        (hold.id, hold.vmid) = (id, vmid);
        more(&mut hold);
        self.must(channel::CALL_HOLD, &mut hold);
    }

    /// Makes mini-ACRN take the next request of this vCPU at the instant at which it becomes
    /// COMPLETE, as a polling hypervisor may do, and invert `completion_polling` then. Only writes
    /// by the caller's CPU are certain to be noticed.
    pub fn take_at_once(&self, vmid: u16, vcpu: u16) {
        let slot = u64::from(vmid) | u64::from(vcpu) << 16;
        assert_eq!(
            self.call(channel::SLOT_TRAP as u32, slot, 0),
            0,
            "SLOT_TRAP"
        );
    }

    /// Reverts [`Probe::take_at_once`] if no request became COMPLETE.
    pub fn take_none_at_once(&self) {
        let call = self.call(channel::SLOT_TRAP as u32, channel::NO_SLOT, 0);
        assert_eq!(call, 0, "SLOT_TRAP");
    }

    /// Returns whether the hypercall of [`Probe::hold`] has arrived and waits.
    pub fn is_held(&self) -> bool {
        self.list().held != 0
    }

    /// Lets the hypercall of [`Probe::hold`] go on, or does not hold it if it has not arrived yet.
    pub fn release(&self) {
        assert_eq!(self.call(channel::CALL_RELEASE as u32, 0, 0), 0);
    }

    /// With `true`, stops SET_MEMORY_REGIONS from kicking the vCPUs that have to flush their
    /// translations: a running vCPU keeps them until it leaves the guest for another reason.
    pub fn hold_kicks(&self, held: bool) {
        assert_eq!(
            self.call(channel::KICKS_HOLD as u32, held.into(), 0),
            0,
            "KICKS_HOLD"
        );
    }

    /// Makes the CPUs of the Service VM slow after they have sent an IPI: the next instructions,
    /// until interrupts are enabled, take this time each. Ends that if the time is zero. Only the
    /// caller's CPU is certain to notice at once.
    pub fn slow_after_ipis(&self, time: Duration) {
        let call = self.call(channel::IPI_SLOW as u32, time.as_micros() as u64, 0);
        assert_eq!(call, 0, "IPI_SLOW");
    }

    /// Makes the passed-through PCI device `phys_bdf` read `len` bytes, up to 2048 within a page,
    /// at a User VM's address. Returns `None` if the device has no translation.
    pub fn dma_read(&self, phys_bdf: u16, user_vm_pa: u64, len: usize) -> Option<Vec<u8>> {
        let mut dma = DeviceDma::new_zeroed();
        (dma.phys_bdf, dma.user_vm_pa, dma.len) = (phys_bdf, user_vm_pa, len as u32);
        self.dma(&mut dma).then(|| dma.data[..len].to_vec())
    }

    /// Makes the device write. Returns whether it has a translation.
    pub fn dma_write(&self, phys_bdf: u16, user_vm_pa: u64, bytes: &[u8]) -> bool {
        let mut dma = DeviceDma::new_zeroed();
        (dma.phys_bdf, dma.user_vm_pa, dma.len) = (phys_bdf, user_vm_pa, bytes.len() as u32);
        dma.write = 1;
        dma.data[..bytes.len()].copy_from_slice(bytes);
        self.dma(&mut dma)
    }

    fn dma(&self, dma: &mut DeviceDma) -> bool {
        let result = self.call_with(channel::DEVICE_DMA, dma);
        assert!(
            result == 0 || result == -i64::from(libc::EFAULT),
            "DEVICE_DMA: {result}"
        );
        result == 0
    }

    /// Returns the time that mini-ACRN has spent since the last call.
    pub fn take_account(&self) -> Account {
        let mut account = Account::new_zeroed();
        self.must(channel::ACCOUNT_TAKE, &mut account);
        account
    }

    /// Reads up to [`channel::RECORDS_PER_READ`] records from `seq` on. Returns `None` if there are
    /// none.
    pub(crate) fn trace(&self, seq: u64) -> Option<(TraceRead, Vec<channel::Record>)> {
        let mut page = Page([0; channel::PAGE_SIZE]);
        page.0[..8].copy_from_slice(&seq.to_le_bytes());
        assert_eq!(self.call_with_page(channel::TRACE_READ, &mut page), 0);
        let (header, rest) = TraceRead::read_from_prefix(&page.0).ok()?;
        let size = size_of::<channel::Record>();
        let records = rest
            .chunks_exact(size)
            .take(header.count as usize)
            .filter_map(|bytes| channel::Record::read_from_bytes(bytes).ok())
            .collect();
        Some((header, records))
    }

    /// Makes CREATE_VM without the driver's knowledge. Returns the result, and the structure as the
    /// hypervisor returns it.
    pub fn create_vm(&self, mut creation: acrn_vm_creation) -> (i64, acrn_vm_creation) {
        let result = self.call_with(hypercall::CREATE_VM.into(), &mut creation);
        (result, creation)
    }

    /// Destroys a VM without the driver's knowledge, to clean up after a test.
    pub fn destroy(&self, vmid: u16) {
        self.call(hypercall::PAUSE_VM, vmid.into(), 0);
        self.call(hypercall::DESTROY_VM, vmid.into(), 0);
    }
}

/// Returns a fault: the next hypercall `id` returns `result` and has no effect.
pub fn fault(id: u32, result: i64) -> Fault {
    let mut fault = Fault::new_zeroed();
    fault.id = id;
    fault.vmid = channel::ANY_VM;
    fault.count = 1;
    fault.result = result;
    fault
}
