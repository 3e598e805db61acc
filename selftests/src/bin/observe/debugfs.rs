// SPDX-License-Identifier: GPL-2.0

//! Tests of `/sys/kernel/debug/acrn_hsm/`, which has a directory for each VM as long as the VM
//! exists. Upstream's driver has no such directories.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cleanup, cpus,
    device::{Device, creation},
    harness::Outcome,
    hypercall::{DESTROY_VM, SET_IOREQ_BUFFER},
    leaks::module_users,
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    skip,
    status::Status,
};
use acrn_uapi::ioctl::*;
use nix::errno::Errno;

const DEBUGFS: &str = "/sys/kernel/debug";
const DIRECTORY: &str = "/sys/kernel/debug/acrn_hsm";

fn directory(vmid: u16) -> PathBuf {
    Path::new(DIRECTORY).join(format!("vm{vmid}"))
}

/// Returns the number of directories of VMs.
fn directories() -> usize {
    let entries = fs::read_dir(DIRECTORY).expect(DIRECTORY).flatten();
    entries.filter(|entry| entry.path().is_dir()).count()
}

macro_rules! need_debugfs {
    () => {
        if fs::read_dir(DEBUGFS).map_or(0, |entries| entries.count()) == 0 {
            skip!("no debugfs on {DEBUGFS}");
        }
    };
}

/// Each VM has a directory with the contents of fdinfo, until the VM is destroyed or its file is
/// closed.
pub fn debugfs_comes_and_goes() -> Outcome {
    need_debugfs!();
    assert_eq!(directories(), 0, "directories before any VM");
    for _ in 0..4 {
        let first = need!(MappingFixture::new());
        let second = need!(MappingFixture::new());
        for fixture in [&first, &second] {
            let text = fs::read_to_string(directory(fixture.vmid).join("status")).expect("status");
            let status = Status::parse(&text);
            assert_eq!(status.number("vmid"), u64::from(fixture.vmid));
            let fdinfo = Status::of(&fixture.device);
            assert_eq!(fdinfo.text("state"), status.text("state"));
            assert_eq!(fdinfo.number("vcpus"), status.number("vcpus"));
        }
        assert_eq!(directories(), 2);
        first.destroy();
        assert!(!directory(first.vmid).exists());
        assert!(directory(second.vmid).exists());
        cleanup::unregister(&second.device);
        drop(second);
        assert_eq!(directories(), 0, "directories after the file was closed");
    }
    Outcome::Passed
}

/// A VM whose creation fails leaves no directory.
pub fn debugfs_none_of_failed_vm() -> Outcome {
    need_debugfs!();
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    probe.push_fault(fault(SET_IOREQ_BUFFER, -1));
    assert!(device.create(&page, cpus).is_err());
    assert_eq!(directories(), 0);
    Outcome::Passed
}

/// A VM that the hypervisor refuses to destroy keeps its directory.
pub fn debugfs_stays_after_refused_destroy() -> Outcome {
    need_debugfs!();
    let fixture = need!(MappingFixture::new());
    let status = directory(fixture.vmid).join("status");
    let seen = || {
        let text = fs::read_to_string(&status).expect("status");
        Status::parse(&text).number("vmid")
    };
    fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    for _ in 0..3 {
        fixture.probe.push_fault(fault(DESTROY_VM, -5));
        let refused = fixture.device.plain(ACRN_IOCTL_DESTROY_VM);
        assert_eq!(refused, Err(Errno::EIO));
        assert_eq!(seen(), u64::from(fixture.vmid));
        assert_eq!(directories(), 1);
    }
    fixture.destroy();
    assert_eq!(directories(), 0);
    Outcome::Passed
}

/// A status file that is open when its VM is destroyed returns an error when it is read. It keeps
/// only the module loaded.
pub fn debugfs_open_while_vm_goes() -> Outcome {
    need_debugfs!();
    let fixture = need!(MappingFixture::new());
    let users = module_users();
    let mut file = File::open(directory(fixture.vmid).join("status")).expect("status");
    fixture.destroy();
    assert_eq!(module_users(), users.map(|users| users + 1));
    assert!(!directory(fixture.vmid).exists());
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    assert!(read.is_err(), "{text}");
    drop(file);
    assert_eq!(module_users(), users);
    Outcome::Passed
}

/// VMs that are created and destroyed concurrently reuse each other's ids. Each VM has the
/// directory of its current id.
pub fn debugfs_neighbours() -> Outcome {
    const ROUNDS: usize = 100;
    need_debugfs!();
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let before = directories();
    thread::scope(|scope| {
        for cpus in masks {
            scope.spawn(move || {
                let device = Device::open().expect("the device");
                let page = RequestPage::new().expect("a request page");
                for round in 0..ROUNDS {
                    let mut vm = creation(&page, cpus);
                    // A VM with the UUID of an earlier VM would get the id of that VM.
                    vm.uuid[15] = round as u8;
                    device
                        .with(ACRN_IOCTL_CREATE_VM, &mut vm)
                        .expect("CREATE_VM");
                    cleanup::register(&device);
                    let status = directory(vm.vmid).join("status");
                    let text = fs::read_to_string(status).expect("status");
                    assert_eq!(Status::parse(&text).number("vmid"), u64::from(vm.vmid));
                    for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_DESTROY_VM] {
                        device.plain(request).expect("PAUSE_VM or DESTROY_VM");
                    }
                }
            });
        }
    });
    assert_eq!(directories(), before);
    Outcome::Passed
}

/// Only root may open the device or read the status of a VM.
pub fn file_modes() -> Outcome {
    let mode = |path: &Path| {
        let file = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.permissions().mode() & 0o7777
    };
    assert_eq!(mode(Path::new("/dev/acrn_hsm")), 0o600);
    need_debugfs!();
    let fixture = need!(MappingFixture::new());
    assert_eq!(mode(&directory(fixture.vmid).join("status")), 0o400);
    fixture.destroy();
    Outcome::Passed
}
