// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Safe methods for the ioctls of the ACRN HSM, the driver of `/dev/acrn_hsm` in ACRN's Service VM.
//!
//! An open device without a VM is an [`Hsm`]. [`Hsm::create_vm`] turns it into a [`Vm`], which has
//! a method for each ioctl. [`Vm::destroy`] turns it back. Dropping a [`Vm`] closes the device, and
//! the driver destroys the VM in any state.
//!
//! The vCPUs put their I/O requests into the [`RequestPage`], which the hypervisor, the driver and
//! the device model share.
//!
//! The structures of the ABI are re-exported as [`uapi`].
//!
//! # Errors
//!
//! The methods do not repeat the checks of the driver. A wrong vCPU number or an unaligned address
//! results in an [`Error`] with the driver's errno.
//!
//! Besides the errors that a method lists, each command may fail with
//!
//! - `ENODEV`: the hypervisor no longer has the VM,
//! - `EINTR`: the process was killed while the command waited,
//! - `ENOMEM`: the kernel has too little memory,
//! - any errno that the hypervisor returns.
//!
//! # Examples
//!
//! ```no_run
//! use acrn_ioctls::{Hsm, MemoryAttributes, RequestPage, Result, VmConfig, VmName};
//!
//! fn serve(memory: &'static mut [u8]) -> Result<()> {
//!     let page = RequestPage::new()?;
//!     let config = VmConfig::new(VmName::new("demo").unwrap(), 1 << 2);
//!     let vm = Hsm::open()?.create_vm(&config, &page)?;
//!     let address = memory.as_mut_ptr() as u64;
//!     // SAFETY: nothing else uses the memory, and it is never freed.
//!     unsafe { vm.set_memory(0, address, memory.len() as u64, MemoryAttributes::RAM)? };
//!     vm.create_ioreq_client()?;
//!     vm.start()?;
//!     loop {
//!         vm.attach_ioreq_client()?;
//!         for (vcpu, slot) in page.slots() {
//!             if slot.is_ours() {
//!                 slot.answer(u64::MAX);
//!                 vm.notify_request_finish(vcpu)?;
//!             }
//!         }
//!     }
//! }
//! ```

mod call;
mod device;
mod error;
mod eventfd;
mod hsm;
mod interrupt;
mod ioreq;
mod memory;
mod physical_cpus;
mod power;
mod request;
mod request_page;
mod vm;

/// The structures, constants and ioctl numbers of the ABI.
pub use acrn_uapi as uapi;

pub use error::{Error, Failed, Operation, Result};
pub use eventfd::{IoEvent, IoEventAddress};
pub use hsm::{Hsm, VmConfig, VmName};
pub use interrupt::{InterruptMonitor, IrqLine};
pub use memory::{CacheType, MemoryAttributes};
pub use physical_cpus::PhysicalCpus;
pub use request::{Direction, MalformedRequest, Request, Target, Width};
pub use request_page::{RequestPage, Slot};
pub use vm::Vm;
