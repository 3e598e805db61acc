// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The file systems that programs expect.

use std::{fs, io};

use nix::mount::{MsFlags, mount};

const ALL: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/dev/shm"),
    ("hugetlbfs", "/dev/hugepages"),
];

/// Mounts everything in [`ALL`].
pub fn mount_all() -> io::Result<()> {
    for (kind, target) in ALL {
        fs::create_dir_all(target)?;
        mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .map_err(|error| io::Error::other(format!("mount {kind} on {target}: {error}")))?;
    }
    Ok(())
}
