// SPDX-License-Identifier: GPL-2.0

//! Kernel memory that is not zero, so that bytes that a driver does not clear are visible.

/// Leaves an object full of ones in the kernel's heap, in the size class of `acrn_ptdev_irq`.
pub fn dirty_the_heap() {
    let ones = [0xffu8; 32];
    // SAFETY: The strings end in zeros, and the value has the length that is passed. The kernel
    // copies it to the heap before it looks for the attribute. It does not matter if there is no
    // such attribute.
    unsafe {
        libc::setxattr(
            c"/tmp".as_ptr(),
            c"user.selftest".as_ptr(),
            ones.as_ptr().cast(),
            ones.len(),
            libc::XATTR_REPLACE,
        )
    };
}
