// SPDX-License-Identifier: GPL-2.0

//! How many objects of each kind there are, for whoever looks for one that is left behind.
//!
//! What the kernel's allocator tells of a size is the sum of all users of that size. These numbers are the
//! driver's own: a VM that has gone leaves them as they were.

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        ordering,
        Atomic, //
    },
};

/// The objects of one kind that there are.
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

    /// There are `number` more, or less if it is negative. For what is owned by the piece; a single object has
    /// a [`Counted`].
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

/// All kinds, one `name number` a line.
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
    /// Pieces of pinned memory that the hypervisor maps, or that are parked.
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

/// Counts the object that it is a field of, for as long as that lives.
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
