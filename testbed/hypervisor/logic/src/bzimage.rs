// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Linux's 64-bit boot protocol: reads the header of a bzImage and fills the zero page.
//!
//! Offsets are those of the kernel's `Documentation/arch/x86/boot.rst` and `zero-page.rst`.

use crate::e820;
use core::ops::Range;

const SETUP_SECTS: usize = 0x1F1;
const MAGIC: usize = 0x202;
const XLOADFLAGS: usize = 0x236;
const XLF_KERNEL_64: u16 = 1;
const E820_MAX: usize = 128;

/// Offset of the 64-bit entry point from the load address.
pub const ENTRY_64: u64 = 0x200;

/// The reason why an image cannot be booted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The image has no signature `HdrS`.
    NotLinux,
    /// The kernel has no 64-bit entry point.
    No64BitEntry,
    /// The image is shorter than its header says.
    Truncated,
    /// The memory map has more ranges than the zero page holds.
    MapTooLong,
}

/// The set-up header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The range of the image that holds the protected-mode kernel.
    pub payload: Range<usize>,
    /// Preferred load address.
    pub load_address: u64,
    /// Size in bytes of the memory that the kernel needs there.
    pub init_size: u64,
    /// The range of the image that is copied to the zero page at the same offset.
    setup: Range<usize>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Parses the set-up header of `image`.
pub fn parse(image: &[u8]) -> Result<Header, Error> {
    if image.get(MAGIC..MAGIC + 4).ok_or(Error::Truncated)? != b"HdrS" {
        return Err(Error::NotLinux);
    }
    let flags = u32_at(image, XLOADFLAGS).ok_or(Error::Truncated)? as u16;
    if flags & XLF_KERNEL_64 == 0 {
        return Err(Error::No64BitEntry);
    }
    let sects = match image[SETUP_SECTS] {
        0 => 4,
        n => usize::from(n),
    };
    let start = (sects + 1) * 512;
    if image.len() <= start {
        return Err(Error::Truncated);
    }
    Ok(Header {
        payload: start..image.len(),
        load_address: u64_at(image, 0x258).ok_or(Error::Truncated)?,
        init_size: u64::from(u32_at(image, 0x260).ok_or(Error::Truncated)?),
        setup: SETUP_SECTS..MAGIC + usize::from(image[0x201]),
    })
}

/// The parameters of the zero page.
pub struct Boot<'a> {
    /// Address of the command line.
    pub cmdline: u32,
    /// Address of the initramfs.
    pub ramdisk: u32,
    /// Size of the initramfs in bytes.
    pub ramdisk_size: u32,
    /// Address of the RSDP.
    pub rsdp: u64,
    /// The memory map.
    pub map: &'a [e820::Entry],
}

/// Fills the zero page `out` (4096 bytes) for the kernel in `image`.
pub fn zero_page(image: &[u8], header: &Header, boot: &Boot, out: &mut [u8]) -> Result<(), Error> {
    if boot.map.len() > E820_MAX {
        return Err(Error::MapTooLong);
    }
    out.fill(0);
    out[header.setup.clone()]
        .copy_from_slice(image.get(header.setup.clone()).ok_or(Error::Truncated)?);
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x070, &boot.rsdp.to_le_bytes());
    // Type of the loader: undefined.
    put(0x210, &[0xFF]);
    put(0x218, &boot.ramdisk.to_le_bytes());
    put(0x21C, &boot.ramdisk_size.to_le_bytes());
    put(0x228, &boot.cmdline.to_le_bytes());
    put(0x1E8, &[boot.map.len() as u8]);
    for (i, e) in boot.map.iter().enumerate() {
        let at = 0x2D0 + i * 20;
        put(at, &e.base.to_le_bytes());
        put(at + 8, &e.len.to_le_bytes());
        put(at + 16, &e.kind.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<u8> {
        let mut v = vec![0; 0x1000];
        v[SETUP_SECTS] = 3;
        v[0x201] = 0x6A;
        v[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        v[XLOADFLAGS] = 1;
        v[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
        v[0x260..0x264].copy_from_slice(&0x20_0000u32.to_le_bytes());
        v
    }

    #[test]
    fn header_is_read() {
        let h = parse(&image()).unwrap();
        assert_eq!(h.payload, 0x800..0x1000);
        assert_eq!((h.load_address, h.init_size), (0x100_0000, 0x20_0000));
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(parse(&[0; 16]), Err(Error::Truncated));
        assert_eq!(parse(&[0; 4096]), Err(Error::NotLinux));
        let mut old = image();
        old[XLOADFLAGS] = 0;
        assert_eq!(parse(&old), Err(Error::No64BitEntry));
    }

    #[test]
    fn zero_page_holds_the_map() {
        let (image, mut page) = (image(), vec![0xAA; 4096]);
        let map = [e820::Entry { base: 0x1000, len: 0x2000, kind: e820::RAM }];
        let boot = Boot { cmdline: 1, ramdisk: 2, ramdisk_size: 3, rsdp: 4, map: &map };
        zero_page(&image, &parse(&image).unwrap(), &boot, &mut page).unwrap();
        assert_eq!(page[0x1E8], 1);
        assert_eq!(u64_at(&page, 0x2D8), Some(0x2000));
        assert_eq!(u32_at(&page, 0x218), Some(2));
        assert_eq!(&page[MAGIC..MAGIC + 4], b"HdrS");
    }
}
