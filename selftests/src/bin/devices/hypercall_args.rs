// SPDX-License-Identifier: GPL-2.0

//! The driver passes the structure to the hypervisor unchanged, and the hypervisor's error back.

use acrn_selftests::{
    dirty::dirty_the_heap, harness::Outcome, mapping_fixture::MappingFixture, need,
    pattern::structure, trace::Trace,
};
use nix::errno::Errno;

use crate::command::{COMMANDS, Command, RESET_LINE, SET_LINE};

/// Issues `command` with `bytes`. Returns the bytes that the hypervisor received.
fn received(fixture: &MappingFixture, command: &Command, bytes: &[u8]) -> Vec<u8> {
    let trace = Trace::start(&fixture.probe);
    // The result does not matter: the structure may be invalid.
    let _ = command.issue(&fixture.device, bytes);
    let calls = trace.calls(command.hypercall);
    assert_eq!(calls.len(), 1, "{}: hypercalls", command.name());
    assert_eq!(calls[0].p1, u64::from(fixture.vmid), "{}", command.name());
    assert_eq!(calls[0].data_len as usize, command.received_len);
    calls[0].data[..command.received_len].to_vec()
}

/// All bytes arrive, including padding.
pub fn bytes_arrive() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for command in &COMMANDS {
        for round in 0..4 {
            let bytes = structure(command.request, round);
            let received = received(&fixture, command, &bytes);
            assert_eq!(received[..bytes.len()], bytes, "{}", command.name());
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// The bytes that the hypervisor reads beyond the structure of an interrupt line are zero, not
/// earlier contents of the kernel's memory (A18).
pub fn line_is_padded() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for round in 0..32 {
        for command in [SET_LINE, RESET_LINE] {
            let bytes = structure(command.request, round);
            dirty_the_heap();
            let received = received(&fixture, &command, &bytes);
            assert_eq!(received[bytes.len()..], [0; 4], "{}", command.name());
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// Any error of the hypervisor is passed on.
pub fn errors_passed_on() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for command in &COMMANDS {
        for errno in [
            Errno::EPERM,
            Errno::EINVAL,
            Errno::ENODEV,
            Errno::EFAULT,
            Errno::EBUSY,
            Errno::ENOMEM,
            Errno::ENOTTY,
        ] {
            command.fail_next(&fixture, errno);
            let refused = command.issue(&fixture.device, &structure(command.request, 0));
            assert_eq!(refused, Err(errno), "{}", command.name());
        }
    }
    fixture.destroy();
    Outcome::Passed
}
