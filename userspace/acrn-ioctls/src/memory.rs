// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Guest memory.

use std::os::fd::AsFd;

use acrn_uapi::ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG};
use acrn_uapi::*;

use crate::call;
use crate::{Result, Vm};

/// How the CPU caches a range of guest memory.
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

/// The access rights and the caching of a range of guest memory.
///
/// The driver ignores the caching, as upstream's does: it maps RAM write-back and device memory
/// uncacheable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoryAttributes(u32);

impl MemoryAttributes {
    /// Readable, writable, executable, write-back.
    pub const RAM: Self = Self::new(true, true, true, CacheType::WriteBack);
    /// Readable and executable, write-back.
    pub const ROM: Self = Self::new(true, false, true, CacheType::WriteBack);
    /// Readable and writable, uncacheable.
    pub const DEVICE: Self = Self::new(true, true, false, CacheType::Uncacheable);

    /// Returns any combination.
    pub const fn new(read: bool, write: bool, execute: bool, cache: CacheType) -> Self {
        let read = if read { ACRN_MEM_ACCESS_READ } else { 0 };
        let write = if write { ACRN_MEM_ACCESS_WRITE } else { 0 };
        let execute = if execute { ACRN_MEM_ACCESS_EXEC } else { 0 };
        MemoryAttributes(read | write | execute | cache as u32)
    }

    /// Returns attributes with the bits of `acrn_vm_memmap.attr`.
    pub const fn from_bits(bits: u32) -> Self {
        MemoryAttributes(bits)
    }

    /// Returns the bits of `acrn_vm_memmap.attr`.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// # Guest memory
impl Vm {
    /// Maps memory of the caller into the guest (`ACRN_IOCTL_SET_MEMSEG` of RAM).
    ///
    /// `len` bytes at the guest-physical address `user_vm_pa` are the caller's memory at
    /// `vma_base`. All three must be multiples of 4096.
    ///
    /// The driver pins the memory until the segment is unset or the VM is destroyed, even if the
    /// caller unmaps it earlier. Memory that cannot be pinned (`VM_PFNMAP`) is unmapped from the
    /// guest when the caller unmaps it. The segment replaces earlier segments in its range. Setting
    /// the same memory again changes nothing.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a value is not aligned, the length is 0, a range wraps, or the guest may not
    ///   read.
    /// - `EFAULT`: the range is not memory of the caller.
    /// - `ENOMEM`: there is too little memory, or the segment exceeds `RLIMIT_MEMLOCK`. Hugetlb
    ///   memory does not count towards that limit.
    /// - `ENOSPC`: the VM would have more than 4096 segments.
    ///
    /// # Safety
    ///
    /// From this call on the guest reads and writes the memory at any time, like another thread. No
    /// reference to it may exist in this process, and nothing else in the process may rely on its
    /// contents.
    ///
    /// # Examples
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

    /// Undoes [`set_memory`](Self::set_memory) for all or a part of the memory
    /// (`ACRN_IOCTL_UNSET_MEMSEG` of RAM).
    ///
    /// The memory stays pinned while the guest may still reach it through a stale translation:
    /// until the VM is paused and has no passed-through devices.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: no segment is in the range. Upstream's C driver does not support this command
    ///   and always fails with this error.
    /// - `ENOSPC`: a running VM would have too many parked pins. Pausing the VM releases them.
    ///
    /// # Examples
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

    /// Maps device memory into the guest (`ACRN_IOCTL_SET_MEMSEG` of MMIO).
    ///
    /// `len` bytes at the guest-physical address `user_vm_pa` are those at the Service VM's
    /// physical address `service_vm_pa`. All three must be multiples of 4096.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a value is not aligned, the length is 0, a range wraps or goes beyond the CPU's
    ///   last physical address, or the guest may not read.
    /// - `EPERM`: the range has RAM of the Service VM's kernel, or the kernel is locked down.
    /// - `ENOSPC`: the VM would have more than 4096 segments.
    ///
    /// # Safety
    ///
    /// The guest gets the access that the attributes grant to the device, or to anything else, at
    /// that address.
    ///
    /// # Examples
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

    /// Undoes [`set_mmio`](Self::set_mmio) (`ACRN_IOCTL_UNSET_MEMSEG` of MMIO).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a value is not aligned, the length is 0, a range wraps, or the hypervisor has
    ///   nothing mapped in the range.
    ///
    /// # Examples
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

    fn memseg(&self, command: u32, segment: acrn_vm_memmap) -> Result<()> {
        // SAFETY: both commands read an `acrn_vm_memmap`. The safety sections of the callers cover
        // the memory that it names.
        unsafe { call::with_ref(self.as_fd(), command, &segment) }
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
