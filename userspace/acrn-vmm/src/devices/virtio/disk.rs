// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A file or a block device as a disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Context, Error, Result};

pub const SECTOR: u64 = 512;

/// The number of bytes that are copied at a time.
const CHUNK: usize = 64 << 10;

/// The disk.
pub struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
    chunk: Box<[u8]>,
}

impl Disk {
    /// Opens the file and locks it, as the contents of a guest's disk must not change otherwise.
    pub fn open(path: &Path, read_only: bool) -> Result<Self> {
        let doing = || format!("disk {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .context(doing)?;
        let lock = match read_only {
            true => file.try_lock_shared(),
            false => file.try_lock(),
        };
        // Some file systems have no locks. There the user is responsible.
        if let Err(TryLockError::WouldBlock) = lock {
            return Err(Error::new(format!("{}: in use", doing())));
        }
        let size = file.seek(SeekFrom::End(0)).context(doing)?;
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(Error::new(format!(
                "{}: {size} bytes are not a number of sectors of {SECTOR}",
                doing()
            )));
        }
        Ok(Disk {
            file,
            sectors: size / SECTOR,
            read_only,
            chunk: vec![0; CHUNK].into(),
        })
    }

    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Returns the offset of `len` bytes from this sector on, if they are whole sectors on the
    /// disk.
    fn place(&self, sector: u64, len: usize) -> io::Result<u64> {
        let len = len as u64;
        let end = sector.checked_add(len / SECTOR);
        if !len.is_multiple_of(SECTOR) || end.is_none_or(|end| end > self.sectors) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(sector * SECTOR)
    }

    /// Copies `len` bytes from the disk.
    pub fn read(&mut self, sector: u64, len: usize, to: &mut impl Write) -> io::Result<()> {
        let mut place = self.place(sector, len)?;
        let mut left = len;
        while left != 0 {
            let chunk = &mut self.chunk[..left.min(CHUNK)];
            self.file.read_exact_at(chunk, place)?;
            to.write_all(chunk)?;
            place += chunk.len() as u64;
            left -= chunk.len();
        }
        Ok(())
    }

    /// Copies `len` bytes to the disk.
    pub fn write(&mut self, sector: u64, len: usize, from: &mut impl Read) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let mut place = self.place(sector, len)?;
        let mut left = len;
        while left != 0 {
            let chunk = &mut self.chunk[..left.min(CHUNK)];
            from.read_exact(chunk)?;
            self.file.write_all_at(chunk, place)?;
            place += chunk.len() as u64;
            left -= chunk.len();
        }
        Ok(())
    }

    /// Flushes written data to storage.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::tempfile::TempFile;

    fn file(size: u64) -> TempFile {
        let file = TempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        file
    }

    #[test]
    fn data_goes_in_and_out_in_chunks() {
        let file = file(1 << 20);
        let mut disk = Disk::open(file.as_path(), false).unwrap();
        let data: Vec<u8> = (0..CHUNK + 1024).map(|n| (n % 251) as u8).collect();
        disk.write(3, data.len(), &mut &data[..]).unwrap();
        let mut back = Vec::new();
        disk.read(3, data.len(), &mut back).unwrap();
        assert!(back == data);
        disk.flush().unwrap();
    }

    #[test]
    fn nothing_behind_the_end() {
        let file = file(4096);
        let mut disk = Disk::open(file.as_path(), false).unwrap();
        assert_eq!(disk.sectors(), 8);
        for (sector, len) in [(8, 512), (7, 1024), (0, 8192), (0, 100), (u64::MAX, 512)] {
            assert!(disk.read(sector, len, &mut Vec::new()).is_err());
            assert!(disk.write(sector, len, &mut io::repeat(0)).is_err());
        }
        assert!(disk.read(8, 0, &mut Vec::new()).is_ok());
    }

    #[test]
    fn read_only_disks_are_shared_and_not_written() {
        let file = file(4096);
        let mut disk = Disk::open(file.as_path(), true).unwrap();
        assert!(Disk::open(file.as_path(), true).is_ok());
        assert!(disk.write(0, 512, &mut io::repeat(0)).is_err());
        let error = Disk::open(file.as_path(), false).err().unwrap().to_string();
        assert!(error.ends_with("in use"), "{error}");
    }

    #[test]
    fn odd_files_are_refused() {
        for size in [0, 1, 513] {
            assert!(Disk::open(file(size).as_path(), true).is_err());
        }
    }
}
