// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Safe methods over the ioctls of the ACRN HSM, the driver behind `/dev/acrn_hsm` in ACRN's Service VM.
//!
//! An open device without a VM is an [`Hsm`]. [`Hsm::create_vm`] turns it into a [`Vm`], which has a method
//! per ioctl, and [`Vm::destroy`] turns it back. Dropping a [`Vm`] closes the device, upon which the driver
//! takes the VM down, whatever it is doing.
//!
//! What a vCPU wants from the device model lies in a page that it shares with the driver and the
//! hypervisor, the [`RequestPage`].
//!
//! The structures of the ABI are re-exported as [`uapi`]. No method checks what the driver checks anyway: a
//! wrong vCPU number or an unaligned address comes back as an [`Error`] with the driver's errno.
//!
//! ```no_run
//! use acrn_ioctls::{Hsm, MemoryAttributes, RequestPage, Result, VmConfig, VmName};
//!
//! fn serve(memory: &'static mut [u8]) -> Result<()> {
//!     let page = RequestPage::new()?;
//!     let config = VmConfig::new(VmName::new("demo").unwrap(), 1 << 2);
//!     let vm = Hsm::open()?.create_vm(&config, &page)?;
//!     let address = memory.as_mut_ptr() as u64;
//!     // SAFETY: the memory is ours alone and lives for ever.
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
