// SPDX-License-Identifier: GPL-2.0

//! Cases of IOEVENTFD and IRQFD.

use std::{
    fs::File,
    os::fd::{AsRawFd, RawFd},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    eventfd::Eventfd,
    harness::Outcome,
    mapping_fixture::MappingFixture,
    need,
    program::{Access, read, write},
    scripted_vm::ScriptedVm,
};
use acrn_uapi::{acrn_ioeventfd, acrn_irqfd, acrn_msi_entry, ioctl::*};
use nix::{errno::Errno, unistd::pipe};
use zerocopy::IntoBytes;

use crate::script::Script;

const PORTS: u32 = acrn_uapi::ACRN_IOEVENTFD_FLAG_PIO;
const MATCH: u32 = acrn_uapi::ACRN_IOEVENTFD_FLAG_DATAMATCH;
const DEASSIGN: u32 = acrn_uapi::ACRN_IOEVENTFD_FLAG_DEASSIGN;
/// A flag that ACRN's own kernel defines.
const ASYNCIO: u32 = 0x08;
const PORT: u64 = 0x510;

fn range(event: &impl AsRawFd, flags: u32, addr: u64, len: u32, data: u64) -> acrn_ioeventfd {
    acrn_ioeventfd {
        // Descriptors of open files are not negative.
        fd: event.as_raw_fd() as u32,
        flags,
        addr,
        len,
        data,
        reserved: 0,
    }
}

/// Returns descriptors that are not open, or that do not belong to an eventfd.
fn wrong_files() -> [(&'static str, RawFd, Option<File>); 4] {
    let (pipe, _) = pipe().expect("pipe");
    let pipe = File::from(pipe);
    let hsm = File::open("/dev/acrn_hsm").expect("the device");
    [
        ("none", -1, None),
        ("closed", 1000, None),
        ("pipe", pipe.as_raw_fd(), Some(pipe)),
        ("hsm", hsm.as_raw_fd(), Some(hsm)),
    ]
}

/// Prints the results of IOEVENTFD for valid and invalid arguments.
pub fn ioeventfd() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_IOEVENTFD);
    let event = Eventfd::new();
    let good = range(&event, PORTS, PORT, 4, 0);
    script.without_vm(good.as_bytes());
    let with = |case: &str, argument: &acrn_ioeventfd| {
        let _ = script.with(case, &fixture.device, argument);
    };
    with("port", &good);
    with("port_again", &good);
    with("port_off", &range(&event, PORTS | DEASSIGN, PORT, 4, 0));
    with(
        "port_off_again",
        &range(&event, PORTS | DEASSIGN, PORT, 4, 0),
    );
    for (index, len) in [1, 2, 4, 8].into_iter().enumerate() {
        let place = 0xd000_0000 + 0x10 * index as u64;
        with(&format!("mmio_{len}"), &range(&event, 0, place, len, 0));
        with(
            &format!("mmio_{len}_off"),
            &range(&event, DEASSIGN, place, len, 0),
        );
    }
    for len in [0, 3, 16, u32::MAX] {
        with(
            &format!("length_{len:#x}"),
            &range(&event, 0, 0x1000, len, 0),
        );
    }
    with("wraps", &range(&event, 0, u64::MAX - 1, 8, 0));
    with(
        "ends_at_the_last_byte",
        &range(&event, 0, u64::MAX - 7, 8, 0),
    );
    with(
        "reserved",
        &acrn_ioeventfd {
            reserved: 1,
            ..good
        },
    );
    with("flag_asyncio", &range(&event, PORTS | ASYNCIO, 0x520, 4, 0));
    with("flag_0x10", &range(&event, PORTS | 0x10, 0x530, 4, 0));
    with(
        "flag_0x80000000",
        &range(&event, PORTS | 1 << 31, 0x540, 4, 0),
    );
    for (what, fd, _file) in wrong_files() {
        let fd = fd as u32;
        with(&format!("file_{what}"), &acrn_ioeventfd { fd, ..good });
        let off = PORTS | DEASSIGN;
        with(
            &format!("file_{what}_off"),
            &acrn_ioeventfd {
                fd,
                flags: off,
                ..good
            },
        );
    }
    script.bad_pointers(&fixture.device);
    fixture.destroy();
    with("destroyed", &good);
    Outcome::Passed
}

/// Prints the results of IOEVENTFD for conflicting ranges, and for ranges that DEASSIGN removes.
pub fn ioeventfd_conflicts() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_IOEVENTFD);
    let (event, other) = (Eventfd::new(), Eventfd::new());
    let with = |case: &str, argument: &acrn_ioeventfd| {
        let _ = script.with(case, &fixture.device, argument);
    };
    let off = |event: &Eventfd| range(event, PORTS | DEASSIGN, PORT, 4, 0);
    with("first", &range(&event, PORTS, PORT, 4, 0));
    with("same_with_data", &range(&event, PORTS | MATCH, PORT, 4, 1));
    with("same_other_length", &range(&event, PORTS, PORT, 2, 0));
    with("same_as_mmio", &range(&event, 0, PORT, 4, 0));
    with("other_event", &range(&other, PORTS, PORT, 4, 0));
    with(
        "other_event_with_data",
        &range(&other, PORTS | MATCH, PORT + 8, 4, 1),
    );
    with("other_data", &range(&other, PORTS | MATCH, PORT + 8, 4, 2));
    with("same_data", &range(&other, PORTS | MATCH, PORT + 8, 4, 2));
    with(
        "data_beyond_width",
        &range(&other, PORTS | MATCH, PORT + 8, 4, 1 << 32 | 2),
    );
    with(
        "off_elsewhere",
        &range(&event, PORTS | DEASSIGN, 0x999, 4, 0),
    );
    with(
        "off_other_length",
        &range(&event, PORTS | DEASSIGN, PORT, 2, 0),
    );
    with("off", &off(&event));
    with("off_by_eventfd_alone", &range(&other, DEASSIGN, 0, 0, 0));
    with("off_of_nothing", &off(&Eventfd::new()));
    fixture.destroy();
    Outcome::Passed
}

