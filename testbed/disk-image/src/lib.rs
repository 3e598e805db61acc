// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Disk images of Linux User VMs, and the proof that a guest has read and written its own.
//!
//! The host creates an image with a file system and a file, [`HOST_FILE`]. The guest reads this
//! file and writes [`GUEST_FILE`] with the content that [`answer`] returns. The host reads it back
//! and compares.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

/// The file that the host writes.
pub const HOST_FILE: &str = "from-host";
/// The file that the guest writes.
pub const GUEST_FILE: &str = "from-guest";
/// The size of each file in bytes. It is not a multiple of a sector, and exceeds a single request.
pub const FILE_SIZE: usize = 300_001;
/// The size of the disk in bytes.
const DISK_SIZE: u64 = 8 << 20;

/// Returns the content of the host's file: pseudo-random bytes that depend on `seed`.
pub fn content(seed: u64) -> Vec<u8> {
    // Knuth's linear congruential generator, whose upper bits are random enough.
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..FILE_SIZE).map(|_| next()).collect()
}

/// Returns the guest's content for `content`: the bytes in reverse order, each inverted.
pub fn answer(content: &[u8]) -> Vec<u8> {
    content.iter().rev().map(|byte| !byte).collect()
}

/// Creates the image with the host's file.
pub fn create(path: &Path, seed: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.set_len(DISK_SIZE)?;
    let label = FormatVolumeOptions::new().volume_label(*b"TESTBED    ");
    fatfs::format_volume(&mut file, label)?;
    let disk = FileSystem::new(&mut file, FsOptions::new())?;
    disk.root_dir()
        .create_file(HOST_FILE)?
        .write_all(&content(seed))?;
    disk.unmount()?;
    file.sync_all()
}

/// Checks the files on the disk. The error describes a difference.
pub fn verify(path: &Path, seed: u64) -> Result<(), String> {
    let written = content(seed);
    compare(path, HOST_FILE, &written)?;
    compare(path, GUEST_FILE, &answer(&written))
}

fn compare(path: &Path, name: &str, expected: &[u8]) -> Result<(), String> {
    let found = read(path, name).map_err(|error| format!("{name}: {error}"))?;
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("{name}: {found} bytes, not {expected}"));
    }
    match found.iter().zip(expected).position(|(f, e)| f != e) {
        Some(place) => Err(format!(
            "{name}: byte {place} is {:#04x}, not {:#04x}",
            found[place], expected[place]
        )),
        None => Ok(()),
    }
}

fn read(path: &Path, name: &str) -> io::Result<Vec<u8>> {
    // FAT marks a mounted disk as in use. The image under test must not change.
    let image = io::Cursor::new(std::fs::read(path)?);
    let disk = FileSystem::new(image, FsOptions::new())?;
    let mut bytes = Vec::new();
    disk.root_dir().open_file(name)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes the guest's file in the directory of the mounted disk. Returns its length in bytes.
pub fn write_answer(directory: &Path) -> io::Result<usize> {
    let answer = answer(&std::fs::read(directory.join(HOST_FILE))?);
    let mut file = File::create(directory.join(GUEST_FILE))?;
    file.write_all(&answer)?;
    file.sync_all()?;
    Ok(answer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file to the disk, as a guest does.
    fn put(path: &Path, bytes: &[u8]) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let disk = FileSystem::new(file, FsOptions::new()).unwrap();
        let mut file = disk.root_dir().create_file(GUEST_FILE).unwrap();
        file.truncate().unwrap();
        file.write_all(bytes).unwrap();
    }

    #[test]
    fn only_the_right_answer_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("disk");
        create(&image, 7).unwrap();
        assert!(verify(&image, 7).unwrap_err().starts_with(GUEST_FILE));
        assert!(verify(&image, 8).unwrap_err().starts_with(HOST_FILE));
        let mut right = answer(&content(7));
        put(&image, &right);
        assert_eq!(verify(&image, 7), Ok(()));
        right[100_000] ^= 1;
        put(&image, &right);
        assert!(verify(&image, 7).unwrap_err().contains("byte 100000"));
        put(&image, &right[1..]);
        assert!(verify(&image, 7).unwrap_err().contains("300000 bytes"));
    }

    #[test]
    fn guest_answers_what_it_reads() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(HOST_FILE), b"abc").unwrap();
        assert_eq!(write_answer(directory.path()).unwrap(), 3);
        let written = std::fs::read(directory.path().join(GUEST_FILE)).unwrap();
        assert_eq!(written, [!b'c', !b'b', !b'a']);
    }
}
