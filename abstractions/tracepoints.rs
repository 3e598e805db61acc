// SPDX-License-Identifier: GPL-2.0

//! The driver's tracepoints. One that is off costs a no-op instruction.
//!
//! C header: `tracepoints.h`

use super::bindings as own;

/// Who takes a request.
#[derive(Clone, Copy)]
pub(crate) enum Taker {
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
                    // The type has an empty structure in it, of which C and Rust think the same.
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
    /// A request of a guest is taken by somebody. `port` is false for memory.
    acrn_ioreq_dispatch(
        vmid: u16, vcpu: u16, taker: u32, port: bool, write: bool, address: u64, size: u64,
    )
}

tracepoint! {
    /// The device model has answered a request.
    acrn_ioreq_finish(vmid: u16, vcpu: u16)
}

tracepoint! {
    /// An eventfd was signalled, and an MSI goes to the guest.
    acrn_irqfd_inject(vmid: u16, msi_addr: u64, msi_data: u64)
}

tracepoint! {
    /// Pages of user space from the address `start` on were pinned. `with_folio` of them were not looked
    /// up in page tables, but pinned together with an earlier page of their folio.
    acrn_pin_pages(start: u64, pages: u64, with_folio: u64)
}
