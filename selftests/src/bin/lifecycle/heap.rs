// SPDX-License-Identifier: GPL-2.0

//! The kernel's heap, of which a VM that is gone has nothing.

use std::os::fd::AsRawFd;

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{Bench, scattered, whole},
    event::Event,
    harness::Outcome,
    heap::Heap,
    need,
};
use acrn_uapi::{ioctl::*, *};

/// Rounds that let all caches fill.
const BEFORE: usize = 20;
const ROUNDS: i64 = 100;
/// How often they are counted. Others use the same heap, now and then for good; what the driver leaves behind
/// grows each time.
const COUNTS: usize = 3;

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
    let mut growths = Vec::new();
    for _ in 0..COUNTS {
        let heap = need!(Heap::count());
        for _ in 0..ROUNDS {
            need!(round(&area));
        }
        match heap.growth(ROUNDS / 2) {
            Some(growth) => growths.push(growth),
            None => return Outcome::Passed,
        }
    }
    panic!("{growths:?}");
}
