// SPDX-License-Identifier: GPL-2.0

//! Memory that the kernel allocates for this thread and does not free: the heap exactly, by
//! tracepoints, and `vmalloc` by pages.

use std::{collections::HashMap, fs, path::Path};

use nix::unistd::gettid;

const TRACEFS: &str = "/sys/kernel/tracing";
const EVENTS: [&str; 4] = ["kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free"];

/// Measures the growth of the kernel's memory.
pub struct KernelMemory {
    vmalloc: u64,
}

impl KernelMemory {
    /// Starts the measurement. The error says why the test must be skipped.
    pub fn watch() -> Result<Self, String> {
        if !Path::new(TRACEFS).join("events/kmem").exists() {
            return Err(format!("no {TRACEFS}/events/kmem"));
        }
        write("trace", "");
        write("set_event_pid", &gettid().to_string());
        enable("1");
        Ok(Self { vmalloc: vmalloc() })
    }

    /// Returns the growth in bytes.
    pub fn held(self) -> u64 {
        enable("0");
        let more = vmalloc().saturating_sub(self.vmalloc);
        let trace = fs::read_to_string(file("trace")).expect("the trace");
        more + live(&trace)
    }
}

impl Drop for KernelMemory {
    fn drop(&mut self) {
        enable("0");
        write("set_event_pid", "");
    }
}

fn file(name: &str) -> String {
    format!("{TRACEFS}/{name}")
}

fn write(name: &str, text: &str) {
    fs::write(file(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn enable(text: &str) {
    for event in EVENTS {
        write(&format!("events/kmem/{event}/enable"), text);
    }
}

/// Returns `VmallocUsed` in bytes.
fn vmalloc() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmallocUsed:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    number.expect("VmallocUsed") << 10
}

/// Returns the bytes of objects that are allocated and not freed in a trace.
fn live(trace: &str) -> u64 {
    let mut live = HashMap::new();
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        let value = |key: &str| {
            let words = line.split_ascii_whitespace();
            words.filter_map(|word| word.strip_prefix(key)).next()
        };
        let Some(pointer) = value("ptr=") else {
            continue;
        };
        match value("bytes_alloc=").and_then(|bytes| bytes.parse::<u64>().ok()) {
            Some(bytes) => live.insert(pointer, bytes),
            None => live.remove(pointer),
        };
    }
    live.values().sum()
}

#[cfg(test)]
mod tests {
    use super::live;

    #[test]
    fn what_was_freed_does_not_live() {
        let trace = "# tracer: nop\n\
             bench-1 [001] ..... 1.0: kmalloc: call_site=a ptr=00aa bytes_req=60 \
             bytes_alloc=64 gfp_flags=GFP_KERNEL\n\
             bench-1 [001] ..... 1.1: kmem_cache_alloc: call_site=b ptr=00bb name=x \
             bytes_req=200 bytes_alloc=256\n\
             bench-1 [001] ..... 1.2: kfree: call_site=c ptr=00aa\n";
        assert_eq!(live(trace), 256);
    }
}
