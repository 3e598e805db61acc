// SPDX-License-Identifier: GPL-2.0

//! Device models of a Service VM that is about to reboot.
//!
//! The test-bed's init runs these helpers, and its runner checks the result.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::Path,
    thread,
};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::{Device, creation},
    guest::Guest,
    guest_memory::PAGE,
    harness::{self, Outcome},
    held_hypercall::HeldHypercall,
    hypercall::{CREATE_VM, DESTROY_VM},
    mapping_fixture::{GUEST, ram},
    module, need,
    probe::{Probe, fault},
    program,
    userfault::UserfaultMemory,
    waiter::{SleepingCommand, until, waits_in_driver},
};
use acrn_uapi::{acrn_vm_creation, ioctl::ACRN_IOCTL_SET_MEMSEG};
use mini_acrn_channel::{ANY_VM, Fault};

use crate::orphans::notifier_memory;

const DIRECTORY: &str = "/sys/kernel/debug/acrn_hsm";

/// A VM outlives its file and the module, which is then loaded again.
///
/// The kernel must not call the unloaded module. The test therefore unmaps memory that had a
/// notifier, and checks that debugfs has no files of the driver.
pub fn orphan_outlives_module() -> Outcome {
    let path = need!(module::path());
    let probe = need!(Probe::open());
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    let vmid = guest.vm.vmid();
    let memory = need!(notifier_memory(4 * PAGE));
    let mut segment = ram(4 * GUEST, &memory, 0, memory.len());
    Device::sharing(&guest.vm)
        .with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
        .expect("SET_MEMSEG");
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    probe.push_fault(Fault {
        vmid,
        count: u32::MAX,
        ..fault(DESTROY_VM, -1)
    });
    guest.close();
    assert!(Path::new(DIRECTORY).join(format!("vm{vmid}")).exists());
    module::unload();
    assert!(
        !Path::new(DIRECTORY).exists(),
        "debugfs still has the driver's directory"
    );
    drop(memory);
    // The kernel has not reused the orphan's memory.
    let code = program::greet_and_spin();
    let seen = probe.read_guest(vmid, program::ENTRY, code.len());
    assert_eq!(seen, Some(code));
    module::load(&path);
    assert!(probe.vm(vmid).is_some(), "the orphan was destroyed");
    harness::ready();
    Outcome::Passed
}

/// The Service VM reboots while CREATE_VM is in progress for one VM, which the driver destroys as
/// soon as the hypervisor has created it. A later CREATE_VM must not create a VM. Nor must an
/// earlier one that waited for its request page.
pub fn late_creators() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let (first, second, third) = (masks[0], masks[1], masks[2]);
    let page = need!(UserfaultMemory::new(PAGE));
    let unused = RequestPage::new().expect("a request page");
    let late = acrn_vm_creation {
        ioreq_buf: page.address(),
        ..creation(&unused, third)
    };
    let late = SleepingCommand::start(|| true, move || create_as(late));
    page.until_wanted();
    let held = HeldHypercall::start(&probe, CREATE_VM, ANY_VM, move || create(first));
    harness::ready();
    // The second CREATE_VM begins during the reboot system call of init, and waits for the first.
    until("init reboots", || waits_in_driver("1"));
    let _second = SleepingCommand::start(|| true, move || create(second));
    let _page = page.provide();
    // It must wait for the driver's lock behind init. A thread that comes when the lock is released
    // may take it before those that wait.
    until("the earlier CREATE_VM has its page", || late.has_its_page());
    held.release();
    loop {
        thread::park();
    }
}

/// The Service VM reboots while a process reads the status of a VM, for which the driver waits. The
/// device model resets and starts the VM meanwhile. The driver must destroy it all the same.
pub fn late_starter() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    let path = format!("{DIRECTORY}/vm{}/status", guest.vm.vmid());
    let status = File::open(path).expect("the status");
    let memory = need!(UserfaultMemory::new(PAGE));
    let address = memory.address();
    thread::spawn(move || {
        // SAFETY: The memory is unused, and it is never unmapped. The kernel writes to it.
        unsafe { libc::read(status.as_raw_fd(), address as *mut _, PAGE) }
    });
    memory.until_wanted();
    harness::ready();
    until("the driver waits for the reader", || {
        let stack = fs::read_to_string("/proc/1/stack");
        stack.is_ok_and(|stack| stack.contains("debugfs_remove"))
    });
    // If the driver has paused the VM, this starts it again.
    let restarted = guest.vm.reset().and_then(|()| guest.vm.start());
    eprintln!("RESET_VM and START_VM: {restarted:?}");
    let _memory = memory.provide();
    loop {
        thread::park();
    }
}

/// Makes CREATE_VM, which may fail. The file stays open, and the request page stays allocated.
fn create(cpus: u64) {
    let page = RequestPage::new().expect("a request page");
    create_as(creation(&page, cpus));
    std::mem::forget(page);
}

/// Makes CREATE_VM, which may fail. The file stays open.
fn create_as(creation: acrn_vm_creation) {
    let device = Device::open().expect("the device");
    let created = device.create_as(creation);
    eprintln!("CREATE_VM: {:?}", created.map(|created| created.vmid));
    std::mem::forget(device);
}
