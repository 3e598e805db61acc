// SPDX-License-Identifier: GPL-2.0

//! Tests of PM_GET_CPU_STATE. The result replaces the command in the memory of the caller.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::{Argument, Device},
    guest::Guest,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::PM_GET_CPU_STATE,
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    program::{self, read},
    trace::Trace,
};
use acrn_uapi::{ioctl::ACRN_IOCTL_PM_GET_CPU_STATE, *};
use nix::errno::Errno;

/// Contents of the memory that the result does not cover.
const FILLER: u64 = 0xa5a5_5a5a_a5a5_5a5a;
/// A number of bytes that exceeds the longest result.
const SHOWN: usize = 64;

/// Returns a command for vCPU 0.
fn command(vmid: u16, kind: u32, number: u8) -> u64 {
    u64::from(kind) | u64::from(number) << 8 | u64::from(vmid) << 24
}

/// Issues PM_GET_CPU_STATE with a command that is stored at `offset` of `memory`.
fn query_at(
    device: &Device,
    memory: &GuestMemory,
    offset: usize,
    command: u64,
) -> Result<(), Errno> {
    memory.write::<u64>(offset, command);
    device.ioctl(ACRN_IOCTL_PM_GET_CPU_STATE, Argument::At(memory, offset))
}

/// Issues PM_GET_CPU_STATE. Returns the words at the address of the command and after it.
fn query(device: &Device, command: u64) -> Result<[u64; SHOWN / 8], Errno> {
    let memory = GuestMemory::anonymous(PAGE);
    for offset in (0..SHOWN).step_by(8) {
        memory.write::<u64>(offset, FILLER);
    }
    query_at(device, &memory, 0, command)?;
    Ok(std::array::from_fn(|index| memory.read(8 * index)))
}

/// Panics unless the result has `words` words.
#[track_caller]
fn assert_length(answer: &[u64], words: usize) {
    let written = answer.iter().rposition(|word| *word != FILLER);
    let written = written.map_or(0, |last| last + 1);
    assert_eq!(written, words, "written words of {answer:#x?}");
}

