// SPDX-License-Identifier: GPL-2.0

//! Folders of debugfs with files that keep the module loaded while they are open.
//!
//! The operations of [`kernel::debugfs`] name no owner: a file that is still open when its module
//! goes would be closed by code that is not there any more.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use super::{
    bindings as own,
    object_count::{
        self,
        Counted, //
    },
};
use core::{
    marker::PhantomData,
    ptr, //
};
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
pub(crate) struct Folder {
    folder: *mut c_void,
    _live: Counted,
}

// SAFETY: debugfs's functions may be called on any thread.
unsafe impl Send for Folder {}
// SAFETY: As above.
unsafe impl Sync for Folder {}

impl Folder {
    /// Makes a folder at the top of debugfs.
    pub(crate) fn new(name: &CStr) -> Self {
        Self::below(ptr::null_mut(), name)
    }

    /// Makes a folder in `parent`, one of debugfs's pointers or null for the top.
    fn below(parent: *mut c_void, name: &CStr) -> Self {
        // SAFETY: The name is a C string, which is copied; the parent is as debugfs expects.
        // INVARIANT: Made here, or an error.
        let folder = unsafe { own::hsm_debugfs_folder(name.as_char_ptr(), parent) };
        Self {
            folder,
            _live: Counted::new(&object_count::FOLDERS),
        }
    }

    /// Adds the file `name`, that root can read and that shows `value`.
    pub(crate) fn add_file<T: Display + Sync>(&self, name: &CStr, value: &'static T) {
        // SAFETY: The value lives for ever.
        unsafe { File::add(self, name, value) };
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Waits for reads under way, of files below it too.
        unsafe { own::hsm_debugfs_remove(self.folder) };
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
    /// Makes the folder `name` in `parent`, with the file `file` that shows `value`.
    pub(crate) fn new(parent: Arc<Folder>, name: &CStr, file: &CStr, value: Arc<T>) -> Self {
        let folder = Folder::below(parent.folder, name);
        // SAFETY: The value outlives the folder, which is dropped before it.
        unsafe { File::add(&folder, file, &*value) };
        Self {
            _folder: folder,
            _parent: parent,
            _value: value,
        }
    }
}

/// The operations of a file that shows a `T`.
struct File<T>(PhantomData<T>);

impl<T: Display + Sync + 'static> File<T> {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };

    /// Adds a file to `folder`.
    ///
    /// # Safety
    ///
    /// `value` must live for as long as the folder.
    unsafe fn add(folder: &Folder, name: &CStr, value: &T) {
        // SAFETY: The name is a C string, the folder one by its invariant. The operations are a
        // promoted constant, and expect an inode with a pointer to a `T`, which outlives the file by
        // the contract of this function.
        unsafe {
            own::hsm_debugfs_file(
                name.as_char_ptr(),
                folder.folder,
                ptr::from_ref(value).cast_mut().cast(),
                ptr::from_ref(&Self::OPERATIONS).cast(),
            )
        };
    }

    /// # Safety
    ///
    /// Called by debugfs, for a file that `add` made and that has not been removed.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: Both are valid, and the inode has the pointer that `add` gave it.
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
