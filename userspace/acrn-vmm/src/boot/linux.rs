// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A Linux kernel, started by the 64-bit boot protocol.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::{self, BzImage, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use acrn_ioctls::uapi::acrn_vcpu_regs;

use super::registers;
use crate::acpi;
use crate::error::{Context, Error, Result};
use crate::memory::LOW_END;

const ZERO_PAGE: u64 = 0x7000;
const CMDLINE: u64 = 0x2_0000;
const CMDLINE_ROOM: u64 = 0x1_0000;
const KERNEL: u64 = 0x10_0000;
/// The offset of the 64-bit entry point in a loaded kernel.
const ENTRY_64: u64 = 0x200;
/// The end of conventional memory. The firmware's area follows, up to [`KERNEL`].
const LOW_RAM_END: u64 = 0xA_0000;

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

/// Parameters for every kernel on this machine. There is no PIT whose interrupt the kernel could
/// test. The TSC is reliable, and the PM timer is too slow to verify it.
const MACHINE_CMDLINE: &str = "no_timer_check tsc=reliable";

const LOADER_UNREGISTERED: u8 = 0xff;
/// `xloadflags`: the kernel has the 64-bit entry point.
const XLF_KERNEL_64: u16 = 1;

/// A file that is read again for each start.
#[derive(Debug)]
struct Image {
    path: PathBuf,
    file: File,
}

impl Image {
    fn open(what: &str, path: &Path) -> Result<Self> {
        let file = File::open(path).context(|| format!("{what} {}", path.display()))?;
        Ok(Image {
            path: path.to_owned(),
            file,
        })
    }
}

/// A kernel with its initramfs and command line.
#[derive(Debug)]
pub struct Linux {
    kernel: Image,
    initramfs: Option<Image>,
    cmdline: String,
}

impl Linux {
    pub fn open(kernel: &Path, initramfs: Option<&Path>, cmdline: &str) -> Result<Self> {
        Ok(Linux {
            kernel: Image::open("kernel", kernel)?,
            initramfs: initramfs
                .map(|path| Image::open("initramfs", path))
                .transpose()?,
            // The user's parameters come last, so that they take precedence.
            cmdline: format!("{MACHINE_CMDLINE} {cmdline}"),
        })
    }

    pub fn load(&mut self, memory: &GuestMemoryMmap, apic_ids: &[u8]) -> Result<acrn_vcpu_regs> {
        let mut header = self.load_kernel(memory)?;
        self.load_cmdline(memory, &mut header)?;
        self.load_initramfs(memory, &mut header)?;
        memory
            .write_slice(&acpi::tables(apic_ids), GuestAddress(acpi::ADDRESS))
            .context(|| "writing the ACPI tables")?;
        let params = parameters(memory, header);
        let params = BootParams::new(&params, GuestAddress(ZERO_PAGE));
        LinuxBootConfigurator::write_bootparams(&params, memory)
            .context(|| "writing the kernel's boot parameters")?;
        registers::long_mode(memory, KERNEL + ENTRY_64, ZERO_PAGE)
            .context(|| "writing the page tables")
    }

    fn load_kernel(&mut self, memory: &GuestMemoryMmap) -> Result<setup_header> {
        let Image { path, file } = &mut self.kernel;
        let doing = || format!("kernel {}", path.display());
        let loaded =
            BzImage::load(memory, Some(GuestAddress(KERNEL)), file, None).context(doing)?;
        let header = loaded
            .setup_header
            .ok_or_else(|| Error::new(format!("{}: no header", doing())))?;
        // Protocol 2.12 introduced both fields.
        if header.version < 0x20c || header.xloadflags & XLF_KERNEL_64 == 0 {
            return Err(Error::new(format!("{}: not a 64-bit kernel", doing())));
        }
        let end = run_end(&header);
        if end > low_end(memory) {
            let needed = end.next_multiple_of(1 << 20) >> 20;
            return Err(Error::new(format!(
                "{}: needs {needed} MiB of guest memory",
                doing()
            )));
        }
        Ok(header)
    }

