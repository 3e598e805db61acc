// SPDX-License-Identifier: GPL-2.0

//! A thread that performs random operations.
//!
//! Its choices follow from its seed alone, not from the results.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::atomic::Ordering,
    thread,
    time::Duration,
    time::Instant,
};

use acrn_selftests::{
    device::Device, eventfd::Eventfd, guest_memory::PAGE, probe::Probe, program::REAL_MODE_ENTRY,
};
use acrn_uapi::{ioctl::*, *};
use fastrand::Rng;
use mini_acrn_channel::RaiseRequest;
use nix::errno::Errno;
use zerocopy::FromZeros;

use crate::{
    argument::{Place, edge},
    children,
    commands::Passed,
    faults,
    guest::PORTS,
    stage::{EVENTS, FILES, Length, Stage},
};

/// Relative frequencies of the kinds of operations.
#[derive(Clone, Copy, Default)]
pub struct Weights {
    /// Any command.
    pub commands: u32,
    /// Protects, drops or moves memory.
    pub memory: u32,
    /// Writes to slots of request pages, and raises upcalls.
    pub requests: u32,
    /// Reads, writes, closes and replaces eventfds.
    pub eventfds: u32,
    /// Lets hypercalls fail or wait.
    pub faults: u32,
    /// Creates and destroys VMs, and replaces files.
    pub ends: u32,
    /// Creates a guest and starts it.
    pub guests: u32,
    /// Starts a child that performs the same operations for a while, and kills it.
    pub children: u32,
}

/// An operation.
type Act<'a> = fn(&mut Actor<'a>, &Weights);

/// A thread, or a child.
pub struct Actor<'a> {
    pub stage: &'a Stage,
    pub chance: Rng,
    place: Place,
    pub probe: Option<Probe>,
}

impl<'a> Actor<'a> {
    pub fn new(stage: &'a Stage, chance: Rng) -> Self {
        Self {
            stage,
            chance,
            place: Place::new(),
            probe: Probe::open().ok(),
        }
    }

    /// Performs operations until the end that `length` defines.
    pub fn act(&mut self, weights: &Weights, length: Length) {
        let mut done = 0;
        loop {
            match length {
                Length::Operations(number) if done >= number => break,
                Length::Until(end) if Instant::now() >= end => break,
                _ => done += 1,
            }
            self.act_once(weights);
        }
    }

