// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The open device, and the creation of VMs.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use acrn_uapi::acrn_vm_creation;
use acrn_uapi::ioctl::ACRN_IOCTL_CREATE_VM;

use crate::call;
use crate::{Error, Failed, Operation, RequestPage, Result, Vm};

/// The 16 bytes by which the hypervisor identifies a VM.
///
/// They are a name padded with zeros or, for older versions of ACRN, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VmName([u8; 16]);

impl VmName {
    /// Returns a name of 1 to 15 bytes, or `None` if `name` is empty, is longer or contains a zero.
    pub fn new(name: &str) -> Option<Self> {
        if name.is_empty() || name.bytes().any(|b| b == 0) {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..15]
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(VmName(bytes))
    }

    /// Returns a name of all 16 bytes, for example those of a UUID.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        VmName(bytes)
    }

    /// Returns all 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The parameters of a VM to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VmConfig {
    /// The name by which the hypervisor identifies the VM.
    pub name: VmName,
    /// The VM's physical CPUs, one for each vCPU: bit n is CPU n.
    pub cpu_affinity: u64,
    /// The hypervisor's flags for a VM.
    pub flags: u64,
}

impl VmConfig {
    /// Returns the parameters of a VM without flags.
    pub fn new(name: VmName, cpu_affinity: u64) -> Self {
        VmConfig {
            name,
            cpu_affinity,
            flags: 0,
        }
    }
}

/// The open device, without a VM.
#[derive(Debug)]
pub struct Hsm(OwnedFd);

impl Hsm {
    /// Opens `/dev/acrn_hsm`.
    ///
    /// # Errors
    ///
    /// - `ENOENT`: the driver is not loaded.
    /// - `EACCES`: the caller has no access to the device.
    /// - Any other error of `open`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> acrn_ioctls::Result<()> {
    /// let hsm = acrn_ioctls::Hsm::open()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open() -> Result<Self> {
        Self::open_path(Path::new("/dev/acrn_hsm"))
    }

    /// Opens the device by another path.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> acrn_ioctls::Result<()> {
    /// let hsm = acrn_ioctls::Hsm::open_path("/run/acrn_hsm".as_ref())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_path(path: &Path) -> Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
            .map(|file: File| Hsm(file.into()))
            .map_err(|error| {
                Error::new(
                    Operation::Open,
                    error.raw_os_error().unwrap_or(libc::EINVAL),
                )
            })
    }

    /// Creates a VM, with `page` as its request page (`ACRN_IOCTL_CREATE_VM`).
    ///
    /// The driver pins the page, so the caller may drop it before the VM.
    ///
    /// # Errors
    ///
    /// [`Failed::value`] holds the open device.
    ///
    /// - `EINVAL`: the hypervisor refuses, for example because a CPU of `cpu_affinity` is in use.
    /// - `ENODEV`: the Service VM shuts down.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn main() -> Result<()> {
    /// let page = RequestPage::new()?;
    /// let config = VmConfig::new(VmName::new("vm1").unwrap(), 0b1100);
    /// let vm = Hsm::open()?.create_vm(&config, &page)?;
    /// assert_eq!(vm.vcpu_count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_vm(
        self,
        config: &VmConfig,
        page: &RequestPage,
    ) -> std::result::Result<Vm, Failed<Hsm>> {
        let mut creation = acrn_vm_creation {
            uuid: config.name.0,
            vm_flag: config.flags,
            ioreq_buf: page.address(),
            cpu_affinity: config.cpu_affinity,
            ..Default::default()
        };
        // SAFETY: this command reads and writes an `acrn_vm_creation`. This crate and the driver
        // access the page that it names by atomics only.
        match unsafe { call::with_mut(self.as_fd(), ACRN_IOCTL_CREATE_VM, &mut creation) } {
            Ok(()) => Ok(Vm::new(self.0, creation.vmid, creation.vcpu_num)),
            Err(error) => Err(Failed { value: self, error }),
        }
    }
}

impl AsFd for Hsm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Hsm {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Takes over an open file of the device.
impl From<OwnedFd> for Hsm {
    fn from(fd: OwnedFd) -> Self {
        Hsm(fd)
    }
}

impl From<Hsm> for OwnedFd {
    fn from(hsm: Hsm) -> Self {
        hsm.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_and_bounded() {
        assert_eq!(
            VmName::new("ab").unwrap().as_bytes(),
            b"ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert!(VmName::new("fifteen-bytes-1").is_some());
        assert!(VmName::new("sixteen-bytes-12").is_none());
        assert!(VmName::new("").is_none());
        assert!(VmName::new("a\0b").is_none());
    }

    #[test]
    fn open_of_a_missing_device_says_so() {
        let error = Hsm::open_path(Path::new("/nonexistent/acrn_hsm")).unwrap_err();
        assert_eq!(error, Error::new(Operation::Open, libc::ENOENT));
    }

    #[test]
    fn a_refused_create_gives_the_device_back() {
        let hsm = Hsm::open_path(Path::new("/dev/null")).unwrap();
        let page = RequestPage::new().unwrap();
        let config = VmConfig::new(VmName::new("x").unwrap(), 1);
        let failed = hsm.create_vm(&config, &page).unwrap_err();
        assert_eq!(
            failed.error,
            Error::new(Operation::Ioctl(ACRN_IOCTL_CREATE_VM), libc::ENOTTY)
        );
        assert!(failed.value.as_raw_fd() >= 0);
    }
}
