// SPDX-License-Identifier: GPL-2.0

//! Tests of CREATE_VM and its failures.

use std::{sync::Barrier, thread};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::{Argument, Device, creation},
    guest::create_raw,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall, leaks, need,
    probe::{Probe, fault},
    trace::Trace,
};
use acrn_uapi::{acrn_vm_creation, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;
use zerocopy::IntoBytes;

/// A result of the hypervisor that drivers do not generate themselves.
const REFUSAL: i64 = -5;
/// The CPU of the upcall. It belongs to the Service VM, so the hypervisor gives it to no User VM.
const CPU_OF_SERVICE_VM: u64 = 1 << 0;

fn page() -> RequestPage {
    RequestPage::new().expect("a request page")
}

/// A second CREATE_VM on a file fails, without any effect on the first VM (A3).
pub fn create_twice() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (device, _page, vmid) = create_raw(masks[0]);
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let other = page();
    assert_eq!(device.create(&other, masks[1]).err(), Some(Errno::EEXIST));
    if let (Some(trace), Ok(probe)) = (trace, &probe) {
        trace.assert_no_hypercalls();
        assert_eq!(probe.vms().len(), 1);
        assert!(probe.vm(vmid).is_some());
    }
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT for the first VM");
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    Outcome::Passed
}

/// If several threads make CREATE_VM on a file concurrently, one of them succeeds.
pub fn create_from_two_threads() -> Outcome {
    const THREADS: usize = 4;
    let cpus = need!(cpus::pick(1));
    for _ in 0..10 {
        let device = need!(Device::open());
        let barrier = Barrier::new(THREADS);
        let pages: Vec<_> = (0..THREADS).map(|_| page()).collect();
        let results = thread::scope(|scope| {
            let create = |page| {
                barrier.wait();
                device.create(page, cpus).map(|_| ())
            };
            let threads: Vec<_> = pages
                .iter()
                .map(|page| scope.spawn(move || create(page)))
                .collect();
            let results = threads
                .into_iter()
                .map(|thread| thread.join().expect("join the thread"));
            results.collect::<Vec<_>>()
        });
        let made = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(made, 1, "{results:?}");
        let refused = results
            .iter()
            .filter(|result| **result == Err(Errno::EEXIST))
            .count();
        assert_eq!(refused, THREADS - 1, "{results:?}");
        if let Ok(probe) = Probe::open() {
            assert_eq!(probe.vms().len(), 1);
        }
    }
    Outcome::Passed
}

/// CREATE_VM returns the hypervisor's VM id and number of vCPUs, and leaves the other fields of its
/// argument unchanged.
pub fn create_returns_vmid_and_vcpus() -> Outcome {
    let cpus = need!(cpus::pick(2));
    let device = need!(Device::open());
    let page = page();
    let requested = creation(&page, cpus);
    let got = device.create(&page, cpus).expect("CREATE_VM");
    assert_eq!(got.vcpu_num, 2);
    assert_eq!(
        (got.uuid, got.vm_flag, got.cpu_affinity),
        (requested.uuid, requested.vm_flag, cpus)
    );
    assert_eq!((got.reserved0, got.reserved1), (0, 0));
    let probe = need!(Probe::open());
    let vm = probe.vm(got.vmid).expect("the VM in mini-ACRN's list");
    assert_eq!(
        (vm.vcpu_num, vm.cpu_affinity, vm.name),
        (2, cpus, requested.uuid)
    );
    assert_eq!(vm.has_request_page, 1);
    Outcome::Passed
}

/// CREATE_VM with the name of another VM fails without a hypercall, because ACRN would forget the
/// name of that VM.
pub fn create_with_name_of_another() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (_device, _page, vmid) = create_raw(masks[0]);
    let (other, page) = (need!(Device::open()), page());
    let trace = Trace::start(&probe);
    let name = creation(&page, masks[0]).uuid;
    let mut argument = acrn_vm_creation {
        uuid: name,
        ..creation(&page, masks[1])
    };
    let refused = other.with(ACRN_IOCTL_CREATE_VM, &mut argument);
    assert_eq!(refused, Err(Errno::EINVAL));
    trace.assert_no_hypercalls();
    assert_eq!(probe.vm(vmid).expect("the first VM").name, name);
    Outcome::Passed
}

/// Panics unless CREATE_VM with the name `name` fails without a hypercall.
#[track_caller]
fn assert_taken(probe: &Probe, cpus: u64, name: [u8; 16]) {
    let (device, page) = (Device::open().expect("the device"), page());
    let trace = Trace::start(probe);
    let mut argument = acrn_vm_creation {
        uuid: name,
        ..creation(&page, cpus)
    };
    let refused = device.with(ACRN_IOCTL_CREATE_VM, &mut argument);
    assert_eq!(refused, Err(Errno::EINVAL), "{name:02x?}");
    trace.assert_no_hypercalls();
}

/// The bytes of a name that follow a zero byte do not matter, as in ACRN.
pub fn create_with_name_of_another_and_more() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (device, page) = (need!(Device::open()), page());
    let mut short = creation(&page, masks[0]);
    short.uuid = *b"short\0\0\0\0\0\0\0\0\0\0\0";
    device
        .with(ACRN_IOCTL_CREATE_VM, &mut short)
        .expect("CREATE_VM");
    assert_taken(&probe, masks[1], *b"short\0x\0\0\0\0\0\0\0\0\0");
    assert_taken(&probe, masks[1], *b"short\0\0\0\0\0\0\0\0\0\0x");
    // Another name that begins like it.
    let other = need!(Device::open());
    let mut longer = acrn_vm_creation {
        uuid: *b"shorter\0\0\0\0\0\0\0\0\0",
        ..creation(&page, masks[1])
    };
    other
        .with(ACRN_IOCTL_CREATE_VM, &mut longer)
        .expect("CREATE_VM of another name");
    Outcome::Passed
}

