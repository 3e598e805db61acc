// SPDX-License-Identifier: GPL-2.0

//! Safe types over kernel facilities for which the kernel crate has no abstraction.
//!
//! All raw bindings of the driver are used in this directory and nowhere else. Each file is
//! written as if it were part of `rust/kernel/`, and says at its head which abstraction of the
//! kernel crate comes close and why it does not fit.

pub(crate) mod acrn_guest;
mod bindings;
pub(crate) mod contiguous;
pub(crate) mod cpu_hotplug;
pub(crate) mod debugfs;
pub(crate) mod device_attribute;
pub(crate) mod eventfd;
pub(crate) mod eventfd_notifier;
mod examples;
pub(crate) mod kthread;
pub(crate) mod lent_pages;
pub(crate) mod miscdevice;
pub(crate) mod mmio_range;
pub(crate) mod mmu_interval_notifier;
pub(crate) mod object_count;
pub(crate) mod page_run;
pub(crate) mod pci;
pub(crate) mod pfnmap;
pub(crate) mod pinned_pages;
pub(crate) mod ratelimit;
pub(crate) mod reboot_notifier;
pub(crate) mod rwsem;
pub(crate) mod sched;
pub(crate) mod shared_page;
pub(crate) mod swait_queue;
pub(crate) mod tracepoints;
pub(crate) mod tsc;
pub(crate) mod uapi;
