// SPDX-License-Identifier: GPL-2.0

//! PCI devices of a killed device model: they return to the Service VM, where their DMA would hit
//! memory that is in use for other purposes by then.

use std::{
    env,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    thread,
};

use acrn_selftests::{
    cleanup, cpus,
    guest::create_raw,
    guest_memory::{GuestMemory, PAGE},
    harness::{self, Outcome},
    held_hypercall::HeldHypercall,
    hypercall::{ASSIGN_PCIDEV, DESTROY_VM},
    kernel_log::KernelLog,
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    waiter::{SleepingCommand, until},
};
use acrn_uapi::{
    acrn_pcidev,
    ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM},
};
use nix::errno::Errno;

use crate::{
    command::*,
    ownership::{PCI, pci_bytes},
};

/// Environment variable with the addresses of the victim's devices.
const BDF: &str = "ACRN_SELFTEST_BDF";
/// The command register of configuration space, and its bits.
const COMMAND: u64 = 4;
const MEMORY_SPACE: u16 = 2;
const BUS_MASTER: u16 = 4;

/// A PCI function that no driver of the Service VM uses.
struct Function {
    directory: PathBuf,
    bus: u16,
    device_function: u16,
}

impl Function {
    /// Finds the first function of a class, on the root bus or behind a bridge.
    fn find(class: &str, behind_bridge: bool) -> Result<Self, String> {
        // A real Service VM may need the function.
        Probe::open()?;
        let directories = fs::read_dir("/sys/bus/pci/devices");
        let directories = directories.map_err(|error| format!("/sys/bus/pci: {error}"))?;
        let mut functions = directories.flatten().filter_map(|entry| {
            let directory = entry.path();
            let name = entry.file_name().into_string().ok()?;
            // DOMAIN:BUS:DEVICE.FUNCTION
            let number = |range| u16::from_str_radix(name.get(range)?, 16).ok();
            let function = Self {
                bus: number(5..7)?,
                device_function: number(8..10)? << 3 | number(11..12)?,
                directory,
            };
            let text = fs::read_to_string(function.directory.join("class")).ok()?;
            let is_free = !function.directory.join("driver").exists();
            let is_wanted = text.starts_with(class) && (function.bus != 0) == behind_bridge;
            (is_wanted && is_free).then_some(function)
        });
        functions
            .next()
            .ok_or_else(|| format!("no PCI function of class {class} is free"))
    }

    fn bdf(&self) -> u16 {
        self.bus << 8 | self.device_function
    }

    fn open(&self, name: &str) -> File {
        let path = self.directory.join(name);
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self) -> u16 {
        let mut bytes = [0; 2];
        self.open("config")
            .read_exact_at(&mut bytes, COMMAND)
            .expect("config");
        u16::from_le_bytes(bytes)
    }

    /// Sets bits of the command register.
    fn turn_on(&self, bits: u16) {
        let command = self.command() | bits;
        self.open("config")
            .write_all_at(&command.to_le_bytes(), COMMAND)
            .expect("config");
        assert_eq!(self.command(), command, "command register");
    }

    fn is_bus_master(&self) -> bool {
        self.command() & BUS_MASTER != 0
    }

    fn pcidev(bdf: u16) -> acrn_pcidev {
        acrn_pcidev {
            phys_bdf: bdf,
            ..PCI
        }
    }

    /// Address in the format of the driver's log.
    fn address(&self) -> &str {
        let name = self.directory.file_name().and_then(|name| name.to_str());
        name.expect("an address").trim_start_matches("0000:")
    }

