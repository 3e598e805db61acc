// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! User VMs: what they are made of, and their states.
//!
//! Locks: hypercalls are serialised by one lock (`hypercall::SERIAL`), which is taken first. Below it each
//! VM has leaf locks that its vCPUs take as well (`npt` before `frames::POOL`; `ioapic`; `apics`; `config_address`),
//! never two of them at once otherwise. A vCPU's `context` is held by its CPU for as long as it runs, and by a
//! hypercall only while it does not.

use crate::request_page::{self, Slot};
use crate::vcpu::Vcpu;
use crate::{cpu, frames, rule, svm, time};
use acrn_hypercall_abi::Hypercall;
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use mini_acrn_channel::vm_state;
use mini_acrn_logic::apic::Logical;
use mini_acrn_logic::config_ports::AddressRegister;
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::ioapic::IoApic;
use mini_acrn_logic::npt::{Leaf, Npt};
use spin::Mutex;

/// Slots for User VMs; their ids are 1 to this.
pub const MAX_VMS: usize = mini_acrn_channel::MAX_VMS;
/// vCPUs of a VM.
pub const MAX_VCPUS: usize = 8;
/// `vm_flag` of a VM whose vCPUs poll for completion (`GUEST_FLAG_IO_COMPLETION_POLLING`).
const FLAG_POLLING: u64 = 1 << 2;
/// How long a vCPU may take to come before it is kicked again.
const KICK_AGAIN_MS: u64 = 10;

/// What only hypercalls look at.
pub struct Config {
    /// Name given at CREATE_VM.
    pub name: [u8; 16],
    /// Physical CPUs.
    pub affinity: u64,
}

/// A User VM.
pub struct Vm {
    /// Its id.
    pub id: u16,
    state: AtomicU8,
    /// Books.
    pub config: Mutex<Config>,
    /// Nested page tables, unless OFF.
    pub npt: Mutex<Option<Npt>>,
    /// I/O APIC.
    pub ioapic: Mutex<IoApic>,
    /// Logical destination registers of the vCPUs' APICs.
    pub logical: Mutex<[Logical; MAX_VCPUS]>,
    /// Interrupts sent to it from outside, by vector.
    pub interrupts: [AtomicU64; 256],
    /// Mask registers of the two PICs.
    pub pic_masks: [AtomicU8; 2],
    /// Address register of PCI configuration space.
    pub config_address: Mutex<AddressRegister>,
    vcpu_num: AtomicUsize,
    /// Physical address of the request page, 0 if not set.
    pub request_page: AtomicU64,
    /// vCPUs poll for completion.
    pub polling: AtomicBool,
    /// Slots whose request was raised by a test, so that no vCPU waits for it.
    pub raised: AtomicU16,
    vcpus: [Vcpu; MAX_VCPUS],
}

static VMS: [Vm; MAX_VMS] = {
    let mut vms = [const { Vm::new_off() }; MAX_VMS];
    let mut i = 0;
    while i < MAX_VMS {
        vms[i].id = i as u16 + 1;
        i += 1;
    }
    vms
};

/// The VM slot `vmid`; -ENOTTY if there is none.
pub fn get(vmid: u64) -> Result<&'static Vm> {
    VMS.get((vmid as u16).wrapping_sub(1) as usize).ok_or(Errno::NOTTY)
}

/// All VM slots.
pub fn all() -> &'static [Vm] {
    &VMS
}

/// A name without what is behind its end.
fn trim(name: &[u8; 16]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The slot for a VM called `name`: the one that had that name last, or the first that is OFF. `GENERIC` if there is
/// a VM of that name. VMs without a name are never the same.
pub fn for_name(name: &[u8; 16]) -> Result<&'static Vm> {
    let name = trim(name);
    match VMS.iter().find(|vm| !name.is_empty() && trim(&vm.config.lock().name) == name) {
        Some(vm) if vm.is(vm_state::OFF) => Ok(vm),
        Some(_) => Err(Errno::GENERIC),
        None => VMS.iter().find(|vm| vm.is(vm_state::OFF)).ok_or(Errno::INVAL),
    }
}

