// SPDX-License-Identifier: GPL-2.0

//! Safe types over kernel facilities that the kernel crate has no abstraction for.
//!
//! All raw bindings of the driver are used here, and nowhere else. Each file is written as it could
//! stand in `rust/kernel/`.

pub(crate) mod acrn_guest;
mod bindings;
pub(crate) mod contiguous;
pub(crate) mod cycles;
pub(crate) mod debugfs_folder;
pub(crate) mod device_attribute;
pub(crate) mod eventfd;
pub(crate) mod eventfd_hook;
pub(crate) mod hotplug_cpu;
pub(crate) mod kernel_thread;
pub(crate) mod lent_pages;
pub(crate) mod live_objects;
pub(crate) mod log;
pub(crate) mod misc_device;
pub(crate) mod mm_watch;
pub(crate) mod mmio_range;
pub(crate) mod pci_function;
pub(crate) mod pfn_map;
pub(crate) mod pinned_pages;
pub(crate) mod reboot_notifier;
pub(crate) mod resched;
pub(crate) mod rw_semaphore;
pub(crate) mod shared_page;
pub(crate) mod simple_wait_queue;
pub(crate) mod tracepoints;
pub(crate) mod uapi_types;
