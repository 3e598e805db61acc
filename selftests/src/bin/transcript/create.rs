// SPDX-License-Identifier: GPL-2.0

//! Cases of CREATE_VM. The test destroys the VM of each case afterwards, if necessary without the
//! driver's knowledge.

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cleanup, cpus,
    device::{Device, creation},
    guest::create_raw,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall, need,
    probe::{Probe, fault},
};
use acrn_uapi::{acrn_vm_creation, ioctl::*};
use mini_acrn_channel::Fault;
use zerocopy::IntoBytes;

use crate::script::{Bytes, Done, Script};

/// Cases of CREATE_VM, each on a new file.
struct Cases<'a> {
    probe: &'a Probe,
    script: Script<'a>,
    page: RequestPage,
    cpus: u64,
}

impl<'a> Cases<'a> {
    fn new(probe: &'a Probe, cpus: u64) -> Self {
        Self {
            probe,
            script: Script::of(probe, ACRN_IOCTL_CREATE_VM),
            page: RequestPage::new().expect("a request page"),
            cpus,
        }
    }

    fn on_new_file(&self, run: impl FnOnce(&Device) -> Done) {
        let device = Device::open().expect("the device");
        // Even if the command failed, a VM may exist now.
        cleanup::register(&device);
        let _ = run(&device);
        drop(device);
        for vm in self.probe.vms() {
            self.probe.destroy(vm.vmid);
        }
    }

    /// Runs a case with an argument that `change` has modified.
    fn with(&self, case: &str, change: impl FnOnce(&mut acrn_vm_creation)) {
        let mut argument = creation(&self.page, self.cpus);
        change(&mut argument);
        self.on_new_file(|device| self.script.with(case, device, &argument));
    }

    fn under(&self, case: &str, fault: Fault) {
        self.probe.push_fault(fault);
        self.with(case, |_| {});
    }
}

/// Prints the results of CREATE_VM for valid and invalid arguments.
pub fn create_vm() -> Outcome {
    let probe = need!(Probe::open());
    let cases = Cases::new(&probe, need!(cpus::pick(1)));
    cases.with("one_vcpu", |_| {});
    let two = need!(cpus::pick(2));
    cases.with("two_vcpus", |argument| argument.cpu_affinity = two);
    cases.with("flags", |argument| argument.vm_flag = 0x8000_0000_0000_0021);
    cases.with("outputs_filled", |argument| {
        (argument.vmid, argument.vcpu_num) = (0x1234, 0x5678);
    });
    cases.with("reserved0", |argument| argument.reserved0 = 1);
    cases.with("reserved1", |argument| argument.reserved1 = 0x8000);
    let device = need!(Device::open());
    cases.script.bad_pointers(&device);
    cases.with("no_cpu", |argument| argument.cpu_affinity = 0);
    cases.with("cpu_of_service_vm", |argument| argument.cpu_affinity = 1);
    Outcome::Passed
}

/// Prints the results of CREATE_VM for invalid request pages and for an unaligned one.
pub fn create_vm_request_page() -> Outcome {
    let probe = need!(Probe::open());
    let cases = Cases::new(&probe, need!(cpus::pick(1)));
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.protect();
    let hole = GuestMemory::anonymous(PAGE);
    hole.unmap(0, PAGE);
    for (case, address) in [
        ("null", 0),
        ("kernel", 0xffff_8880_0000_1000),
        ("not_canonical", 1 << 63),
        ("read_only", read_only.address()),
        ("unmapped", hole.address()),
        ("unaligned", cases.page.address() + 8),
    ] {
        cases.with(&format!("request_page_{case}"), |argument| {
            argument.ioreq_buf = address;
        });
    }
    Outcome::Passed
}

/// Prints the results of CREATE_VM if the hypervisor fails, or returns unusual numbers of vCPUs or
/// VM ids.
pub fn create_vm_hypervisor() -> Outcome {
    let probe = need!(Probe::open());
    let cases = Cases::new(&probe, need!(cpus::pick(1)));
    let create = |result| fault(hypercall::CREATE_VM, result);
    cases.under("hypervisor_EIO", create(-5));
    cases.under("hypervisor_ENOTTY", create(-25));
    cases.under(
        "hypervisor_EIO_for_page",
        fault(hypercall::SET_IOREQ_BUFFER, -5),
    );
    for (case, value) in [("16_vcpus", 16), ("17_vcpus", 17), ("65535_vcpus", 0xffff)] {
        let patched = Fault {
            after: 1,
            patch: 1,
            value,
            ..create(0)
        };
        cases.under(&format!("hypervisor_{case}"), patched);
    }
    let nowhere = Fault {
        patch: 2,
        value: 0xffff,
        ..create(0)
    };
    cases.under("hypervisor_no_vmid", nowhere);
    Outcome::Passed
}

/// Prints the result of CREATE_VM if the driver cannot write the result back.
pub fn create_vm_read_only() -> Outcome {
    let probe = need!(Probe::open());
    let cases = Cases::new(&probe, need!(cpus::pick(1)));
    let argument = Bytes::new(creation(&cases.page, cases.cpus).as_bytes());
    argument.protect();
    cases.on_new_file(|device| {
        let script = &cases.script;
        script.call("argument_read_only", device, argument.argument())
    });
    Outcome::Passed
}

/// Prints the result of CREATE_VM on a file that has a VM.
pub fn create_vm_twice() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let script = Script::of(&probe, ACRN_IOCTL_CREATE_VM);
    let (device, _page, _) = create_raw(masks[0]);
    let page = RequestPage::new().expect("a request page");
    let _ = script.with("twice", &device, &creation(&page, masks[1]));
    let start = Script::of(&probe, ACRN_IOCTL_PAUSE_VM);
    let _ = start.plain("after_create_twice", &device);
    Outcome::Passed
}

/// Prints the results of commands on a file that had another VM before.
pub fn create_vm_again() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::of(&probe, ACRN_IOCTL_CREATE_VM);
    let (device, page, _) = create_raw(need!(cpus::pick(1)));
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let argument = creation(&page, need!(cpus::pick(1)));
    let _ = script.with("after_destroy", &device, &argument);
    let pause = Script::of(&probe, ACRN_IOCTL_PAUSE_VM);
    let _ = pause.plain("of_second_vm", &device);
    let destroy = Script::of(&probe, ACRN_IOCTL_DESTROY_VM);
    let _ = destroy.plain("of_second_vm", &device);
    Outcome::Passed
}