    fn act_once(&mut self, weights: &Weights) {
        let kinds: [(u32, Act<'a>); 8] = [
            (weights.commands, |actor, _| actor.any_command()),
            (weights.memory, |actor, _| actor.memory()),
            (weights.requests, |actor, _| actor.requests()),
            (weights.eventfds, |actor, _| actor.eventfds()),
            (weights.faults, |actor, _| faults::script(actor)),
            (weights.ends, |actor, _| actor.ends()),
            (weights.guests, |actor, _| actor.guest()),
            (weights.children, children::start_and_kill),
        ];
        let all: u32 = kinds.iter().map(|(weight, _)| weight).sum();
        let mut chosen = self.chance.u32(..all);
        for (weight, act) in kinds {
            if chosen < weight {
                return act(self, weights);
            }
            chosen -= weight;
        }
    }

    /// Waits for requests and completes them, as a device model does, until the test is over.
    pub fn wait(&mut self) {
        self.stage.add_waiter();
        while !self.stage.is_over() {
            let file = self.file();
            let attached = self.stage.files[file].plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
            for _ in 0..2 {
                self.command(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, file);
            }
            if attached.is_err() {
                thread::sleep(Duration::from_micros(500));
            }
        }
    }

    fn file(&mut self) -> usize {
        self.chance.usize(..FILES)
    }

    fn any_command(&mut self) {
        let (request, _) = ALL[self.chance.usize(..ALL.len())];
        let file = self.file();
        // Only dedicated threads wait for requests. VMs are mostly created and destroyed by `ends`,
        // seldom here.
        let is_rare = matches!(
            request,
            ACRN_IOCTL_CREATE_VM | ACRN_IOCTL_DESTROY_VM | ACRN_IOCTL_DESTROY_IOREQ_CLIENT
        ) && self.chance.u32(..8) != 0;
        if request != ACRN_IOCTL_ATTACH_IOREQ_CLIENT && !is_rare {
            self.command(request, file);
        }
    }

    /// Makes a request with a valid or nearly valid argument. Returns whether it succeeded.
    pub fn command(&mut self, request: u32, file: usize) -> bool {
        let address = match self.argument(request, file) {
            Passed::Number(number) => number,
            Passed::Structure(structure) => self.place.put(&mut self.chance, structure.bytes()),
        };
        // SAFETY: The kernel accesses at that address at most one of our argument's pages, or
        // fails. Addresses in a structure are in an arena, or invalid. There are no references to
        // either memory.
        let status = unsafe {
            libc::ioctl(
                self.stage.files[file].as_fd().as_raw_fd(),
                request as libc::Ioctl,
                address,
            )
        };
        let went_well = Errno::result(status).is_ok();
        if request == ACRN_IOCTL_CREATE_VM && went_well {
            self.stage.made.fetch_add(1, Ordering::Relaxed);
            if let Some(word) = self.place.word(address) {
                self.stage.vmids[file].store(word & 0xffff, Ordering::Relaxed);
            }
        }
        self.stage.count(went_well);
        went_well
    }

    fn memory(&mut self) {
        let arena = self.chance.usize(..self.stage.arenas.len());
        let arena = &self.stage.arenas[arena];
        arena.disturb(&mut self.chance);
        let page = self.chance.usize(..arena.pages());
        let word = edge(&mut self.chance).to_le_bytes();
        let offset = self.chance.u64(..PAGE as u64 / 8) * 8;
        self.place.poke(arena.address(page) + offset, &word);
        self.stage.count(true);
    }

    fn requests(&mut self) {
        let file = self.file();
        let vcpu = self.chance.u16(..3);
        let vmid = self.vmid(file);
        let bytes = self.slot();
        let (kind, upcall) = (self.chance.u32(..8), self.chance.u32(..3));
        let force = self.chance.u32(..4) / 3;
        let page = self.chance.usize(..4);
        let address = self.stage.arenas[0].address(page) + u64::from(vcpu) * 256;
        let from = self.chance.usize(..256) & !3;
        match (kind, &self.probe) {
            (0, Some(probe)) => probe.upcall(),
            (1..=4, Some(probe)) => {
                let mut request = RaiseRequest::new_zeroed();
                (request.vmid, request.vcpu) = (vmid, vcpu);
                (request.upcall, request.force) = (upcall, force);
                request.slot = bytes;
                probe.raise(request);
            }
            // Writes a whole slot, or one word of it.
            (5, _) => self.place.poke(address, &bytes),
            _ => self
                .place
                .poke(address + from as u64, &bytes[from..from + 4]),
        }
        self.stage.count(true);
    }

    /// Returns a slot with a request.
    fn slot(&mut self) -> [u8; 256] {
        let mut bytes = [0; 256];
        let port = PORTS[self.chance.usize(..PORTS.len())];
        let words: [(usize, u64); 7] = [
            (0, self.chance.u64(..4)),
            (4, edge(&mut self.chance) & 1),
            (64, self.chance.u64(..3)),
            (72, near_port(&mut self.chance, port)),
            (80, 1 << self.chance.u32(..4)),
            (88, edge(&mut self.chance)),
            (136, self.chance.u64(..5)),
        ];
        for (offset, word) in words {
            let word = word.to_le_bytes();
            match offset {
                72 | 80 | 88 => bytes[offset..offset + 8].copy_from_slice(&word),
                _ => bytes[offset..offset + 4].copy_from_slice(&word[..4]),
            }
        }
        bytes
    }

    fn eventfds(&mut self) {
        let event = &self.stage.events[self.chance.usize(..EVENTS)];
        let value = edge(&mut self.chance);
        let kind = self.chance.u32(..16);
        // The descriptor may refer to any file by now, so results do not matter.
        match kind {
            0..=6 => drop(event.add(value.clamp(1, u64::MAX - 1))),
            7..=9 => {
                let mut count = [0; 8];
                // SAFETY: The buffer has eight bytes.
                unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
            }
            10 => Stage::replace(event, &self.stage.nothing),
            11..=14 => Stage::replace(event, &Eventfd::new()),
            _ => Stage::replace(event, &Eventfd::semaphore()),
        }
        self.stage.count(true);
    }

    /// Creates and destroys VMs, and replaces files.
    fn ends(&mut self) {
        let file = self.file();
        let kind = self.chance.u32(..16);
        match kind {
            0..=7 => drop(self.command(ACRN_IOCTL_CREATE_VM, file)),
            8..=12 => {
                self.command(ACRN_IOCTL_PAUSE_VM, file);
                self.command(ACRN_IOCTL_DESTROY_VM, file);
            }
            13 => {
                self.command(ACRN_IOCTL_PAUSE_VM, file);
                self.command(ACRN_IOCTL_RESET_VM, file);
            }
            14 => drop(self.command(ACRN_IOCTL_DESTROY_VM, file)),
            _ => {
                if let Ok(new) = Device::open() {
                    Stage::replace(
                        &self.stage.files[file].as_fd().as_raw_fd(),
                        &new.as_fd().as_raw_fd(),
                    );
                }
            }
        }
    }

    /// Creates a guest with memory on a file, and starts it.
    fn guest(&mut self) {
        let file = self.file();
        let device = &self.stage.files[file];
        let memory = &self.stage.arenas[0];
        memory.allow();
        let at = memory.address(0) + REAL_MODE_ENTRY;
        self.place.poke(at, &self.stage.program);
        let mut segment = acrn_vm_memmap {
            type_: ACRN_MEMMAP_RAM,
            attr: ACRN_MEM_TYPE_WB | 7,
            user_vm_pa: 0,
            __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
                vma_base: memory.address(0),
            },
            len: (memory.pages() * PAGE) as u64,
        };
        self.command(ACRN_IOCTL_CREATE_VM, file);
        let _ = device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
        for request in [
            ACRN_IOCTL_SET_VCPU_REGS,
            ACRN_IOCTL_CREATE_IOREQ_CLIENT,
            ACRN_IOCTL_IOEVENTFD,
            ACRN_IOCTL_IRQFD,
            ACRN_IOCTL_START_VM,
        ] {
            self.command(request, file);
        }
    }
}

fn near_port(chance: &mut Rng, port: u16) -> u64 {
    crate::argument::near(chance, port.into())
}
