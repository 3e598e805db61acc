// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! virtio-blk: a disk.

use std::io::{self, Read, Write};

use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_queue::{Queue, Reader, Writer};
use vm_memory::GuestMemoryMmap;

use super::disk::{Disk, SECTOR};
use super::service::{self, Chain};
use super::{Broken, Device, Service};

const QUEUE: u16 = 256;
/// The maximum number of segments. A chain has two more buffers, for the header and the status.
const SEGMENTS: u32 = QUEUE as u32 - 2;

const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IO_ERROR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPPORTED: u8 = VIRTIO_BLK_S_UNSUPP as u8;

/// The size of the configuration up to the block size, the last supported field.
const CONFIG: usize = 24;
const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// The device.
pub struct Block {
    disk: Disk,
    config: [u8; CONFIG],
    id: [u8; ID_BYTES],
    /// The guest has not negotiated flushes, so each write must be flushed.
    write_through: bool,
}

impl Block {
    /// `id` is the serial number of the disk.
    pub fn new(disk: Disk, id: &str) -> Self {
        let mut config = [0; CONFIG];
        config[..8].copy_from_slice(&disk.sectors().to_le_bytes());
        config[12..16].copy_from_slice(&SEGMENTS.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        let mut bytes = [0; ID_BYTES];
        for (byte, id) in bytes.iter_mut().zip(id.bytes()) {
            *byte = id;
        }
        Block {
            disk,
            config,
            id: bytes,
            write_through: true,
        }
    }

    /// Serves the request in the chain, and returns the number of bytes that it wrote. A chain
    /// without room for a status cannot be answered.
    fn carry_out(&mut self, chain: Chain<'_>, memory: &GuestMemoryMmap) -> u32 {
        let (Ok(mut request), Ok(mut answer)) =
            (chain.clone().reader(memory), chain.writer(memory))
        else {
            return 0;
        };
        let Some(room) = answer.available_bytes().checked_sub(1) else {
            return 0;
        };
        let Ok(mut status) = answer.split_at(room) else {
            return 0;
        };
        let result = self.request(&mut request, &mut answer);
        let written = answer.bytes_written() as u32 + 1;
        let code = result.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::Unsupported => UNSUPPORTED,
            _ => IO_ERROR,
        });
        match status.write_all(&[code]) {
            Ok(()) => written,
            Err(_) => 0,
        }
    }

    fn request(&mut self, request: &mut Reader<'_>, answer: &mut Writer<'_>) -> io::Result<u8> {
        let mut header = [0; 16];
        request.read_exact(&mut header)?;
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        match u32::from_le_bytes([k0, k1, k2, k3]) {
            VIRTIO_BLK_T_IN => self.disk.read(sector, answer.available_bytes(), answer)?,
            VIRTIO_BLK_T_OUT => {
                self.disk
                    .write(sector, request.available_bytes(), request)?;
                if self.write_through {
                    self.disk.flush()?;
                }
            }
            VIRTIO_BLK_T_FLUSH => self.disk.flush()?,
            VIRTIO_BLK_T_GET_ID => {
                let len = answer.available_bytes().min(ID_BYTES);
                answer.write_all(&self.id[..len])?;
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(OK)
    }
}

impl Device for Block {
    const ID: u16 = VIRTIO_ID_BLOCK as u16;
    /// Mass storage, other.
    const CLASS: u32 = 0x01_8000;
    const QUEUES: &'static [u16] = &[QUEUE];

    fn features(&self) -> u64 {
        1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_FLUSH
            | u64::from(self.disk.read_only()) << VIRTIO_BLK_F_RO
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn start(&mut self, features: u64) {
        self.write_through = features & 1 << VIRTIO_BLK_F_FLUSH == 0;
    }

    fn serve(
        &mut self,
        _index: usize,
        queue: &mut Queue,
        memory: &GuestMemoryMmap,
    ) -> Result<Service, Broken> {
        service::serve(
            queue,
            memory,
            || true,
            |chain| self.carry_out(chain, memory),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_queue::QueueT;
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;
    use vm_memory::{Bytes, GuestAddress};
    use vmm_sys_util::tempfile::TempFile;

    const HEADER: u64 = 0x10_0000;
    const DATA: u64 = 0x11_0000;
    const STATUS: u64 = 0x12_0000;
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;

    struct Rig {
        block: Block,
        memory: GuestMemoryMmap,
        _file: TempFile,
    }

    fn rig(read_only: bool) -> Rig {
        let file = TempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let disk = Disk::open(file.as_path(), read_only).unwrap();
        Rig {
            block: Block::new(disk, "the disk's name"),
            memory: GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x20_0000)]).unwrap(),
            _file: file,
        }
    }

    impl Rig {
        /// Returns the status, and the number of bytes that the guest is told were written.
        fn chain(&mut self, descriptors: &[(u64, u32, u16)]) -> (u8, u32) {
            self.memory.write_obj(0xffu8, GuestAddress(STATUS)).unwrap();
            let memory = &self.memory;
            let mock = MockSplitQueue::new(memory, 16);
            let raw: Vec<RawDescriptor> = descriptors
                .iter()
                .zip(1..)
                .map(|((address, len, flags), next)| {
                    Descriptor::new(*address, *len, *flags, next).into()
                })
                .collect();
            mock.build_desc_chain(&raw).unwrap();
            let mut queue: Queue = mock.create_queue().unwrap();
            let used = mock.used().idx().load();
            queue.set_next_used(used);
            queue.set_next_avail(mock.avail().idx().load() - 1);
            self.block.serve(0, &mut queue, memory).unwrap();
            assert_eq!(mock.used().idx().load(), used + 1);
            let element = mock.used().ring().ref_at(used.into()).unwrap().load();
            let status = memory.read_obj(GuestAddress(STATUS)).unwrap();
            (status, element.len())
        }

        fn header(&self, kind: u32, sector: u64) {
            let header = GuestAddress(HEADER);
            self.memory.write_obj(u64::from(kind), header).unwrap();
            let at = GuestAddress(HEADER + 8);
            self.memory.write_obj(sector, at).unwrap();
        }

        fn request(&mut self, kind: u32, sector: u64, len: u32, flags: u16) -> (u8, u32) {
            self.header(kind, sector);
            self.chain(&[
                (HEADER, 16, NEXT),
                (DATA, len, NEXT | flags),
                (STATUS, 1, WRITE),
            ])
        }
    }

    #[test]
    fn data_is_written_and_read() {
        let mut rig = rig(false);
        let data: Vec<u8> = (0..4096u32).map(|n| (n % 253) as u8).collect();
        rig.memory.write_slice(&data, GuestAddress(DATA)).unwrap();
        assert_eq!(rig.request(VIRTIO_BLK_T_OUT, 5, 4096, 0), (0, 1));
        rig.memory
            .write_slice(&[0; 4096], GuestAddress(DATA))
            .unwrap();
        assert_eq!(rig.request(VIRTIO_BLK_T_IN, 5, 4096, WRITE), (0, 4097));
        let mut back = vec![0; 4096];
        rig.memory
            .read_slice(&mut back, GuestAddress(DATA))
            .unwrap();
        assert!(back == data);
    }

    #[test]
    fn flush_and_name() {
        let mut rig = rig(false);
        rig.header(VIRTIO_BLK_T_FLUSH, 0);
        let chain = [(HEADER, 16, NEXT), (STATUS, 1, WRITE)];
        assert_eq!(rig.chain(&chain), (0, 1));
        assert_eq!(rig.request(VIRTIO_BLK_T_GET_ID, 0, 20, WRITE), (0, 21));
        let mut id = [0; 16];
        rig.memory.read_slice(&mut id, GuestAddress(DATA)).unwrap();
        assert_eq!(&id, b"the disk's name\0");
    }

    #[test]
    fn what_is_not_possible_is_an_error() {
        let mut rig = rig(false);
        assert_eq!(rig.request(VIRTIO_BLK_T_IN, 2048, 512, WRITE), (1, 1));
        assert_eq!(rig.request(VIRTIO_BLK_T_IN, u64::MAX, 512, WRITE), (1, 1));
        assert_eq!(rig.request(VIRTIO_BLK_T_OUT, 0, 100, 0), (1, 1));
        assert_eq!(rig.request(VIRTIO_BLK_T_DISCARD, 0, 512, 0), (2, 1));
        // Too short for a request.
        assert_eq!(rig.chain(&[(HEADER, 8, NEXT), (STATUS, 1, WRITE)]), (1, 1));
    }

    #[test]
    fn read_only_disks_are_not_written() {
        let mut rig = rig(true);
        assert_ne!(rig.block.features() & 1 << VIRTIO_BLK_F_RO, 0);
        assert_eq!(rig.request(VIRTIO_BLK_T_OUT, 0, 512, 0), (1, 1));
    }

    #[test]
    fn chains_without_room_or_outside_of_memory_are_given_back() {
        let mut rig = rig(false);
        rig.header(VIRTIO_BLK_T_IN, 0);
        assert_eq!(rig.chain(&[(HEADER, 16, 0)]), (0xff, 0));
        let outside = [
            (HEADER, 16, NEXT),
            (u64::MAX - 100, 512, NEXT | WRITE),
            (STATUS, 1, WRITE),
        ];
        assert_eq!(rig.chain(&outside), (0xff, 0));
        let huge = [
            (HEADER, 16, NEXT),
            (0, u32::MAX, NEXT | WRITE),
            (STATUS, 1, WRITE),
        ];
        assert_eq!(rig.chain(&huge), (0xff, 0));
    }

    #[test]
    fn configuration_has_the_size() {
        let rig = rig(false);
        assert_eq!(rig.block.config()[..8], 2048u64.to_le_bytes());
        assert_eq!(rig.block.config()[12..16], 254u32.to_le_bytes());
        assert_eq!(rig.block.config()[20..24], 512u32.to_le_bytes());
    }
}