    /// Kills device models that have this function, and before it `others`, until the log has a
    /// line for which `is_meant` returns true: other tests may have used up the lines that the
    /// driver may write in five seconds. The function must be no bus master afterwards.
    fn is_logged(&self, others: &[u16], is_meant: impl Fn(&str) -> bool) -> Result<(), String> {
        let outlives = || {
            self.turn_on(BUS_MASTER);
            let log = self.outlives_device_model_behind(others)?;
            assert!(!self.is_bus_master(), "the function is still a bus master");
            Ok::<_, String>(log)
        };
        let mut log = outlives()?;
        until("the log has the line", || {
            let logged = log.iter().any(|line| is_meant(line));
            if !logged {
                log = outlives().expect("a device model");
            }
            logged
        });
        Ok(())
    }

    /// Kills a device model that has this function. Returns the driver's log.
    fn outlives_device_model(&self) -> Result<Vec<String>, String> {
        self.outlives_device_model_behind(&[])
    }

    /// Kills a device model that has `others` and then this function. Returns the driver's log.
    fn outlives_device_model_behind(&self, others: &[u16]) -> Result<Vec<String>, String> {
        let mut log = KernelLog::start()?;
        let mut victim = harness::helper("victim");
        let all = others.iter().copied().chain([self.bdf()]);
        let all: Vec<_> = all.map(|bdf| bdf.to_string()).collect();
        victim.env(BDF, all.join(" "));
        let mut victim = harness::start(victim)?;
        assert!(self.is_bus_master(), "ASSIGN_PCIDEV disabled bus mastering");
        victim.kill().expect("SIGKILL");
        victim.wait().expect("the victim");
        Ok(log.lines())
    }
}

/// The device model that is killed.
pub fn victim() -> Outcome {
    let devices = env::var(BDF).expect("addresses of devices");
    let (file, _page, _) = create_raw(need!(cpus::pick(1)));
    for bdf in devices.split(' ') {
        let device = Function::pcidev(bdf.parse().expect("the address of a device"));
        assert_eq!(ASSIGN_PCI.issue(&file, &pci_bytes(&device)), Ok(()));
    }
    harness::ready();
    loop {
        std::thread::park();
    }
}

/// A function that cannot be reset alone, the chipset's IDE: its bus mastering is disabled, and the
/// log reports that the reset is impossible.
pub fn left_over_without_reset() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let names = |line: &str| line.contains(function.address()) && line.contains("reset");
    for _ in 0..2 {
        need!(function.is_logged(&[], names));
    }
    Outcome::Passed
}

/// A single function behind a bridge is reset with its registers. Its configuration space is kept.
pub fn left_over_with_reset() -> Outcome {
    /// A register of Intel's HD Audio controllers that holds the address of a ring, and is 0 after
    /// a reset.
    const RING_BASE: usize = 0x40;
    let function = need!(Function::find("0x0403", true));
    function.turn_on(BUS_MASTER | MEMORY_SPACE);
    let registers = GuestMemory::of_file(function.open("resource0"), PAGE);
    let registers = registers.expect("the registers of a device");
    for round in 1..=2 {
        function.turn_on(BUS_MASTER);
        registers.write::<u32>(RING_BASE, 0x1000 * round);
        assert_eq!(registers.read::<u32>(RING_BASE), 0x1000 * round);
        let log = need!(function.outlives_device_model());
        assert!(
            !function.is_bus_master(),
            "the function is still a bus master"
        );
        assert_ne!(function.command() & MEMORY_SPACE, 0);
        let left = registers.read::<u32>(RING_BASE);
        assert_eq!(left, 0, "register after a reset, log: {log:?}");
        assert_eq!(log, [""; 0]);
    }
    Outcome::Passed
}

/// Destroys the VM, or closes the file and leaves the VM to the driver.
fn end(fixture: MappingFixture, destroy: bool) {
    match destroy {
        true => fixture.destroy(),
        false => drop(cleanup::unregister(&fixture.device)),
    }
}

