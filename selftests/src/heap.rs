// SPDX-License-Identifier: GPL-2.0

//! The kernel's heap.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

/// How long objects may stay that nobody needs any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Objects in use, by size class.
pub struct Heap(BTreeMap<String, i64>);

impl Heap {
    /// Counts them now. The error says why a test has to be skipped.
    pub fn count() -> Result<Self, String> {
        // What waits for the end of an RCU grace period gets its time.
        thread::sleep(Duration::from_millis(300));
        // What CPUs keep for later counts as in use.
        let caches = fs::read_dir("/sys/kernel/slab");
        for cache in caches.map_err(|_| "no /sys/kernel/slab")?.flatten() {
            let _ = fs::write(cache.path().join("shrink"), "1");
        }
        let text = fs::read_to_string("/proc/slabinfo").map_err(|_| "no /proc/slabinfo")?;
        let classes = text.lines().filter(|line| line.starts_with("kmalloc-"));
        let counts = classes.filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        });
        Ok(Self(counts.collect()))
    }

    /// The size of which there are, and stay, `many` more objects now, or more than that.
    pub fn growth(&self, many: i64) -> Option<String> {
        let began = Instant::now();
        loop {
            let after = Self::count().expect("counted before");
            let grown = |class: &String, count| count - self.0.get(class).unwrap_or(&0);
            let mut classes = after.0.iter();
            let (class, count) = classes.find(|(class, count)| grown(class, **count) >= many)?;
            // What a process leaves is freed in its own time.
            if began.elapsed() > PATIENCE {
                return Some(format!("{class}: {} more objects", grown(class, *count)));
            }
        }
    }
}
