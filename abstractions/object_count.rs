// SPDX-License-Identifier: GPL-2.0

//! The number of objects of each type, to find leaks.
//!
//! The kernel's allocator counts by size, and all users of a size together. These counts are the
//! driver's own: once a VM is gone they are what they were before it was created.
//!
//! A count is exact only while no command is in progress: counts are relaxed, and each is read by
//! itself.

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        ordering,
        Atomic, //
    },
};

/// The number of objects of one type.
pub(crate) struct Count {
    name: &'static str,
    number: Atomic<i64>,
}

impl Count {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            number: Atomic::new(0),
        }
    }

    /// Adds `number`, which may be negative. For objects that are parts of a larger one, such as
    /// pages; other objects have a field of type [`Counted`].
    pub(super) fn change(&self, number: i64) {
        self.number.add(number, ordering::Relaxed);
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $count:ident = $name:literal;)*) => {
        $($(#[$doc])* pub(crate) static $count: Count = Count::new($name);)*

        impl fmt::Display for AllCounts {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for count in [$(&$count),*] {
                    let number = count.number.load(ordering::Relaxed);
                    f.write_fmt(fmt!("{} {}\n", count.name, number))?;
                }
                Ok(())
            }
        }
    };
}

/// Displays all counts, as one `name number` per line.
pub(crate) struct AllCounts;

counts! {
    /// Open files of the device.
    FILES = "files";
    /// User VMs.
    VMS = "vms";
    /// debugfs directories.
    DIRECTORIES = "directories";
    /// Request pages.
    REQUEST_PAGES = "request_pages";
    /// Ioreq clients.
    CLIENTS = "clients";
    /// Entries of ioeventfd tables. An assigned ioeventfd is in two tables: that of the upcall and
    /// that of changes.
    IOEVENTFDS = "ioeventfds";
    /// Eventfd notifiers.
    IRQFDS = "irqfds";
    /// References to event counters.
    EVENTFDS = "eventfds";
    /// Segments of guest memory.
    MAPPINGS = "mappings";
    /// Groups of pins that the hypervisor maps or that are parked.
    PINS = "pins";
    /// Pinned pages.
    PINNED_PAGES = "pinned_pages";
    /// MMU interval notifiers.
    NOTIFIERS = "notifiers";
    /// Buffers that the hypervisor reads or writes.
    BUFFERS = "buffers";
    /// References to PCI functions.
    PCI_FUNCTIONS = "pci_functions";
}

/// A field of a counted object: the object is counted from [`Counted::new`] until it is dropped. An
/// object that is leaked stays counted.
///
/// # Examples
///
/// ```
/// use crate::abstractions::object_count::{self, Counted};
///
/// struct Buffer {
///     _bytes: [u8; 16],
///     _count: Counted,
/// }
///
/// let _buffer = Buffer {
///     _bytes: [0; 16],
///     _count: Counted::new(&object_count::BUFFERS),
/// };
/// ```
pub(crate) struct Counted(&'static Count);

impl Counted {
    /// Counts one more object.
    pub(crate) fn new(count: &'static Count) -> Self {
        count.change(1);
        Self(count)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.change(-1);
    }
}