/// A deassigned device is left alone: neither DESTROY_VM nor close changes it.
pub fn left_over_taken_back() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let bytes = pci_bytes(&Function::pcidev(function.bdf()));
    function.turn_on(BUS_MASTER);
    for destroy in [true, false] {
        let fixture = need!(MappingFixture::new());
        assert_eq!(ASSIGN_PCI.issue(&fixture.device, &bytes), Ok(()));
        assert_eq!(DEASSIGN_PCI.issue(&fixture.device, &bytes), Ok(()));
        end(fixture, destroy);
        assert!(function.is_bus_master());
    }
    Outcome::Passed
}

/// One of several devices does not exist: bus mastering of the others is disabled, at any position.
pub fn left_over_behind_missing() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let is_missing = |line: &str| line.contains("does not exist");
    need!(function.is_logged(&[PCI.phys_bdf], is_missing));
    Outcome::Passed
}

/// A device that the hypervisor refused to assign is left alone, because it may belong to another
/// VM.
pub fn left_over_refused() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let bytes = pci_bytes(&Function::pcidev(function.bdf()));
    function.turn_on(BUS_MASTER);
    for destroy in [true, false] {
        let fixture = need!(MappingFixture::new());
        ASSIGN_PCI.fail_next(&fixture, Errno::EINVAL);
        assert_eq!(
            ASSIGN_PCI.issue(&fixture.device, &bytes),
            Err(Errno::EINVAL)
        );
        end(fixture, destroy);
        assert!(function.is_bus_master());
    }
    Outcome::Passed
}

/// A device that the hypervisor refused to deassign belongs to the VM until the VM is destroyed.
pub fn left_over_not_taken_back() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let bytes = pci_bytes(&Function::pcidev(function.bdf()));
    for destroy in [true, false] {
        function.turn_on(BUS_MASTER);
        let fixture = need!(MappingFixture::new());
        assert_eq!(ASSIGN_PCI.issue(&fixture.device, &bytes), Ok(()));
        DEASSIGN_PCI.fail_next(&fixture, Errno::EBUSY);
        let taken = DEASSIGN_PCI.issue(&fixture.device, &bytes);
        assert_eq!(taken, Err(Errno::EBUSY));
        assert!(function.is_bus_master());
        end(fixture, destroy);
        assert!(
            !function.is_bus_master(),
            "the function is still a bus master"
        );
    }
    Outcome::Passed
}

/// The device of an orphan: bus mastering is disabled as soon as the hypervisor destroys the
/// orphan, when the next VM is created.
pub fn left_over_of_orphan() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let bytes = pci_bytes(&Function::pcidev(function.bdf()));
    let masks = need!(cpus::pick_many(&[1, 1]));
    function.turn_on(BUS_MASTER);
    let probe = need!(Probe::open());
    let (orphan, page, vmid) = create_raw(masks[0]);
    assert_eq!(ASSIGN_PCI.issue(&orphan, &bytes), Ok(()));
    // Any other error does not prove that the VM still exists.
    probe.push_fault(fault(DESTROY_VM, -i64::from(libc::EPERM)));
    cleanup::unregister(&orphan);
    drop(orphan);
    assert!(probe.vm(vmid).is_some(), "the orphan was destroyed");
    assert!(function.is_bus_master(), "the orphan still has its device");
    let _successor = create_raw(masks[1]);
    assert!(
        !function.is_bus_master(),
        "the function is still a bus master"
    );
    drop(page);
    Outcome::Passed
}

/// A VM without PCI devices is destroyed while ASSIGN_PCIDEV for another VM is in progress. It does
/// not wait for the devices of others.
pub fn destroyed_beside_assignment() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let bytes = pci_bytes(&Function::pcidev(function.bdf()));
    let masks = need!(cpus::pick_many(&[1, 1]));
    let probe = need!(Probe::open());
    let (owner, _owners_page, owner_vmid) = create_raw(masks[0]);
    let (other, _page, _) = create_raw(masks[1]);
    other.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let held = HeldHypercall::start(&probe, ASSIGN_PCIDEV, owner_vmid, move || {
        (ASSIGN_PCI.issue(&owner, &bytes), owner)
    });
    let destroyer = SleepingCommand::start_or_finish(move || other.plain(ACRN_IOCTL_DESTROY_VM));
    assert_eq!(destroyer.result(), Ok(()), "DESTROY_VM");
    let (assigned, _owner) = held.release();
    assert_eq!(assigned, Ok(()), "ASSIGN_PCIDEV");
    Outcome::Passed
}

