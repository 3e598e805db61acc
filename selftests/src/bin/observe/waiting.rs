// SPDX-License-Identifier: GPL-2.0

//! Tests that reading the status of a VM does not wait for its commands.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    thread,
};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cleanup, cpus,
    device::{Device, creation},
    guest::create_raw,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{
        CREATE_VM, DESTROY_VM, PAUSE_VM, PM_GET_CPU_STATE, RESET_VM, SET_MEMORY_REGIONS, START_VM,
    },
    mapping_fixture::{GUEST, ram, whole},
    need,
    probe::Probe,
    status::Status,
    userfault::UserfaultMemory,
    waiter::{SleepingCommand, until},
};
use acrn_uapi::{ioctl::*, *};
use mini_acrn_channel::ANY_VM;
use nix::errno::Errno;

/// Reads the status of a VM from fdinfo. The read must not block.
fn read_fdinfo(device: &Device) -> Status {
    let path = format!("/proc/self/fdinfo/{}", device.as_fd().as_raw_fd());
    let reader = thread::spawn(move || fs::read_to_string(path).expect("fdinfo"));
    until("fdinfo is read", || reader.is_finished());
    Status::parse(&reader.join().expect("the reader panicked"))
}

/// Reads the status of a VM from debugfs if it is mounted. The read must not block.
fn read_debugfs(vmid: u16) {
    let path = format!("/sys/kernel/debug/acrn_hsm/vm{vmid}/status");
    // If the VM is about to be destroyed, there may be no file to read.
    let reader = thread::spawn(move || fs::read_to_string(path).ok());
    until("the status is read", || reader.is_finished());
}

type Command = fn(&Device, u16) -> Result<(), Errno>;

fn set_memory(device: &Device, _vmid: u16) -> Result<(), Errno> {
    let memory = GuestMemory::anonymous(PAGE);
    device.with(ACRN_IOCTL_SET_MEMSEG, &mut whole(&memory))
}

fn get_cpu_state(device: &Device, vmid: u16) -> Result<(), Errno> {
    let mut words = [0; 6];
    words[0] = u64::from(ACRN_PMCMD_GET_CX_CNT) | u64::from(vmid) << 24;
    device.with(ACRN_IOCTL_PM_GET_CPU_STATE, &mut words)
}

/// The status can be read while the hypervisor carries out a command. The commands are in a valid
/// order.
pub fn look_while_held() -> Outcome {
    let commands: [(u32, Command); 6] = [
        (SET_MEMORY_REGIONS, set_memory),
        (PM_GET_CPU_STATE, get_cpu_state),
        (START_VM, |device, _| device.plain(ACRN_IOCTL_START_VM)),
        (PAUSE_VM, |device, _| device.plain(ACRN_IOCTL_PAUSE_VM)),
        (RESET_VM, |device, _| device.plain(ACRN_IOCTL_RESET_VM)),
        (PAUSE_VM, |device, _| device.plain(ACRN_IOCTL_PAUSE_VM)),
    ];
    let probe = need!(Probe::open());
    let (device, _page, vmid) = create_raw(need!(cpus::pick(1)));
    let device = Arc::new(device);
    for (id, command) in commands {
        let sharing = device.clone();
        println!("{id:#x}");
        let held = HeldHypercall::start(&probe, id, ANY_VM, move || command(&sharing, vmid));
        let status = read_fdinfo(&device);
        assert!(status.has("state"), "{status:?}");
        read_debugfs(vmid);
        assert_eq!(held.release(), Ok(()), "{id:#x}");
    }
    let sharing = device.clone();
    let held = HeldHypercall::start(&probe, DESTROY_VM, vmid, move || {
        sharing.plain(ACRN_IOCTL_DESTROY_VM)
    });
    assert!(read_fdinfo(&device).has("state"));
    read_debugfs(vmid);
    assert_eq!(held.release(), Ok(()), "DESTROY_VM");
    cleanup::unregister(&*device);
    assert_eq!(read_fdinfo(&device).text("state"), "empty");
    Outcome::Passed
}

/// The status can be read while CREATE_VM is in progress on another file, and on the same file.
pub fn look_while_created() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (device, _page, vmid) = create_raw(masks[0]);
    let other = Arc::new(need!(Device::open()));
    let sharing = other.clone();
    let held = HeldHypercall::start(&probe, CREATE_VM, ANY_VM, move || {
        let page = RequestPage::new().expect("a request page");
        let created = sharing.create(&page, masks[1]);
        // The request page must live as long as the VM.
        created.map(|_| page)
    });
    assert_eq!(read_fdinfo(&device).number("vmid"), u64::from(vmid));
    read_debugfs(vmid);
    assert!(read_fdinfo(&other).has("state"));
    assert!(held.release().is_ok(), "CREATE_VM");
    Outcome::Passed
}

/// The status can be read while SET_MEMSEG waits for missing pages.
pub fn look_while_memory_waits() -> Outcome {
    let missing = need!(UserfaultMemory::new(16 * PAGE));
    let (device, _page, vmid) = create_raw(need!(cpus::pick(1)));
    let device = Arc::new(device);
    let sharing = device.clone();
    let mut segment = ram(GUEST, &missing, 0, 16 * PAGE);
    let set = move || sharing.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
    let waiter = SleepingCommand::start(|| true, set);
    let status = read_fdinfo(&device);
    assert_eq!(status.number("vmid"), u64::from(vmid));
    assert_eq!(status.number("mapped_bytes"), 0);
    read_debugfs(vmid);
    // The status of another file can be read as well.
    let other = need!(Device::open());
    assert_eq!(read_fdinfo(&other).text("state"), "empty");
    let _memory = missing.provide();
    assert_eq!(waiter.result(), Ok(()), "SET_MEMSEG");
    assert_eq!(
        read_fdinfo(&device).number("mapped_bytes"),
        16 * PAGE as u64
    );
    Outcome::Passed
}

/// A VM can be created while the CREATE_VM of another VM waits for its request page.
pub fn create_beside_one_that_waits() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let missing = need!(UserfaultMemory::new(PAGE));
    let other = Arc::new(need!(Device::open()));
    let sharing = other.clone();
    let page = RequestPage::new().expect("a request page");
    let mut asked = acrn_vm_creation {
        ioreq_buf: missing.address(),
        ..creation(&page, masks[1])
    };
    let create = move || {
        let created = sharing.with(ACRN_IOCTL_CREATE_VM, &mut asked);
        cleanup::register(&*sharing);
        created
    };
    let waiter = SleepingCommand::start(|| true, create);
    let (device, _page, vmid) = create_raw(masks[0]);
    assert_eq!(read_fdinfo(&device).number("vmid"), u64::from(vmid));
    assert_eq!(read_fdinfo(&other).text("state"), "busy");
    drop(device);
    let _memory = missing.provide();
    assert_eq!(waiter.result(), Ok(()), "CREATE_VM");
    Outcome::Passed
}
