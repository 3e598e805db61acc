// SPDX-License-Identifier: GPL-2.0

//! Tests that a process can be killed while it waits for a command of another process on the same
//! file.

use std::{
    env, fs,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::ExitStatusExt,
    },
    sync::Arc,
    thread,
    time::Duration,
};

use acrn_selftests::{
    cpus,
    device::{Argument, Device},
    guest::create_raw,
    guest_memory::{GuestMemory, PAGE},
    harness::{self, Outcome},
    held_hypercall::HeldHypercall,
    hypercall::RESET_VM,
    mapping_fixture::{GUEST, ram},
    need,
    probe::Probe,
    userfault::UserfaultMemory,
    waiter::until,
};
use acrn_uapi::ioctl::*;

/// Environment variables with the descriptor and the command number for the victim.
const DESCRIPTOR: &str = "ACRN_SELFTEST_DESCRIPTOR";
const COMMAND: &str = "ACRN_SELFTEST_COMMAND";

/// Makes `command` in another process, and kills the process while it waits for a command in
/// progress. The process must end.
///
/// If `may_pass` is set, `command` may succeed without waiting.
fn dies_while_waiting(device: &Device, command: u32, may_pass: bool) -> Result<(), String> {
    let inherited = nix::unistd::dup(device).expect("dup");
    let mut victim = harness::helper("waiting_victim");
    victim.env(DESCRIPTOR, inherited.as_raw_fd().to_string());
    victim.env(COMMAND, command.to_string());
    let mut victim = harness::start(victim)?;
    let stat = format!("/proc/{}/stat", victim.id());
    let waits = || {
        let stat = fs::read_to_string(&stat).expect("read stat of the victim");
        // The state of the first thread follows the process name, which is in parentheses.
        let rest = stat.rsplit(") ").next();
        rest.is_some_and(|rest| rest.starts_with('D'))
    };
    let mut done = None;
    until("the command waits or returns", || {
        done = victim.try_wait().expect("try_wait for the victim");
        done.is_some() || waits()
    });
    if may_pass && done.is_some_and(|status| status.success()) {
        return Ok(());
    }
    thread::sleep(Duration::from_millis(50));
    assert_eq!(
        victim.try_wait().expect("try_wait for the victim"),
        None,
        "{command:#x}"
    );
    victim.kill().expect("SIGKILL");
    until("the victim ends", || {
        victim
            .try_wait()
            .expect("try_wait for the victim")
            .is_some()
    });
    let status = victim.wait().expect("wait for the victim");
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{command:#x}");
    Ok(())
}

/// Processes can be killed during a SET_MEMSEG that waits for pages of its process.
pub fn killed_behind_memory() -> Outcome {
    let missing = need!(UserfaultMemory::new(PAGE));
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    let device = Arc::new(device);
    let sharing = device.clone();
    let mut segment = ram(GUEST, &missing, 0, PAGE);
    let waiter = thread::spawn(move || sharing.with(ACRN_IOCTL_SET_MEMSEG, &mut segment));
    missing.until_wanted();
    assert!(!waiter.is_finished());
    for (command, may_pass) in [
        (ACRN_IOCTL_SET_MEMSEG, true),
        (ACRN_IOCTL_UNSET_MEMSEG, true),
        (ACRN_IOCTL_DESTROY_VM, false),
        (ACRN_IOCTL_RESET_VM, false),
        (ACRN_IOCTL_CREATE_VM, false),
    ] {
        need!(dies_while_waiting(&device, command, may_pass));
    }
    let _memory = missing.provide();
    until("SET_MEMSEG returns", || waiter.is_finished());
    assert_eq!(waiter.join().expect("join the thread"), Ok(()));
    Outcome::Passed
}

/// Processes can be killed during a RESET_VM that the hypervisor has not completed.
pub fn killed_behind_reset() -> Outcome {
    let probe = need!(Probe::open());
    let (device, _page, vmid) = create_raw(need!(cpus::pick(1)));
    let device = Arc::new(device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let sharing = device.clone();
    let held = HeldHypercall::start(&probe, RESET_VM, vmid, move || {
        sharing.plain(ACRN_IOCTL_RESET_VM)
    });
    for command in [
        ACRN_IOCTL_START_VM,
        ACRN_IOCTL_ATTACH_IOREQ_CLIENT,
        ACRN_IOCTL_DESTROY_VM,
        ACRN_IOCTL_CREATE_VM,
        ACRN_IOCTL_SET_MEMSEG,
    ] {
        need!(dies_while_waiting(&device, command, false));
    }
    assert_eq!(held.release(), Ok(()), "RESET_VM");
    Outcome::Passed
}

/// The process that [`dies_while_waiting`] kills.
pub fn waiting_victim() -> Outcome {
    let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    let descriptor = number(DESCRIPTOR).expect("a descriptor");
    let command = number(COMMAND).expect("a command");
    // SAFETY: The parent has the descriptor open, and this process has inherited it.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor as i32) };
    let device = Device::sharing(&file);
    let memory = GuestMemory::anonymous(PAGE);
    let mut segment = ram(2 * GUEST, &memory, 0, PAGE);
    harness::ready();
    let done = match command {
        ACRN_IOCTL_SET_MEMSEG | ACRN_IOCTL_UNSET_MEMSEG => device.with(command, &mut segment),
        _ => device.ioctl(command, Argument::NULL),
    };
    // The command returned without waiting.
    eprintln!("{command:#x}: {done:?}");
    Outcome::Passed
}
