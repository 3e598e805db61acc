// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The initramfs of the Service VM, which contains that of the User VM.

use std::{collections::BTreeSet, fs, io, path::Path};

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::cli::{Driver, Machine};

/// Builds the archive. `testbed/README.md` lists its contents.
pub fn build(machine: &Machine) -> io::Result<Vec<u8>> {
    let init = read(&machine.init)?;
    let driver = match machine.driver {
        Driver::Rust => &machine.rust_driver,
        Driver::C => machine.c_driver.as_ref().unwrap_or(&machine.rust_driver),
    };
    let mut archive = Archive::default();
    archive.add("init", &init)?;
    archive.add("bin/acrn-vmm", &read(&machine.vmm)?)?;
    archive.add("modules/rust/acrn.ko", &read(&machine.rust_driver)?)?;
    if let Some(driver) = &machine.c_driver {
        archive.add("modules/c/acrn.ko", &read(driver)?)?;
    }
    for module in &machine.probes {
        archive.add_to("modules", module)?;
    }
    archive.add_directory("selftests")?;
    for program in &machine.selftests {
        archive.add_to("selftests", program)?;
    }
    archive.add("guest/bzImage", &read(&machine.kernel)?)?;

    let mut guest = Archive::default();
    guest.add("init", &init)?;
    // The User VM tries to load the driver, which must refuse.
    guest.add("modules/acrn.ko", &read(driver)?)?;
    archive.add("guest/initramfs.cpio", &guest.finish()?)?;
    archive.finish()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds an executable file, and the directories above it.
    fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        for (slash, _) in name.match_indices('/') {
            self.add_directory(&name[..slash])?;
        }
        self.entry(name, ModeFileType::Regular, content)
    }

    /// Adds a file under its own name.
    fn add_to(&mut self, directory: &str, file: &Path) -> io::Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.add(&format!("{directory}/{name}"), &read(file)?)
    }

    fn add_directory(&mut self, name: &str) -> io::Result<()> {
        if self.folders.insert(name.to_owned()) {
            self.entry(name, ModeFileType::Directory, &[])?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut writer = Builder::new(name)
            .ino(self.entries)
            .mode(0o755)
            .set_mode_file_type(kind)
            .write(&mut self.bytes, size);
        io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        trailer(&mut self.bytes)?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;

    #[test]
    fn directories_precede_files_once() {
        let mut archive = Archive::default();
        archive.add("a/b/one", b"1").unwrap();
        archive.add("a/b/two", b"22").unwrap();
        let bytes = archive.finish().unwrap();

        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            let reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().file_size()));
            rest = reader.finish().unwrap();
        }
        let expected = [("a", 0), ("a/b", 0), ("a/b/one", 1), ("a/b/two", 2)];
        assert_eq!(names, expected.map(|(name, size)| (name.to_owned(), size)));
    }
}
