// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! User VMs and their states.
//!
//! Locking: `hypercall::SERIAL` serialises hypercalls and is taken first. Below it are the locks of
//! a VM that its vCPUs take as well: `npt`, `ioapic`, `logical`, `config_address`, and `apic` of a
//! vCPU. At most one of them is held at a time, except that `logical` nests inside `apic`.
//! `frames::POOL` nests inside `npt`. The CPU of a vCPU holds the vCPU's `context` while it runs
//! the vCPU. A hypercall takes it only while no CPU does.

use crate::request_page::{self, Slot};
use crate::vcpu::Vcpu;
use crate::{cpu, frames, rule, svm, time};
use acrn_hypercall_abi::Hypercall;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use mini_acrn_channel::vm_state;
use mini_acrn_logic::apic::Logical;
use mini_acrn_logic::config_ports::AddressRegister;
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::ioapic::IoApic;
use mini_acrn_logic::npt::{Leaf, Npt};
use spin::Mutex;

/// Number of User VMs. Their ids are 1 to `MAX_VMS`.
pub const MAX_VMS: usize = mini_acrn_channel::MAX_VMS;
/// Maximum number of vCPUs of a VM.
pub const MAX_VCPUS: usize = 8;
/// `vm_flag` of a VM whose vCPUs poll for completion (`GUEST_FLAG_IO_COMPLETION_POLLING`).
const FLAG_POLLING: u64 = 1 << 2;
/// Time in milliseconds after which a vCPU that has not exited is kicked again.
const KICK_AGAIN_MS: u64 = 10;

/// The configuration of a VM. Only hypercalls use it.
pub struct Config {
    /// The name that CREATE_VM passed.
    pub name: [u8; 16],
    /// Physical CPUs, bit n for CPU n.
    pub affinity: u64,
}

/// A User VM.
pub struct Vm {
    /// The VM id.
    pub id: u16,
    state: AtomicU8,
    /// Configuration.
    pub config: Mutex<Config>,
    /// Nested page tables, `None` if the VM is OFF.
    pub npt: Mutex<Option<Npt>>,
    /// I/O APIC.
    pub ioapic: Mutex<IoApic>,
    /// Logical destination registers of the vCPUs' APICs.
    pub logical: Mutex<[Logical; MAX_VCPUS]>,
    /// Interrupts that the Service VM has sent, by vector.
    pub interrupts: [AtomicU64; 256],
    /// Mask registers of the two PICs.
    pub pic_masks: [AtomicU8; 2],
    /// The PCI configuration address register.
    pub config_address: Mutex<AddressRegister>,
    vcpu_num: AtomicUsize,
    /// Physical address of the request page, 0 if it is not set.
    pub request_page: AtomicU64,
    /// The vCPUs poll for completion.
    pub polling: AtomicBool,
    /// Slots in which a test has raised the request. No vCPU waits for these.
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

/// Returns the VM `vmid`. Fails with `ENOTTY` if there is no such id.
pub fn get(vmid: u64) -> Result<&'static Vm> {
    VMS.get((vmid as u16).wrapping_sub(1) as usize).ok_or(Errno::NOTTY)
}

/// Returns all VMs, those that are OFF included.
pub fn all() -> &'static [Vm] {
    &VMS
}

/// Returns `name` up to its first zero byte.
fn trim(name: &[u8; 16]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns the name that ACRN gives to a VM that is created without one.
fn generated_name(vmid: u16) -> [u8; 16] {
    let mut name = [0; 16];
    let mut text = String::new();
    let _ = write!(text, "ACRN VM_{vmid}");
    name.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    name
}

/// Returns the OFF VM that a VM called `name` is to be created in.
///
/// This is the VM that had the name last, otherwise the first one. Two VMs without a name never
/// have the same name. Fails with `GENERIC` if a VM of that name exists, and with `EINVAL` if no VM
/// is OFF.
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

    /// Returns the state, one of [`vm_state`].
    pub fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    /// Returns whether the VM is in `state`.
    pub fn is(&self, state: u8) -> bool {
        self.state() == state
    }

    /// Fails with `GENERIC` unless the VM is in one of `states`.
    pub fn require(&self, states: &[u8]) -> Result {
        states.contains(&self.state()).then_some(()).ok_or(Errno::GENERIC)
    }

    /// Fails with `GENERIC` if the VM is OFF.
    pub fn require_not_off(&self) -> Result {
        if self.is(vm_state::OFF) { Err(Errno::GENERIC) } else { Ok(()) }
    }

    fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }

    /// Returns the vCPUs.
    pub fn vcpus(&self) -> &[Vcpu] {
        &self.vcpus[..self.vcpu_num.load(Ordering::Acquire)]
    }

    /// Returns the slot of vCPU `index` in the request page, `None` if no page is set.
    pub fn slot(&self, index: usize) -> Option<Slot> {
        Slot::in_page(self.request_page.load(Ordering::Acquire), index)
    }

    /// Looks up the guest-physical address `gpa` in the nested page tables.
    pub fn query(&self, gpa: u64) -> Option<Leaf> {
        self.npt.lock().as_ref()?.query(&*frames::POOL.lock(), gpa)
    }

    /// Returns whether each page of the `size` bytes from `gpa` on is mapped.
    pub fn maps_all(&self, gpa: u64, size: u64) -> bool {
        self.npt.lock().as_ref().is_some_and(|npt| npt.maps_all(&*frames::POOL.lock(), gpa, size))
    }

    /// Creates the VM on the CPUs of `affinity`. Returns `None` if these CPUs are not available.
    ///
    /// An empty `affinity` means the static configuration of the VM, which is the first free
    /// CPU.
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
        let name = if trim(&name).is_empty() { generated_name(self.id) } else { name };
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

    /// Starts the VM: CREATED to RUNNING.
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

    /// Pauses the VM: any state but OFF to PAUSED.
    ///
    /// Returns when all vCPUs are blocked. Does nothing if the VM is paused already, even if a vCPU
    /// was woken in the meantime.
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

    /// Stops the vCPUs of a paused VM on behalf of `hypercall`. It is a broken rule if an event has
    /// woken one of them.
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

    /// Resets the VM: PAUSED to CREATED.
    pub fn reset(&self) -> Result {
        self.require(&[vm_state::PAUSED])?;
        self.stop_vcpus(Hypercall::ResetVm);
        request_page::free_all(self.request_page.load(Ordering::Acquire));
        self.reset_devices();
        self.set_state(vm_state::CREATED);
        Ok(())
    }

    /// Destroys the VM: PAUSED to OFF.
    ///
    /// Releases all resources. The name stays with this id until another VM is created in it.
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

    /// Kicks the vCPUs, so that they flush their translations when they next enter the guest. Until
    /// then they use stale translations.
    pub fn request_flush(&self) {
        if !KICKS_HELD.load(Ordering::Acquire) {
            self.vcpus().iter().for_each(Vcpu::kick);
        }
    }
}

/// Whether vCPUs that have to flush their translations are not kicked.
static KICKS_HELD: AtomicBool = AtomicBool::new(false);

/// Sets whether vCPUs that have to flush their translations are kicked (`held` is false) or not.
pub fn hold_kicks(held: bool) {
    KICKS_HELD.store(held, Ordering::Release);
}

/// Waits while `condition` holds. Kicks the vCPU repeatedly: in rare cases an NMI is lost, and a
/// halted guest does not exit by itself.
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

/// Returns the number of physical pages that the nested page tables of all VMs use, those of the
/// Service VM included.
pub fn table_pages() -> usize {
    frames::POOL.lock().count()
}

const _: () = assert!(size_of::<svm::Context>() == 8192);