/// The device of a VM whose DESTROY_VM failed although the hypervisor destroyed it, by a command or
/// at close: bus mastering is disabled at once. When the driver finds out that the VM has ended, it
/// leaves the device alone, which belongs to another VM by then.
pub fn left_over_of_doubtful_destroy() -> Outcome {
    let function = need!(Function::find("0x0101", false));
    let bytes = pci_bytes(&Function::pcidev(function.bdf()));
    let masks = need!(cpus::pick_many(&[1, 1]));
    let probe = need!(Probe::open());
    for closes in [true, false] {
        function.turn_on(BUS_MASTER);
        let (owner, _owners_page, _) = create_raw(masks[1]);
        let (older, page, vmid) = create_raw(masks[0]);
        assert_eq!(ASSIGN_PCI.issue(&older, &bytes), Ok(()));
        probe.fail_after_destroying(vmid);
        let older = match closes {
            true => {
                cleanup::unregister(&older);
                drop(older);
                None
            }
            false => {
                older.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
                let destroyed = older.plain(ACRN_IOCTL_DESTROY_VM);
                assert_eq!(destroyed, Err(Errno::ETIMEDOUT));
                Some(older)
            }
        };
        assert!(probe.vm(vmid).is_none());
        assert!(
            !function.is_bus_master(),
            "the function is still a bus master"
        );
        assert_eq!(ASSIGN_PCI.issue(&owner, &bytes), Ok(()));
        function.turn_on(BUS_MASTER);
        let (_successor, _successors_page, successors_vmid) = create_raw(masks[0]);
        assert_eq!(successors_vmid, vmid, "VM id of the next VM with that name");
        drop((older, page));
        assert!(
            function.is_bus_master(),
            "the device of another VM was quiesced"
        );
    }
    Outcome::Passed
}

/// Another VM gets a device as soon as the driver allows, while a device model that had it and a
/// device with a slow reset is closed. The device is not quiesced afterwards.
pub fn left_over_and_assigned_again() -> Outcome {
    let slow = need!(Function::find("0x0403", true));
    let function = need!(Function::find("0x0101", false));
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (owner, _page, _) = create_raw(masks[0]);
    for closes in [true, false] {
        slow.turn_on(BUS_MASTER);
        function.turn_on(BUS_MASTER);
        let (older, page, _) = create_raw(masks[1]);
        for device in [&slow, &function] {
            let bytes = pci_bytes(&Function::pcidev(device.bdf()));
            assert_eq!(ASSIGN_PCI.issue(&older, &bytes), Ok(()));
        }
        let ending = thread::spawn(move || {
            match closes {
                true => drop(cleanup::unregister(&older)),
                false => {
                    older.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
                    older.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
                }
            }
            drop((older, page));
        });
        let bytes = pci_bytes(&Function::pcidev(function.bdf()));
        until("the device has no owner", || {
            match ASSIGN_PCI.issue(&owner, &bytes) {
                Ok(()) => true,
                refused => {
                    assert_eq!(refused, Err(Errno::ENODEV));
                    false
                }
            }
        });
        assert!(
            !function.is_bus_master(),
            "the device was assigned before it was quiesced"
        );
        function.turn_on(BUS_MASTER);
        ending.join().expect("the end of the VM");
        assert!(
            function.is_bus_master(),
            "the device of another VM was quiesced"
        );
        assert_eq!(DEASSIGN_PCI.issue(&owner, &bytes), Ok(()));
    }
    Outcome::Passed
}
