// SPDX-License-Identifier: GPL-2.0

//! CREATE_VM: ids, names, and CPUs. The VMs are the test's own, no driver knows them.

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

/// Creates a VM, which must go well.
fn create(probe: &Probe, name: &str, cpus: u64) -> u16 {
    let (result, created) = probe.create_vm(creation(name, cpus));
    assert_eq!(result, 0, "CREATE_VM of {name}");
    assert_ne!(created.vmid, NO_VM, "{name}");
    created.vmid
}

/// A name gets the id that it had, unless another VM took it.
pub fn names() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let [first, second] =
        [("slot-a", masks[0]), ("slot-b", masks[1])].map(|(name, cpus)| create(&probe, name, cpus));
    let (result, _) = probe.create_vm(creation("slot-b", masks[1]));
    assert_eq!(result, GENERIC, "the name of a VM that there is");
    for vmid in [first, second] {
        probe.destroy(vmid);
    }
    // The lower id is free, too.
    assert_eq!(create(&probe, "slot-b", masks[0]), second);
    // An unknown name gets the first that is free, and the name that had it is forgotten.
    let third = create(&probe, "slot-c", masks[1]);
    assert_eq!(third, first);
    for vmid in [second, third] {
        probe.destroy(vmid);
    }
    assert_eq!(create(&probe, "slot-c", masks[0]), third);
    probe.destroy(third);
    // What is behind the end of a name does not count.
    let mut longer = creation("slot-b", masks[0]);
    longer.uuid[10] = 7;
    let (result, created) = probe.create_vm(longer);
    assert_eq!((result, created.vmid), (0, second));
    probe.destroy(second);
    Outcome::Passed
}

/// VMs without a name are not the same.
pub fn no_name() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let vms = [masks[0], masks[1]].map(|cpus| create(&probe, "", cpus));
    assert_ne!(vms[0], vms[1]);
    for vmid in vms {
        probe.destroy(vmid);
    }
    Outcome::Passed
}

/// One more than there can be.
pub fn no_slot() -> Outcome {
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

/// Without a word on CPUs the configuration decides: here, the first that is free.
pub fn no_affinity() -> Outcome {
    let probe = need!(Probe::open());
    let lowest = need!(cpus::pick(1));
    let (result, created) = probe.create_vm(creation("slot-a", 0));
    assert_eq!((result, created.vcpu_num), (0, 1));
    let vm = probe.vm(created.vmid).expect("the VM");
    assert_eq!(vm.cpu_affinity, lowest);
    // CPUs that are taken: no error, and no VM.
    let (result, refused) = probe.create_vm(creation("slot-b", lowest));
    assert_eq!((result, refused.vmid), (0, NO_VM));
    probe.destroy(created.vmid);
    Outcome::Passed
}

/// CPUs that the machine has not: ACRN does not look, and writes beyond its arrays.
pub fn unknown_cpu() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    for unknown in [1 << 32, 1 << 63] {
        probe.expect_broken_rule();
        let (result, refused) = probe.create_vm(creation("slot-a", cpus | unknown));
        assert_eq!((result, refused.vmid), (0, NO_VM));
    }
    Outcome::Passed
}

/// DESTROY_VM that fails, of a VM that is gone: its name and id are free.
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