    fn load_cmdline(&self, memory: &GuestMemoryMmap, header: &mut setup_header) -> Result<()> {
        let doing = || "the kernel's command line";
        let room = CMDLINE_ROOM.min(u64::from(header.cmdline_size) + 1);
        if self.cmdline.len() as u64 >= room {
            return Err(Error::new(format!(
                "{}: longer than {} bytes",
                doing(),
                room - 1
            )));
        }
        let mut cmdline = linux_loader::cmdline::Cmdline::new(room as usize).context(doing)?;
        cmdline.insert_str(&self.cmdline).context(doing)?;
        loader::load_cmdline(memory, GuestAddress(CMDLINE), &cmdline).context(doing)?;
        header.cmd_line_ptr = CMDLINE as u32;
        Ok(())
    }

    /// Loads the initramfs at the highest address that the kernel allows, out of the way of the
    /// kernel.
    fn load_initramfs(
        &mut self,
        memory: &GuestMemoryMmap,
        header: &mut setup_header,
    ) -> Result<()> {
        let Some(Image { path, file }) = &mut self.initramfs else {
            header.ramdisk_image = 0;
            header.ramdisk_size = 0;
            return Ok(());
        };
        let doing = || format!("initramfs {}", path.display());
        let size = file.seek(SeekFrom::End(0)).context(doing)?;
        if size == 0 {
            return Err(Error::new(format!("{}: empty, or not a file", doing())));
        }
        file.rewind().context(doing)?;
        let ceiling = low_end(memory).min(u64::from(header.initrd_addr_max) + 1);
        let address = initramfs_address(size, ceiling, run_end(header)).ok_or_else(|| {
            Error::new(format!(
                "{}: {size} bytes don't fit into guest memory",
                doing()
            ))
        })?;
        memory
            .read_exact_volatile_from(GuestAddress(address), file, size as usize)
            .context(doing)?;
        // Both are below 4 GiB, as `ceiling` is.
        header.ramdisk_image = address as u32;
        header.ramdisk_size = size as u32;
        Ok(())
    }
}

/// Returns the end of the RAM that begins at 0.
fn low_end(memory: &GuestMemoryMmap) -> u64 {
    memory
        .find_region(GuestAddress(0))
        .map_or(0, |region| region.len())
        .min(LOW_END)
}

/// Returns the end of the memory that the kernel uses before it reads the memory map. A kernel that
/// was loaded below its preferred address moves there.
fn run_end(header: &setup_header) -> u64 {
    header
        .pref_address
        .max(KERNEL)
        .saturating_add(u64::from(header.init_size))
}

fn initramfs_address(size: u64, ceiling: u64, floor: u64) -> Option<u64> {
    let address = ceiling.checked_sub(size)? & !0xfff;
    (address >= floor).then_some(address)
}

fn parameters(memory: &GuestMemoryMmap, mut header: setup_header) -> boot_params {
    header.type_of_loader = LOADER_UNREGISTERED;
    let mut params = boot_params {
        hdr: header,
        acpi_rsdp_addr: acpi::ADDRESS,
        ..Default::default()
    };
    let map = memory_map(memory);
    for (entry, (addr, end, type_)) in params.e820_table.iter_mut().zip(&map) {
        *entry = boot_e820_entry {
            addr: *addr,
            size: end - addr,
            r#type: *type_,
        };
    }
    params.e820_entries = map.len().min(params.e820_table.len()) as u8;
    params
}

