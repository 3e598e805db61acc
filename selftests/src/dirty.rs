// SPDX-License-Identifier: GPL-2.0

//! Memory of the kernel that is not zero: what a driver does not clear shows.

/// Leaves an object full of ones in the kernel's heap, of the size class of `acrn_ptdev_irq`.
pub fn dirty_the_heap() {
    let ones = [0xffu8; 32];
    // SAFETY: the strings end in zeros, and the value is as long as it says. It is copied to the heap; that there
    // may be no such attributes is found out afterwards, and does not matter.
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
