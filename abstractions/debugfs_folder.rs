// SPDX-License-Identifier: GPL-2.0

//! Folders of debugfs with a file that keeps the module loaded while it is open.
//!
//! The operations of [`kernel::debugfs`] name no owner: a file that is still open when its module
//! goes would be closed by code that is not there any more.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use super::bindings as own;
use core::ptr;
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    },
    fmt::Display,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc, //
};

/// A folder, for as long as this lives. If it could not be made, it and all below it are not there.
///
/// # Invariants
///
/// The pointer is a folder of debugfs that is ours to remove, or one of debugfs's error pointers.
pub(crate) struct Folder(*mut c_void);

// SAFETY: debugfs's functions may be called on any thread.
unsafe impl Send for Folder {}
// SAFETY: As above.
unsafe impl Sync for Folder {}

impl Folder {
    /// Makes a folder at the top of debugfs.
    pub(crate) fn new(name: &CStr) -> Self {
        // SAFETY: The name is a C string, which is copied; no parent is the top.
        // INVARIANT: Made here, or an error.
        Self(unsafe { own::hsm_debugfs_folder(name.as_char_ptr(), ptr::null_mut()) })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Waits for reads under way, of files below it too.
        unsafe { own::hsm_debugfs_remove(self.0) };
    }
}

/// A folder in another one, with one file that root can read and that shows a value.
pub(crate) struct FolderWithFile<T: Display + Send + Sync + 'static> {
    // First: while it is there, the file uses the value.
    _folder: Folder,
    _parent: Arc<Folder>,
    _value: Arc<T>,
}

impl<T: Display + Send + Sync + 'static> FolderWithFile<T> {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };

    /// Makes the folder `name` in `parent`, with the file `file` that shows `value`.
    pub(crate) fn new(parent: Arc<Folder>, name: &CStr, file: &CStr, value: Arc<T>) -> Self {
        // SAFETY: The name is a C string, which is copied; the parent is one by its invariant.
        // INVARIANT: Made here, or an error.
        let folder = Folder(unsafe { own::hsm_debugfs_folder(name.as_char_ptr(), parent.0) });
        // SAFETY: The name is a C string, the folder one by its invariant. The operations are a
        // promoted constant, and expect an inode with a pointer to a `T`, which outlives the file.
        unsafe {
            own::hsm_debugfs_file(
                file.as_char_ptr(),
                folder.0,
                ptr::from_ref::<T>(&value).cast_mut().cast(),
                ptr::from_ref(&Self::OPERATIONS).cast(),
            )
        };
        Self {
            _folder: folder,
            _parent: parent,
            _value: value,
        }
    }

    /// # Safety
    ///
    /// Called by debugfs, for a file that `new` made and that has not been removed.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: Both are valid, and the inode has the pointer that `new` gave it.
        unsafe { bindings::single_open(file, Some(Self::show), (*inode).i_private) }
    }

    /// # Safety
    ///
    /// Called by the `seq_read` of a file that `open` opened. debugfs lets none begin once the file is
    /// removed, and its removal waits for those under way.
    unsafe extern "C" fn show(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: The pointer that `open` passed on, to a value that is there until the file is removed.
        let value = unsafe { &*(*file).private.cast::<T>() };
        // SAFETY: Valid, and this thread's during the call.
        seq_print!(unsafe { SeqFile::from_raw(file) }, "{}", value);
        0
    }
}
