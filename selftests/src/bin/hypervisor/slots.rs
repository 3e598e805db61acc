// SPDX-License-Identifier: GPL-2.0

//! Tests of the VM ids, names and CPUs of CREATE_VM.
//!
//! The tests create the VMs without the driver's knowledge.

use acrn_selftests::{
    cpus,
    harness::Outcome,
    hypercall::{DESTROY_VM, PAUSE_VM, START_VM},
    need,
    probe::{Probe, fault},
};
use acrn_uapi::acrn_vm_creation;
use mini_acrn_channel::MAX_VMS;

use crate::parameters::{GENERIC, INVALID};

/// `vmid` of a VM that was not created.
const NO_VM: u16 = 0xffff;

fn creation(name: &str, cpus: u64) -> acrn_vm_creation {
    let mut creation = acrn_vm_creation {
        cpu_affinity: cpus,
        ..Default::default()
    };
    creation.uuid[..name.len()].copy_from_slice(name.as_bytes());
    creation
}

/// Creates a VM. Panics if that fails.
fn create(probe: &Probe, name: &str, cpus: u64) -> u16 {
    let (result, created) = probe.create_vm(creation(name, cpus));
    assert_eq!(result, 0, "CREATE_VM of {name}");
    assert_ne!(created.vmid, NO_VM, "{name}");
    created.vmid
}

/// A VM gets the VM id that the last VM with the same name had, unless another VM has it now.
pub fn vm_names() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let [first, second] =
        [("slot-a", masks[0]), ("slot-b", masks[1])].map(|(name, cpus)| create(&probe, name, cpus));
    let (result, _) = probe.create_vm(creation("slot-b", masks[1]));
    assert_eq!(result, GENERIC, "CREATE_VM with the name of an existing VM");
    for vmid in [first, second] {
        probe.destroy(vmid);
    }
    // The VM gets this VM id although the lower one is free, too.
    assert_eq!(create(&probe, "slot-b", masks[0]), second);
    // A VM with a new name gets the first free VM id. The hypervisor forgets the name that had it
    // before.
    let third = create(&probe, "slot-c", masks[1]);
    assert_eq!(third, first);
    for vmid in [second, third] {
        probe.destroy(vmid);
    }
    assert_eq!(create(&probe, "slot-c", masks[0]), third);
    probe.destroy(third);
    // The hypervisor ignores the bytes after the end of a name.
    let mut longer = creation("slot-b", masks[0]);
    longer.uuid[10] = 7;
    let (result, created) = probe.create_vm(longer);
    assert_eq!((result, created.vmid), (0, second));
    probe.destroy(second);
    Outcome::Passed
}

/// VMs without a name are different from each other.
pub fn vm_without_name() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let vms = [masks[0], masks[1]].map(|cpus| create(&probe, "", cpus));
    assert_ne!(vms[0], vms[1]);
    for vmid in vms {
        probe.destroy(vmid);
    }
    Outcome::Passed
}

/// CREATE_VM fails if the maximum number of VMs exists.
pub fn vm_slots() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1; MAX_VMS]));
    let vms: Vec<u16> = (0..)
        .zip(&masks)
        .map(|(number, cpus)| create(&probe, &format!("slot-{number}"), *cpus))
        .collect();
    let (result, _) = probe.create_vm(creation("one-more", masks[0]));
    assert_eq!(result, INVALID);
    for vmid in vms {
        probe.destroy(vmid);
    }
    Outcome::Passed
}

/// For a VM without an affinity, the configuration chooses the CPUs. In this one, it is the first
/// free CPU.
pub fn vm_without_cpus() -> Outcome {
    let probe = need!(Probe::open());
    let lowest = need!(cpus::pick(1));
    let (result, created) = probe.create_vm(creation("slot-a", 0));
    assert_eq!((result, created.vcpu_num), (0, 1));
    let vm = probe.vm(created.vmid).expect("the VM");
    assert_eq!(vm.cpu_affinity, lowest);
    // If the CPUs are in use, the hypervisor reports no error, but creates no VM.
    let (result, refused) = probe.create_vm(creation("slot-b", lowest));
    assert_eq!((result, refused.vmid), (0, NO_VM));
    probe.destroy(created.vmid);
    Outcome::Passed
}

/// ACRN does not check for CPUs that the machine does not have, and writes beyond its arrays.
pub fn vm_on_unknown_cpu() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    for unknown in [1 << 32, 1 << 63] {
        probe.expect_broken_rule();
        let (result, refused) = probe.create_vm(creation("slot-a", cpus | unknown));
        assert_eq!((result, refused.vmid), (0, NO_VM));
    }
    Outcome::Passed
}

/// If DESTROY_VM fails but destroys the VM, the VM's name and VM id are free.
pub fn destroyed_with_an_error() -> Outcome {
    const TIMED_OUT: i64 = -110;
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let vmid = create(&probe, "slot-a", cpus);
    let call = |id| probe.call(id, vmid.into(), 0);
    assert_eq!(call(PAUSE_VM), 0);
    let mut late = fault(DESTROY_VM, TIMED_OUT);
    late.after = 1;
    probe.push_fault(late);
    assert_eq!(call(DESTROY_VM), TIMED_OUT);
    assert!(probe.vm(vmid).is_none());
    assert_eq!(call(START_VM), GENERIC);
    assert_eq!(create(&probe, "slot-a", cpus), vmid);
    probe.destroy(vmid);
    Outcome::Passed
}