/// A count is a whole word, of which the hypervisor writes only a byte. mini-ACRN has two states of
/// each kind.
pub fn counts() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for kind in [ACRN_PMCMD_GET_CX_CNT, ACRN_PMCMD_GET_PX_CNT] {
        let answer = query(&fixture.device, command(fixture.vmid, kind, 0)).expect("a count");
        assert_length(&answer, 1);
        assert_eq!(answer[0], 2, "command {kind}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// The data of a C-state has 32 bytes. Commands for states that do not exist fail with `EPERM`.
pub fn idle_states() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let query = |number| {
        let command = command(fixture.vmid, ACRN_PMCMD_GET_CX_DATA, number);
        query(&fixture.device, command)
    };
    // The C-states of mini-ACRN. An instruction enters C1, and port 0x414 enters C2.
    for (number, space, port, latency, power) in [(1, 0x7f, 0, 1, 1000), (2, 1, 0x414, 80, 500)] {
        let answer = query(number).expect("CX_DATA");
        assert_length(&answer, 4);
        let bytes = answer.map(u64::to_le_bytes).concat();
        assert_eq!(bytes[0], space, "C{number}: address space");
        assert_eq!(bytes[4..12], u64::to_le_bytes(port), "C{number}: address");
        assert_eq!(bytes[12], number, "C{number}: type");
        assert_eq!(bytes[16..20], u32::to_le_bytes(latency), "C{number}");
        assert_eq!(answer[3], power, "C{number}: power");
    }
    for number in [0, 3, 0xff] {
        assert_eq!(query(number), Err(Errno::EPERM), "C-state {number}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// The data of a P-state has 48 bytes. Commands for states that do not exist fail with `EPERM`.
pub fn frequency_states() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let query = |number| {
        let command = command(fixture.vmid, ACRN_PMCMD_GET_PX_DATA, number);
        query(&fixture.device, command)
    };
    // The P-states of mini-ACRN.
    for (number, state) in [
        (0, [2400, 15000, 10, 9, 0x1800, 0x18]),
        (1, [1200, 6000, 20, 19, 0xc00, 0xc]),
    ] {
        let answer = query(number).expect("PX_DATA");
        assert_length(&answer, 6);
        assert_eq!(answer[..6], state, "P{number}");
    }
    for number in [2, 0xff] {
        assert_eq!(query(number), Err(Errno::EPERM), "P-state {number}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// The methods of acrn-ioctls return the same power states.
pub fn by_acrn_ioctls() -> Outcome {
    let _probe = need!(Probe::open());
    let guest = Guest::without_client(need!(cpus::pick(1)));
    let vm = &guest.vm;
    assert_eq!((vm.px_count(0), vm.cx_count(0)), (Ok(2), Ok(2)));
    let fast = vm.px_data(0, 0).expect("PX_DATA");
    assert_eq!((fast.core_frequency, fast.status), (2400, 0x18));
    let slow = vm.px_data(0, 1).expect("PX_DATA");
    assert_eq!((slow.core_frequency, slow.status), (1200, 0xc));
    let idle = vm.cx_data(0, 2).expect("CX_DATA");
    assert_eq!((idle.type_, idle.latency, idle.power), (2, 80, 500));
    // The VM has no such vCPU.
    let refused = vm.px_count(1).map_err(|error| error.errno());
    assert_eq!(refused, Err(libc::EPERM));
    Outcome::Passed
}

/// The driver passes the command on unchanged, and returns the hypervisor's errors.
pub fn errors_passed_on() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    // A P-state that does not exist.
    let p_state = command(fixture.vmid, ACRN_PMCMD_GET_PX_DATA, 2);
    assert_eq!(query(&fixture.device, p_state), Err(Errno::EPERM));
    // A vCPU that the VM does not have.
    let vcpu = command(fixture.vmid, ACRN_PMCMD_GET_CX_DATA, 1) | 5 << 16;
    assert_eq!(query(&fixture.device, vcpu), Err(Errno::EPERM));
    let calls = trace.calls(PM_GET_CPU_STATE);
    assert_eq!(
        calls.iter().map(|call| call.p1).collect::<Vec<_>>(),
        [p_state, vcpu]
    );
    for kind in 0..4 {
        for errno in [Errno::EPERM, Errno::EINVAL, Errno::ENOTTY, Errno::ENODEV] {
            let result = -i64::from(errno as i32);
            fixture.probe.push_fault(fault(PM_GET_CPU_STATE, result));
            let refused = query(&fixture.device, command(fixture.vmid, kind, 1));
            assert_eq!(refused, Err(errno), "command {kind}");
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor reports success but writes nothing, the result is zero and does not show
/// earlier contents of the kernel's memory. The data of a P-state has 48 bytes.
pub fn answer_is_cleared() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for (kind, words) in [
        (ACRN_PMCMD_GET_PX_CNT, 1),
        (ACRN_PMCMD_GET_PX_DATA, 6),
        (ACRN_PMCMD_GET_CX_CNT, 1),
        (ACRN_PMCMD_GET_CX_DATA, 4),
    ] {
        fixture.probe.push_fault(fault(PM_GET_CPU_STATE, 0));
        let answer = query(&fixture.device, command(fixture.vmid, kind, 1)).expect("success");
        assert_length(&answer, words);
        assert!(
            answer[..words].iter().all(|word| *word == 0),
            "{answer:#x?}"
        );
    }
    fixture.destroy();
    Outcome::Passed
}

/// If the memory for the result is too small or not writable, the command fails with `EFAULT`.
pub fn no_room_for_answer() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(2 * PAGE);
    memory.unmap(PAGE, PAGE);
    let count = command(fixture.vmid, ACRN_PMCMD_GET_CX_CNT, 0);
    let data = command(fixture.vmid, ACRN_PMCMD_GET_CX_DATA, 1);
    let long_data = command(fixture.vmid, ACRN_PMCMD_GET_PX_DATA, 1);
    for (offset, command, expected) in [
        (PAGE - 8, count, Ok(())),
        (PAGE - 8, data, Err(Errno::EFAULT)),
        (PAGE - 24, data, Err(Errno::EFAULT)),
        (PAGE - 32, data, Ok(())),
        (PAGE - 40, long_data, Err(Errno::EFAULT)),
        (PAGE - 48, long_data, Ok(())),
    ] {
        let done = query_at(&fixture.device, &memory, offset, command);
        assert_eq!(done, expected, "offset {offset}, command {command:#x}");
    }
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.write::<u64>(0, count);
    read_only.protect();
    let refused = fixture
        .device
        .ioctl(ACRN_IOCTL_PM_GET_CPU_STATE, Argument::At(&read_only, 0));
    assert_eq!(refused, Err(Errno::EFAULT));
    fixture.destroy();
    Outcome::Passed
}

/// The driver passes on the hypervisor's refusal for a running VM. For a paused VM, the hypervisor
/// returns the data.
pub fn state_matters() -> Outcome {
    let access = [read(Target::Port(0x510), Width::One)];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&access));
    let device = Device::sharing(&guest.vm);
    let count = || {
        let command = command(guest.vm.vmid(), ACRN_PMCMD_GET_CX_CNT, 0);
        query(&device, command).map(|answer| answer[0])
    };
    let before = count();
    assert!(before.is_ok(), "{before:?}");
    guest.vm.start().expect("START_VM");
    assert_eq!(count(), Err(Errno::EPERM));
    guest.serve(1, |_, _| 0);
    guest.vm.pause().expect("PAUSE_VM");
    assert_eq!(count(), before);
    Outcome::Passed
}

/// Unknown commands are refused with `EINVAL`, and cause no hypercall (A18).
pub fn unknown_commands() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    for kind in [4, 5, 0x80, 0xff] {
        let refused = query(&fixture.device, command(fixture.vmid, kind, 0));
        assert_eq!(refused, Err(Errno::EINVAL), "command {kind}");
    }
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}

/// A command with the id of another VM is refused with `EINVAL`. Upstream's driver passes it on.
pub fn other_vm() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let other = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    for vmid in [0, other.vmid, fixture.vmid ^ 0x80, 0xff] {
        let refused = query(&fixture.device, command(vmid, ACRN_PMCMD_GET_CX_CNT, 0));
        assert_eq!(refused, Err(Errno::EINVAL), "VM {vmid}");
    }
    trace.assert_no_hypercalls();
    other.destroy();
    fixture.destroy();
    Outcome::Passed
}