/// The start, the end and the type of each range.
fn memory_map(memory: &GuestMemoryMmap) -> Vec<(u64, u64, u32)> {
    let mut map = vec![
        (0, LOW_RAM_END, E820_RAM),
        (LOW_RAM_END, KERNEL, E820_RESERVED),
        (KERNEL, low_end(memory), E820_RAM),
    ];
    for region in memory.iter().filter(|region| region.start_addr().0 != 0) {
        let start = region.start_addr().0;
        map.push((start, start + region.len(), E820_RAM));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use vmm_sys_util::tempfile::TempFile;

    /// Returns a kernel that consists of a header and `body`.
    fn image(xloadflags: u16, body: &[u8]) -> TempFile {
        let mut bytes = vec![0u8; 1024];
        bytes[0x1f1] = 1;
        bytes[0x1fe..0x200].copy_from_slice(&0xaa55u16.to_le_bytes());
        bytes[0x200..0x202].copy_from_slice(&[0xeb, 0x6a]);
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        bytes[0x211] = 1;
        bytes[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        bytes[0x236..0x238].copy_from_slice(&xloadflags.to_le_bytes());
        bytes[0x238..0x23c].copy_from_slice(&255u32.to_le_bytes());
        bytes[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
        bytes[0x260..0x264].copy_from_slice(&0x10_0000u32.to_le_bytes());
        bytes.extend_from_slice(body);
        let file = TempFile::new().unwrap();
        file.as_file().write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn kernel_initramfs_and_parameters_are_in_memory() {
        let memory = crate::memory::create(32 << 20, false).unwrap();
        let kernel = image(1, b"kernel");
        let initramfs = TempFile::new().unwrap();
        initramfs.as_file().write_all(b"cpio").unwrap();
        let mut linux = Linux::open(kernel.as_path(), Some(initramfs.as_path()), "a=b c").unwrap();
        for _ in 0..2 {
            let regs = linux.load(&memory, &[3]).unwrap().vcpu_regs;
            assert_eq!((regs.rip, regs.gprs.rsi), (0x10_0200, 0x7000));
        }
        let read = |address: u64, len: usize| {
            let mut bytes = vec![0; len];
            memory
                .read_slice(&mut bytes, GuestAddress(address))
                .unwrap();
            bytes
        };
        let params: boot_params = memory.read_obj(GuestAddress(ZERO_PAGE)).unwrap();
        assert_eq!(read(KERNEL, 6), b"kernel");
        let cmdline = read(params.hdr.cmd_line_ptr.into(), 64);
        assert!(cmdline.starts_with(b"no_timer_check tsc=reliable a=b c\0"));
        assert_eq!({ params.hdr.ramdisk_size }, 4);
        assert_eq!(read(params.hdr.ramdisk_image.into(), 4), b"cpio");
        assert_eq!(read(params.acpi_rsdp_addr, 8), b"RSD PTR ");
        assert_eq!(params.e820_entries, 3);
        let last = params.e820_table[2];
        assert_eq!(({ last.addr }, { last.size }), (1 << 20, 31 << 20));
    }

    #[test]
    fn refusals_name_the_file_and_the_reason() {
        let memory = crate::memory::create(16 << 20, false).unwrap();
        let load = |file: &TempFile, cmdline: &str| {
            let mut linux = Linux::open(file.as_path(), None, cmdline).unwrap();
            linux.load(&memory, &[3]).unwrap_err().to_string()
        };
        let old = image(0, b"");
        let path = old.as_path().display().to_string();
        assert_eq!(
            load(&old, ""),
            format!("kernel {path}: not a 64-bit kernel")
        );
        let good = image(1, b"");
        let path = good.as_path().display().to_string();
        assert_eq!(
            load(&good, ""),
            format!("kernel {path}: needs 17 MiB of guest memory")
        );
        let garbage = TempFile::new().unwrap();
        assert!(load(&garbage, "").contains("bzImage"));
        let missing = Linux::open(Path::new("/nonexistent"), None, "")
            .unwrap_err()
            .to_string();
        assert!(
            missing.starts_with("kernel /nonexistent: No such file"),
            "{missing}"
        );
    }

    #[test]
    fn long_command_lines_are_refused() {
        let memory = crate::memory::create(32 << 20, false).unwrap();
        let kernel = image(1, b"");
        let mut linux = Linux::open(kernel.as_path(), None, &"x".repeat(228)).unwrap();
        let error = linux.load(&memory, &[3]).unwrap_err().to_string();
        assert_eq!(error, "the kernel's command line: longer than 255 bytes");
        let mut linux = Linux::open(kernel.as_path(), None, &"x".repeat(227)).unwrap();
        assert!(linux.load(&memory, &[3]).is_ok());
    }

    #[test]
    fn initramfs_stays_above_the_kernel() {
        assert_eq!(initramfs_address(0x1800, 0x10_0000, 0x1000), Some(0xf_e000));
        assert_eq!(initramfs_address(0x1800, 0x10_0000, 0xf_f000), None);
        assert_eq!(initramfs_address(u64::MAX, 0x10_0000, 0), None);
    }
}
