// SPDX-License-Identifier: GPL-2.0

//! debugfs directories with files that keep the module loaded while they are open.
//!
//! The file operations of [`kernel::debugfs`] have no owner: closing a file after its module was
//! unloaded would run code that no longer exists.
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

/// A directory. Dropping it removes the directory and its files.
///
/// If debugfs could not create the directory, it and its files do not exist, and no function here
/// fails.
///
/// # Examples
///
/// ```
/// use crate::abstractions::debugfs::Dir;
///
/// static ANSWER: u32 = 42;
///
/// let dir = Dir::new(c"acrn_example");
/// dir.add_file(c"answer", &ANSWER);
/// ```
///
/// # Invariants
///
/// The pointer is a debugfs directory that is ours to remove, or one of debugfs's error pointers.
pub(crate) struct Dir {
    dir: *mut c_void,
    _count: Counted,
}

// SAFETY: The functions of debugfs may be called on any thread.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

impl Dir {
    /// Creates a directory at the root of debugfs.
    pub(crate) fn new(name: &CStr) -> Self {
        Self::create(ptr::null_mut(), name)
    }

    /// Creates a directory in `parent`: a pointer of debugfs, or null for the root.
    fn create(parent: *mut c_void, name: &CStr) -> Self {
        // SAFETY: debugfs copies the name, which is a C string, and checks the parent for errors.
        // INVARIANT: Created here, or an error.
        let dir = unsafe { own::hsm_debugfs_create_dir(name.as_char_ptr(), parent) };
        Self {
            dir,
            _count: Counted::new(&object_count::DIRECTORIES),
        }
    }

    /// Creates the file `name`, which shows `value` to root.
    pub(crate) fn add_file<T: Display + Sync>(&self, name: &CStr, value: &'static T) {
        // SAFETY: The value lives forever.
        unsafe { File::create(self, name, value) };
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Waits for reads in progress of the files in it.
        unsafe { own::hsm_debugfs_remove(self.dir) };
    }
}

/// A directory in another one, with a single file that shows a value to root.
///
/// # Examples
///
/// ```
/// use crate::abstractions::debugfs::{Dir, DirWithFile};
/// use kernel::sync::Arc;
///
/// let parent = Arc::new(Dir::new(c"acrn_example"), GFP_KERNEL)?;
/// let value = Arc::new(42, GFP_KERNEL)?;
/// let _dir = DirWithFile::new(parent, c"vm1", c"answer", value);
/// ```
pub(crate) struct DirWithFile<T: Display + Send + Sync + 'static> {
    // Dropped first: while it exists, the file uses the value.
    _dir: Dir,
    _parent: Arc<Dir>,
    _value: Arc<T>,
}

impl<T: Display + Send + Sync + 'static> DirWithFile<T> {
    /// Creates the directory `name` in `parent`, and the file `file` in it, which shows `value`.
    pub(crate) fn new(parent: Arc<Dir>, name: &CStr, file: &CStr, value: Arc<T>) -> Self {
        let dir = Dir::create(parent.dir, name);
        // SAFETY: The value outlives the directory, which is dropped before it.
        unsafe { File::create(&dir, file, &*value) };
        Self {
            _dir: dir,
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

    /// Creates a file in `dir`.
    ///
    /// # Safety
    ///
    /// `value` must live for as long as the directory.
    unsafe fn create(dir: &Dir, name: &CStr, value: &T) {
        // SAFETY: The name is a C string, and the directory is valid by its invariant. The
        // operations are a promoted constant. They expect an inode with a pointer to a `T`, which
        // outlives the file by the contract of this function.
        unsafe {
            own::hsm_debugfs_create_file(
                name.as_char_ptr(),
                dir.dir,
                ptr::from_ref(value).cast_mut().cast(),
                ptr::from_ref(&Self::OPERATIONS).cast(),
            )
        };
    }

    /// # Safety
    ///
    /// Called by debugfs, for a file that `create` created and that has not been removed.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: Both are valid, and the inode has the pointer that `create` gave it.
        unsafe { bindings::single_open(file, Some(Self::show), (*inode).i_private) }
    }

    /// # Safety
    ///
    /// Called by `seq_read` for a file that `open` opened. debugfs starts no read of a removed
    /// file, and its removal waits for reads in progress.
    unsafe extern "C" fn show(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: The pointer that `open` passed on, to a value that exists until the file is
        // removed.
        let value = unsafe { &*(*file).private.cast::<T>() };
        // SAFETY: Valid, and used by this thread only during the call.
        seq_print!(unsafe { SeqFile::from_raw(file) }, "{}", value);
        0
    }
}
