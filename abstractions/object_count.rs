// SPDX-License-Identifier: GPL-2.0

//! The number of objects of each kind, to find leaks.
//!
//! The kernel's allocator counts by size, and all of the kernel's users of a size together. These numbers are
//! the driver's own: when a VM is gone they are what they were before it was created.
//!
//! A number is exact only while no command is under way: counts are relaxed, and each is read by itself.

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        ordering,
        Atomic, //
    },
};

/// The number of live objects of one kind.
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

    /// Adds `number`, which may be negative. For objects that are parts of a larger one, like pages; others
    /// have a [`Counted`].
    pub(super) fn change(&self, number: i64) {
        self.number.add(number, ordering::Relaxed);
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $count:ident = $name:literal;)*) => {
        $($(#[$doc])* pub(crate) static $count: Count = Count::new($name);)*

        impl fmt::Display for LiveObjects {
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

/// Shows all kinds, one `name number` a line.
pub(crate) struct LiveObjects;

counts! {
    /// Open files of the device.
    FILES = "files";
    /// User VMs.
    VMS = "vms";
    /// Folders of debugfs.
    FOLDERS = "folders";
    /// Pages of I/O requests.
    REQUEST_PAGES = "request_pages";
    /// Device models as clients.
    CLIENTS = "clients";
    /// Entries of tables of ioeventfds. One that is assigned is in one table for the upcall and in another for
    /// changes.
    IOEVENTFDS = "ioeventfds";
    /// Hooks on eventfds.
    IRQFDS = "irqfds";
    /// References to event counters.
    EVENTFDS = "eventfds";
    /// Segments of guest memory.
    MAPPINGS = "mappings";
    /// Pieces of pinned memory that the hypervisor maps or that are parked.
    PINS = "pins";
    /// Pinned pages.
    PINNED_PAGES = "pinned_pages";
    /// Ranges of user addresses that are watched.
    WATCHES = "watches";
    /// Pieces of memory that the hypervisor reads or writes.
    BUFFERS = "buffers";
    /// References to PCI functions.
    PCI_FUNCTIONS = "pci_functions";
}

/// As a field, counts its object: from [`Counted::new`] until it is dropped. An object that is forgotten stays
/// counted.
pub(crate) struct Counted(&'static Count);

impl Counted {
    /// Counts one more.
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