/// ACRN makes a name for a VM without one. Another VM cannot have it, but can have none as well.
pub fn create_with_generated_name() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (device, page) = (need!(Device::open()), page());
    // The bytes after the zero byte do not matter here either.
    let nameless = |cpus, rest| acrn_vm_creation {
        uuid: [0, rest, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ..creation(&page, cpus)
    };
    let mut first = nameless(masks[0], 0);
    device
        .with(ACRN_IOCTL_CREATE_VM, &mut first)
        .expect("CREATE_VM");
    let generated = probe.vm(first.vmid).expect("the first VM").name;
    assert!(generated.starts_with(b"ACRN VM_"), "{generated:02x?}");
    assert_taken(&probe, masks[1], generated);
    let other = need!(Device::open());
    other
        .with(ACRN_IOCTL_CREATE_VM, &mut nameless(masks[1], 7))
        .expect("CREATE_VM of another VM without a name");
    Outcome::Passed
}

/// If the driver cannot write the result, CREATE_VM fails with `EFAULT` and leaves no VM behind
/// (A4).
pub fn create_read_only_argument() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let page = page();
    let argument = GuestMemory::anonymous(PAGE);
    argument.write_bytes(0, creation(&page, cpus).as_bytes());
    argument.protect();
    let pins = leaks::pinned_pages();
    let created = device.ioctl(ACRN_IOCTL_CREATE_VM, Argument::At(&argument, 0));
    assert_eq!(created, Err(Errno::EFAULT));
    assert_eq!(leaks::pinned_pages(), pins);
    if let Ok(probe) = Probe::open() {
        probe.assert_no_vms();
    }
    // A later CREATE_VM on the file succeeds.
    device.create(&page, cpus).expect("CREATE_VM");
    Outcome::Passed
}

/// Makes CREATE_VM fail by a scripted fault.
///
/// Panics unless it fails with `expected`, leaves nothing behind, and succeeds when it is repeated.
fn create_under(fault: Fault, expected: Errno) -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let page = page();
    let pins = leaks::pinned_pages();
    probe.push_fault(fault);
    assert_eq!(device.create(&page, cpus).err(), Some(expected));
    probe.assert_no_vms();
    assert_eq!(leaks::pinned_pages(), pins);
    assert_eq!(
        device.plain(ACRN_IOCTL_START_VM),
        Err(Errno::EINVAL),
        "START_VM without a VM"
    );
    device.create(&page, cpus).expect("CREATE_VM afterwards");
    Outcome::Passed
}

/// CREATE_VM fails with `EINVAL` if the hypervisor refuses for any reason. Upstream's driver
/// does the same.
pub fn create_refused() -> Outcome {
    create_under(fault(hypercall::CREATE_VM, REFUSAL), Errno::EINVAL)
}

/// CREATE_VM fails with `EINVAL` if the hypervisor reports success without creating a VM (A14). The
/// hypervisor does so itself for a CPU that is in use.
pub fn create_refused_without_error() -> Outcome {
    let probe = need!(Probe::open());
    let device = need!(Device::open());
    let page = page();
    assert_eq!(
        device.create(&page, CPU_OF_SERVICE_VM).err(),
        Some(Errno::EINVAL)
    );
    probe.assert_no_vms();
    assert_eq!(device.plain(ACRN_IOCTL_START_VM), Err(Errno::EINVAL));
    device
        .create(&page, need!(cpus::pick(1)))
        .expect("CREATE_VM afterwards");
    Outcome::Passed
}

/// CREATE_VM fails if the hypervisor reports more vCPUs than the request page has slots (A14).
pub fn create_with_17_vcpus() -> Outcome {
    let too_many = Fault {
        after: 1,
        patch: 1,
        value: 17,
        ..fault(hypercall::CREATE_VM, 0)
    };
    create_under(too_many, Errno::EINVAL)
}

/// CREATE_VM fails if the hypervisor refuses the request page.
pub fn create_request_page_refused() -> Outcome {
    create_under(fault(hypercall::SET_IOREQ_BUFFER, REFUSAL), Errno::EINVAL)
}

/// CREATE_VM fails with `EINVAL` if the address of the request page is invalid.
pub fn create_without_request_page() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let good = page();
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.protect();
    let hole = GuestMemory::anonymous(PAGE);
    hole.unmap(0, PAGE);
    let wrong = [
        0,
        read_only.address(),
        hole.address(),
        good.address() + 8,
        0xffff_8880_0000_1000,
        u64::MAX - 0xfff,
    ];
    for address in wrong {
        let mut creation = acrn_vm_creation {
            ioreq_buf: address,
            ..creation(&good, cpus)
        };
        let created = device.with(ACRN_IOCTL_CREATE_VM, &mut creation);
        assert_eq!(created, Err(Errno::EINVAL), "request page at {address:#x}");
        if let Ok(probe) = Probe::open() {
            probe.assert_no_vms();
        }
    }
    device.create(&good, cpus).expect("CREATE_VM");
    Outcome::Passed
}

/// On a file that has a VM, CREATE_VM fails without reading its argument.
pub fn create_twice_reads_nothing() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    for argument in [Argument::NULL, Argument::KERNEL] {
        let refused = device.ioctl(ACRN_IOCTL_CREATE_VM, argument);
        assert_eq!(refused, Err(Errno::EEXIST));
    }
    Outcome::Passed
}
