// SPDX-License-Identifier: GPL-2.0

//! The kernel's heap, of which a VM that is gone has nothing.

use std::{collections::BTreeMap, fs, os::fd::AsRawFd, thread, time::Duration};

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{Bench, scattered, whole},
    event::Event,
    harness::Outcome,
    need, skip,
};
use acrn_uapi::{ioctl::*, *};

/// Rounds that let all caches fill.
const BEFORE: usize = 20;
const ROUNDS: i64 = 100;

/// Objects in use, by size class; `None` where the kernel does not tell.
fn heap() -> Option<BTreeMap<String, i64>> {
    // What waits for the end of an RCU grace period gets its time.
    thread::sleep(Duration::from_millis(300));
    // What CPUs keep for later counts as in use.
    for cache in fs::read_dir("/sys/kernel/slab").ok()?.flatten() {
        let _ = fs::write(cache.path().join("shrink"), "1");
    }
    let text = fs::read_to_string("/proc/slabinfo").ok()?;
    let classes = text.lines().filter(|line| line.starts_with("kmalloc-"));
    let counts = classes.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    Some(counts.collect())
}

/// A VM with memory, a client, an ioeventfd and an irqfd comes and goes.
fn round(area: &Area) -> Result<(), String> {
    let bench = Bench::new()?;
    let event = Event::new();
    let device = &bench.device;
    bench.set(whole(area)).expect("SET_MEMSEG");
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    let mut range = acrn_ioeventfd {
        fd: event.as_raw_fd() as u32,
        addr: 0xd000_0000,
        len: 4,
        ..Default::default()
    };
    device
        .with(ACRN_IOCTL_IOEVENTFD, &mut range)
        .expect("IOEVENTFD");
    let mut irq = acrn_irqfd {
        fd: event.as_raw_fd(),
        ..Default::default()
    };
    device.with(ACRN_IOCTL_IRQFD, &mut irq).expect("IRQFD");
    bench.destroy();
    Ok(())
}

/// A hundred VMs leave no object of any size behind.
pub fn does_not_grow() -> Outcome {
    let area = scattered(64);
    assert_eq!(area.len(), 64 * PAGE);
    for _ in 0..BEFORE {
        need!(round(&area));
    }
    let Some(before) = heap() else {
        skip!("no /proc/slabinfo, or no /sys/kernel/slab");
    };
    for _ in 0..ROUNDS {
        need!(round(&area));
    }
    let after = heap().expect("/proc/slabinfo");
    for (class, count) in &after {
        let grown = count - before.get(class).unwrap_or(&0);
        assert!(grown < ROUNDS / 2, "{class}: {grown} more objects");
    }
    Outcome::Passed
}
