// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Guest memory.

use std::os::fd::AsFd;

use acrn_uapi::ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG};
use acrn_uapi::*;

use crate::call;
use crate::{Result, Vm};

/// How the CPU caches a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CacheType {
    /// Write-back: RAM.
    WriteBack = ACRN_MEM_TYPE_WB,
    /// Write-through.
    WriteThrough = ACRN_MEM_TYPE_WT,
    /// Uncacheable: device memory.
    Uncacheable = ACRN_MEM_TYPE_UC,
    /// Write-combining.
    WriteCombining = ACRN_MEM_TYPE_WC,
    /// Write-protected.
    WriteProtected = ACRN_MEM_TYPE_WP,
}

/// What the guest may do with a range, and how the CPU caches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoryAttributes(u32);

impl MemoryAttributes {
    /// Readable, writable, executable, write-back.
    pub const RAM: Self = Self::new(true, true, true, CacheType::WriteBack);
    /// Readable and executable, write-back.
    pub const ROM: Self = Self::new(true, false, true, CacheType::WriteBack);
    /// Readable and writable, uncacheable.
    pub const DEVICE: Self = Self::new(true, true, false, CacheType::Uncacheable);

    /// Any combination.
    pub const fn new(read: bool, write: bool, execute: bool, cache: CacheType) -> Self {
        let read = if read { ACRN_MEM_ACCESS_READ } else { 0 };
        let write = if write { ACRN_MEM_ACCESS_WRITE } else { 0 };
        let execute = if execute { ACRN_MEM_ACCESS_EXEC } else { 0 };
        MemoryAttributes(read | write | execute | cache as u32)
    }

    /// From the bits of `acrn_vm_memmap.attr`.
    pub const fn from_bits(bits: u32) -> Self {
        MemoryAttributes(bits)
    }

    /// The bits of `acrn_vm_memmap.attr`.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// # Guest memory
impl Vm {
    /// `ACRN_IOCTL_SET_MEMSEG` of RAM: `len` bytes at `user_vm_pa` in the guest are our memory at `vma_base`.
    /// All three must be multiples of 4096.
    ///
    /// The driver pins the memory until the range is unmapped or the VM destroyed. So it may be unmapped in
    /// our address space before that. What was set in the range before is replaced; the same memory again
    /// changes nothing.
    ///
    /// `EINVAL`: a value that is not aligned or wraps. `EFAULT`: not our memory. `ENOMEM`: too much, beyond
    /// `RLIMIT_MEMLOCK` for example, which does not count hugetlb memory. `ENOSPC`: more than 4096 segments.
    ///
    /// # Safety
    ///
    /// The guest reads and writes the memory from now on, at any time, as other threads would: nothing in
    /// this process may hold a reference to it or take it for its own.
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm, shared_mapping: u64) -> Result<()> {
    /// // SAFETY: nothing else uses the mapping.
    /// unsafe { vm.set_memory(0, shared_mapping, 64 << 20, MemoryAttributes::RAM)? };
    /// # Ok(())
    /// # }
    /// ```
    pub unsafe fn set_memory(
        &self,
        user_vm_pa: u64,
        vma_base: u64,
        len: u64,
        attributes: MemoryAttributes,
    ) -> Result<()> {
        self.memseg(
            ACRN_IOCTL_SET_MEMSEG,
            acrn_vm_memmap {
                type_: ACRN_MEMMAP_RAM,
                attr: attributes.0,
                user_vm_pa,
                __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 { vma_base },
                len,
            },
        )
    }

    /// `ACRN_IOCTL_UNSET_MEMSEG` of RAM: undoes [`set_memory`](Self::set_memory), of all or of a part.
    ///
    /// The memory stays pinned while the guest may still reach it by old translations: until the VM is paused,
    /// and has no passed-through device any more.
    ///
    /// `EINVAL`: nothing was set in the range. Linux's C driver knows of no such thing and always says that.
    /// `ENOSPC`: too many pieces for a VM that runs, which then has to be paused.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, shared_mapping: u64) -> acrn_ioctls::Result<()> {
    /// vm.unset_memory(0, shared_mapping, 64 << 20)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unset_memory(&self, user_vm_pa: u64, vma_base: u64, len: u64) -> Result<()> {
        self.memseg(
            ACRN_IOCTL_UNSET_MEMSEG,
            acrn_vm_memmap {
                type_: ACRN_MEMMAP_RAM,
                attr: 0,
                user_vm_pa,
                __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 { vma_base },
                len,
            },
        )
    }

    /// `ACRN_IOCTL_SET_MEMSEG` of device memory: `len` bytes at `user_vm_pa` in the guest are those at
    /// `service_vm_pa` in the Service VM.
    ///
    /// `EPERM`: RAM of the Service VM's kernel, or a kernel that is locked down.
    ///
    /// # Safety
    ///
    /// The guest may do with that device, or with whatever is there, what the attributes allow.
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm) -> Result<()> {
    /// // SAFETY: the Service VM does not use this device.
    /// unsafe { vm.set_mmio(0xd000_0000, 0xfe00_0000, 0x1000, MemoryAttributes::DEVICE)? };
    /// # Ok(())
    /// # }
    /// ```
    pub unsafe fn set_mmio(
        &self,
        user_vm_pa: u64,
        service_vm_pa: u64,
        len: u64,
        attributes: MemoryAttributes,
    ) -> Result<()> {
        self.memseg(
            ACRN_IOCTL_SET_MEMSEG,
            acrn_vm_memmap {
                type_: ACRN_MEMMAP_MMIO,
                attr: attributes.0,
                user_vm_pa,
                __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 { service_vm_pa },
                len,
            },
        )
    }

    /// `ACRN_IOCTL_UNSET_MEMSEG` of device memory: undoes [`set_mmio`](Self::set_mmio).
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.unset_mmio(0xd000_0000, 0xfe00_0000, 0x1000)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unset_mmio(&self, user_vm_pa: u64, service_vm_pa: u64, len: u64) -> Result<()> {
        self.memseg(
            ACRN_IOCTL_UNSET_MEMSEG,
            acrn_vm_memmap {
                type_: ACRN_MEMMAP_MMIO,
                attr: 0,
                user_vm_pa,
                __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 { service_vm_pa },
                len,
            },
        )
    }

    fn memseg(&self, request: u32, segment: acrn_vm_memmap) -> Result<()> {
        // SAFETY: both requests read an `acrn_vm_memmap`. What setting does to the memory it names is in the
        // contracts of our callers.
        unsafe { call::with_ref(self.as_fd(), request, &segment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        assert_eq!(MemoryAttributes::RAM.bits(), 0x47);
        assert_eq!(MemoryAttributes::ROM.bits(), 0x45);
        assert_eq!(MemoryAttributes::DEVICE.bits(), 0x103);
    }
}