/// Prints the handler of each access, and the eventfds that the access signals.
pub fn ioeventfd_signals() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let script = Script::of(&vm.probe, ACRN_IOCTL_IOEVENTFD);
    let (any, one) = (Eventfd::new(), Eventfd::new());
    let with = |case: &str, argument: &acrn_ioeventfd| {
        let _ = script.with(case, &vm.device, argument);
    };
    with("ask_port", &range(&any, PORTS, PORT, 4, 0));
    with("ask_mmio_with_data", &range(&one, MATCH, 0xd000_0000, 4, 7));
    let port = Target::Port(PORT as u16);
    let memory = Target::Memory(0xd000_0000);
    let cases: [(&str, Access); 9] = [
        ("write", write(port, Width::Four, 1)),
        ("narrow_write", write(port, Width::One, 1)),
        ("read", read(port, Width::Four)),
        (
            "inside",
            write(Target::Port(PORT as u16 + 2), Width::Two, 1),
        ),
        (
            "beside",
            write(Target::Port(PORT as u16 + 4), Width::Four, 1),
        ),
        ("data", write(memory, Width::Four, 7)),
        ("other_data", write(memory, Width::Four, 8)),
        ("wider", write(memory, Width::Eight, 7)),
        ("mmio_read", read(memory, Width::Four)),
    ];
    for (case, access) in cases {
        let _ = script.case(&format!("access_{case}"), || {
            let answer = vm.ask(access);
            let seen = format!("{answer:?}, signalled {} {}", any.take(), one.take());
            (Ok(()), seen)
        });
    }
    let off = range(&any, PORTS | DEASSIGN, PORT, 4, 0);
    with("ask_port_off", &off);
    let _ = script.case("access_after_off", || {
        let answer = vm.ask(write(port, Width::Four, 1));
        (Ok(()), format!("{answer:?}, signalled {}", any.take()))
    });
    Outcome::Passed
}

fn interrupt(fd: RawFd, flags: u32, vector: u64) -> acrn_irqfd {
    let msi = acrn_msi_entry {
        msi_addr: 0xfee0_0000,
        msi_data: vector,
    };
    acrn_irqfd { fd, flags, msi }
}

/// Prints the results of IRQFD for valid and invalid arguments.
pub fn irqfd() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_IRQFD);
    let event = Eventfd::new();
    let fd = event.as_raw_fd();
    let off = acrn_uapi::ACRN_IRQFD_FLAG_DEASSIGN;
    let good = interrupt(fd, 0, 0x31);
    script.without_vm(good.as_bytes());
    let with = |case: &str, argument: &acrn_irqfd| {
        let _ = script.with(case, &fixture.device, argument);
    };
    with("off_of_nothing", &interrupt(fd, off, 0x31));
    with("good", &good);
    with("again", &good);
    with("other_vector", &interrupt(fd, 0, 0x45));
    with("off", &interrupt(fd, off, 0x31));
    with("off_again", &interrupt(fd, off, 0x31));
    with("good_after_off", &good);
    with("off_by_eventfd_alone", &interrupt(fd, off, 0));
    for flags in [2, 3, 1 << 31] {
        let event = Eventfd::new();
        let argument = interrupt(event.as_raw_fd(), flags, 0x31);
        with(&format!("flags_{flags:#x}"), &argument);
    }
    for (what, fd, _file) in wrong_files() {
        with(&format!("file_{what}"), &interrupt(fd, 0, 0x31));
        with(&format!("file_{what}_off"), &interrupt(fd, off, 0x31));
    }
    script.bad_pointers(&fixture.device);
    fixture.destroy();
    with("destroyed", &good);
    Outcome::Passed
}

/// Prints the results of signals after IRQFD.
pub fn irqfd_signals() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_IRQFD);
    let off = acrn_uapi::ACRN_IRQFD_FLAG_DEASSIGN;
    let set = |event: &Eventfd, flags, vector| {
        let argument = interrupt(event.as_raw_fd(), flags, vector);
        script.with(
            &format!("flags_{flags}_vector_{vector:#x}"),
            &fixture.device,
            &argument,
        )
    };
    let signalled = |case: &str, event: &Eventfd, value| {
        let _ = script.case(case, || {
            let added: Result<(), Errno> = event.add(value);
            (added, String::new())
        });
        // A separate case shows whether the driver takes the event.
        let _ = script.case(&format!("{case}_counter"), || {
            (Ok(()), format!("counter {}", event.take()))
        });
    };
    let event = Eventfd::new();
    let _ = set(&event, 0, 0x31);
    signalled("signal", &event, 1);
    signalled("signal_again", &event, 1);
    signalled("signal_of_5", &event, 5);
    let _ = set(&event, off, 0x31);
    signalled("signal_after_off", &event, 1);
    let early = Eventfd::new();
    early.signal();
    let _ = set(&early, 0, 0x45);
    let _ = script.case("counter_of_early_signal", || {
        (Ok(()), format!("counter {}", early.take()))
    });
    let refused = Eventfd::new();
    let bad = acrn_irqfd {
        fd: refused.as_raw_fd(),
        ..Default::default()
    };
    let _ = script.with("bad_msi", &fixture.device, &bad);
    signalled("signal_of_bad_msi", &refused, 1);
    fixture.destroy();
    signalled("signal_after_destroy", &early, 1);
    Outcome::Passed
}
