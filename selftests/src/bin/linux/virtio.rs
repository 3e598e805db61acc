// SPDX-License-Identifier: GPL-2.0

//! Tests of virtio disks and of the virtio console. Their doorbells are ioeventfds, and their
//! interrupts are irqfds.

use std::{env, fs, path::PathBuf, process};

use acrn_selftests::{cpus, harness::Outcome, need};
use testbed_disk_image as disk_image;

use crate::{INTERACTIVE, LIMIT, machine::Machine};

/// Command line that makes init of the User VM use the virtio console.
const ON_VIRTIO: &str = "testbed.console=hvc0";

/// A disk image that contains a file of the host. Dropping it removes the image.
pub struct Image {
    path: PathBuf,
    seed: u64,
}

impl Image {
    pub fn new(seed: u64) -> Self {
        let name = format!("linux-{}-{seed}", process::id());
        let path = env::temp_dir().join(name);
        disk_image::create(&path, seed).expect("create a disk image");
        Self { path, seed }
    }

    /// Returns the path for the command line of acrn-vmm.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("a path in UTF-8")
    }

    /// Panics unless the image has the expected contents from host and guest.
    pub fn verify(&self) {
        if let Err(error) = disk_image::verify(&self.path, self.seed) {
            panic!("{error}");
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Linux reads and writes a disk, whose image then has the expected contents.
pub fn disk_is_read_and_written() -> Outcome {
    let image = Image::new(1);
    let mut machine = need!(Machine::start(&["--disk", image.path()], "", LIMIT));
    machine.wait_for("bytes read and written");
    machine.assert_ends_well();
    image.verify();
    Outcome::Passed
}

/// A guest uses two disks, and the second one, which is read-only, does not change.
pub fn two_disks() -> Outcome {
    let (first, second) = (Image::new(1), Image::new(2));
    let before = fs::read(second.path()).expect("read the second image");
    let read_only = format!("{},ro", second.path());
    let options = ["--disk", first.path(), "--disk", &read_only];
    let mut machine = need!(Machine::start(&options, "", LIMIT));
    machine.wait_for("/dev/vda");
    let line = machine.wait_for("/dev/vdb");
    assert!(line.contains("read-only"), "{line}");
    machine.assert_ends_well();
    first.verify();
    let after = fs::read(second.path()).expect("read the second image");
    assert!(before == after, "the read-only disk has changed");
    Outcome::Passed
}

/// Linux receives lines of different lengths on the virtio console, and prints them there.
pub fn virtio_console_echoes() -> Outcome {
    let more = format!("{ON_VIRTIO} {INTERACTIVE}");
    let mut machine = need!(Machine::start(&["--console", "virtio"], &more, LIMIT));
    machine.wait_for("User VM: type something");
    for number in 0..16 {
        let line = format!("{number}:{}", "0123456789".repeat(number));
        machine.enter(&line);
        machine.wait_for(&format!("User VM: {line}"));
    }
    machine.enter("poweroff");
    machine.assert_ends_well();
    Outcome::Passed
}

/// The kernel prints its own messages on the virtio console, without a serial port.
pub fn kernel_on_virtio_console() -> Outcome {
    let line = "console=hvc0 loglevel=7 testbed.job=guest";
    let mut machine = need!(Machine::start_with(&["--console", "virtio"], line, LIMIT));
    machine.wait_for("Run /init as init process");
    machine.wait_until_up();
    machine.assert_ends_well();
    Outcome::Passed
}

/// Two VMs with two vCPUs, a disk and a console each run at the same time.
pub fn two_vms_side_by_side() -> Outcome {
    let cpus = need!(cpus::pick_many(&[2, 2]));
    let images = [Image::new(3), Image::new(4)];
    let mut machines = Vec::new();
    for ((image, cpus), name) in images.iter().zip(cpus).zip(["first", "second"]) {
        let cpus = format!("{cpus:#x}");
        let options = [
            ["--name", name],
            ["--cpu-affinity", &cpus],
            ["--disk", image.path()],
            ["--console", "virtio"],
            ["--memory", "128M"],
        ];
        let more = format!("{ON_VIRTIO} {INTERACTIVE}");
        machines.push(need!(Machine::start(options.as_flattened(), &more, LIMIT)));
    }
    for machine in &mut machines {
        let line = machine.wait_until_up();
        assert!(line.contains("2 CPU"), "{line}");
        machine.wait_for("bytes read and written");
        machine.wait_for("User VM: type something");
    }
    // Both VMs run at the same time here.
    for (machine, text) in machines.iter_mut().zip(["to the first", "to the second"]) {
        machine.enter(text);
        machine.wait_for(&format!("User VM: {text}"));
        machine.enter("poweroff");
    }
    for machine in &mut machines {
        machine.assert_ends_well();
    }
    images.iter().for_each(Image::verify);
    Outcome::Passed
}