impl Vm {
    const fn new_off() -> Self {
        Self {
            id: 0,
            state: AtomicU8::new(vm_state::OFF),
            config: Mutex::new(Config { name: [0; 16], affinity: 0 }),
            npt: Mutex::new(None),
            ioapic: Mutex::new(IoApic::new()),
            logical: Mutex::new([Logical { ldr: 0, dfr: u32::MAX }; MAX_VCPUS]),
            interrupts: [const { AtomicU64::new(0) }; 256],
            pic_masks: [const { AtomicU8::new(0xFF) }; 2],
            config_address: Mutex::new(AddressRegister::new()),
            vcpu_num: AtomicUsize::new(0),
            request_page: AtomicU64::new(0),
            polling: AtomicBool::new(false),
            raised: AtomicU16::new(0),
            vcpus: [const { Vcpu::new() }; MAX_VCPUS],
        }
    }

    /// State, one of [`vm_state`].
    pub fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    /// Whether the VM is in `state`.
    pub fn is(&self, state: u8) -> bool {
        self.state() == state
    }

    /// -1 unless the VM is in one of `states`.
    pub fn require(&self, states: &[u8]) -> Result {
        states.contains(&self.state()).then_some(()).ok_or(Errno::GENERIC)
    }

    /// -1 if the VM is OFF.
    pub fn require_not_off(&self) -> Result {
        if self.is(vm_state::OFF) { Err(Errno::GENERIC) } else { Ok(()) }
    }

    fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }

    /// Its vCPUs.
    pub fn vcpus(&self) -> &[Vcpu] {
        &self.vcpus[..self.vcpu_num.load(Ordering::Acquire)]
    }

    /// The slot of vCPU `index` in the request page, if that is set.
    pub fn slot(&self, index: usize) -> Option<Slot> {
        Slot::in_page(self.request_page.load(Ordering::Acquire), index)
    }

    /// What is behind a guest-physical address.
    pub fn query(&self, gpa: u64) -> Option<Leaf> {
        self.npt.lock().as_ref()?.query(&*frames::POOL.lock(), gpa)
    }

    /// Whether the VM has something behind each page from `gpa` on, `size` bytes.
    pub fn maps_all(&self, gpa: u64, size: u64) -> bool {
        self.npt.lock().as_ref().is_some_and(|npt| npt.maps_all(&*frames::POOL.lock(), gpa, size))
    }

    /// Makes an OFF slot a VM on the CPUs of `affinity`, or on those of its static configuration if that is empty:
    /// the first one that is free. `None`: those can't be had.
    pub fn create(&self, name: [u8; 16], flags: u64, affinity: u64) -> Option<()> {
        let free = u64::from(cpu::free_mask());
        let affinity = if affinity == 0 { free & free.wrapping_neg() } else { affinity };
        let cpus: Vec<usize> = (0..64).filter(|i| affinity & 1 << i != 0).collect();
        if cpus.is_empty() || cpus.len() > MAX_VCPUS {
            return None;
        }
        let npt = Npt::new(&mut *frames::POOL.lock()).ok()?;
        if !cpu::allocate(&cpus) {
            npt.destroy(&mut *frames::POOL.lock());
            return None;
        }
        *self.npt.lock() = Some(npt);
        *self.config.lock() = Config { name, affinity };
        for (vcpu, cpu) in self.vcpus.iter().zip(&cpus) {
            vcpu.set_cpu(*cpu);
        }
        self.vcpu_num.store(cpus.len(), Ordering::Release);
        self.polling.store(flags & FLAG_POLLING != 0, Ordering::Release);
        self.request_page.store(0, Ordering::Release);
        self.reset_devices();
        self.set_state(vm_state::CREATED);
        Some(())
    }

    fn reset_devices(&self) {
        self.raised.store(0, Ordering::Release);
        *self.ioapic.lock() = IoApic::new();
        *self.logical.lock() = [Logical::default(); MAX_VCPUS];
        self.interrupts.iter().for_each(|n| n.store(0, Ordering::Relaxed));
        self.pic_masks.iter().for_each(|m| m.store(0xFF, Ordering::Relaxed));
        *self.config_address.lock() = AddressRegister::new();
        let root = self.npt.lock().as_ref().map_or(0, Npt::root);
        for vcpu in self.vcpus() {
            vcpu.reset(root);
        }
    }

    /// CREATED to RUNNING.
    pub fn start(&self) -> Result {
        self.require(&[vm_state::CREATED])?;
        if self.request_page.load(Ordering::Acquire) == 0 {
            return Err(Errno::GENERIC);
        }
        self.set_state(vm_state::RUNNING);
        for (i, vcpu) in self.vcpus().iter().enumerate() {
            vcpu.start(self.id, i);
        }
        Ok(())
    }

    /// Any state but OFF to PAUSED. Returns when all vCPUs stand still. Does nothing in a VM that is paused, also if
    /// a vCPU was woken since.
    pub fn pause(&self) -> Result {
        self.require_not_off()?;
        if !self.is(vm_state::PAUSED) {
            self.vcpus().iter().for_each(Vcpu::pause);
            for vcpu in self.vcpus() {
                wait_while(vcpu, || !vcpu.is_quiescent());
            }
            self.set_state(vm_state::PAUSED);
        }
        Ok(())
    }

    /// Ends the vCPUs of a paused VM, for `hypercall`. A rule is broken if one was woken.
    fn stop_vcpus(&self, hypercall: Hypercall) {
        let woken =
            self.vcpus().iter().enumerate().find_map(|(i, vcpu)| Some((i, vcpu.woken_by()?)));
        if let Some((i, by)) = woken {
            rule::broken(
                self.id,
                hypercall,
                format_args!("vCPU {i} was woken by {by} while the VM was paused"),
            );
        }
        self.vcpus().iter().for_each(Vcpu::stop);
        for vcpu in self.vcpus() {
            wait_while(vcpu, || vcpu.is_active());
        }
    }

    /// PAUSED to CREATED.
    pub fn reset(&self) -> Result {
        self.require(&[vm_state::PAUSED])?;
        self.stop_vcpus(Hypercall::ResetVm);
        request_page::free_all(self.request_page.load(Ordering::Acquire));
        self.reset_devices();
        self.set_state(vm_state::CREATED);
        Ok(())
    }

    /// PAUSED to OFF; gives everything back but the name, which keeps the slot until another VM gets it.
    pub fn destroy(&self) -> Result {
        self.require(&[vm_state::PAUSED])?;
        self.stop_vcpus(Hypercall::DestroyVm);
        self.request_page.store(0, Ordering::Release);
        for vcpu in self.vcpus() {
            cpu::set_owner(vcpu.cpu(), cpu::Owner::Free);
        }
        self.vcpu_num.store(0, Ordering::Release);
        if let Some(npt) = self.npt.lock().take() {
            npt.destroy(&mut *frames::POOL.lock());
        }
        self.set_state(vm_state::OFF);
        Ok(())
    }

    /// Has every vCPU that runs leave the guest soon: it flushes its translations when it enters again, and uses
    /// those that are gone until then.
    pub fn request_flush(&self) {
        if !KICKS_HELD.load(Ordering::Acquire) {
            self.vcpus().iter().for_each(Vcpu::kick);
        }
    }
}

/// Whether vCPUs that have to flush their translations are left alone.
static KICKS_HELD: AtomicBool = AtomicBool::new(false);

/// From now on vCPUs that have to flush their translations are kicked, or are not.
pub fn hold_kicks(held: bool) {
    KICKS_HELD.store(held, Ordering::Release);
}

/// Waits for a vCPU that was kicked, and kicks it again and again: an NMI got lost once in many runs, and a guest
/// that halts does not leave by itself.
fn wait_while(vcpu: &Vcpu, condition: impl Fn() -> bool) {
    let patience = KICK_AGAIN_MS * u64::from(time::tsc_khz());
    let mut again = time::now() + patience;
    while condition() {
        if time::now() > again {
            vcpu.kick();
            again = time::now() + patience;
        }
        spin_loop();
    }
}

/// Physical pages used by nested page tables of all VMs, the Service VM's included.
pub fn table_pages() -> usize {
    frames::POOL.lock().count()
}

const _: () = assert!(size_of::<svm::Context>() == 8192);
