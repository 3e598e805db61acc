// SPDX-License-Identifier: GPL-2.0

//! The driver's tracepoints. One that is off costs a no-op instruction.
//!
//! `kernel::declare_trace!` is for tracepoints whose bindings are those of the kernel crate; a
//! module has bindings of its own.
//!
//! C header: `tracepoints.h`

use super::bindings as own;

/// The handler of a request (`show_handler` in `tracepoints.h`).
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    DeviceModel,
    IoEventFd,
    PciConfig,
}

/// Defines a safe function for a tracepoint.
macro_rules! tracepoint {
    ($(#[$attribute:meta])* $name:ident($($argument:ident: $type:ty),* $(,)?)) => {
        $(#[$attribute])*
        #[inline(always)]
        pub(crate) fn $name($($argument: $type),*) {
            #[cfg(CONFIG_TRACEPOINTS)]
            {
                kernel::macros::paste! {
                    // The type contains an empty structure, whose layout C and Rust agree on.
                    #[allow(improper_ctypes)]
                    unsafe extern "C" {
                        static [<__tracepoint_ $name>]: kernel::bindings::tracepoint;
                    }
                    // SAFETY: The key is that of a tracepoint defined in `tracepoints.c`.
                    let is_on = unsafe {
                        kernel::jump_label::static_branch_unlikely!(
                            [<__tracepoint_ $name>],
                            kernel::bindings::tracepoint,
                            key
                        )
                    };
                    if is_on {
                        // SAFETY: The arguments are plain numbers.
                        unsafe { own::[<rust_do_trace_ $name>]($($argument),*) };
                    }
                }
            }
            #[cfg(not(CONFIG_TRACEPOINTS))]
            let _ = ($($argument),*);
        }
    };
}

tracepoint! {
    /// A handler takes a request. `port` is false for memory.
    acrn_ioreq_dispatch(
        vmid: u16, vcpu: u16, handler: u32, port: bool, write: bool, address: u64, size: u64,
    )
}

tracepoint! {
    /// The device model has completed a request.
    acrn_ioreq_finish(vmid: u16, vcpu: u16)
}

tracepoint! {
    /// An eventfd was signalled, and the driver injects an MSI into the guest.
    acrn_irqfd_inject(vmid: u16, msi_addr: u64, msi_data: u64)
}

tracepoint! {
    /// Pages of user space from the address `start` on were pinned. `with_folio` of them were not
    /// looked up in page tables, but pinned together with an earlier page of their folio.
    acrn_pin_pages(start: u64, pages: u64, with_folio: u64)
}
