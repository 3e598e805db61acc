// SPDX-License-Identifier: GPL-2.0

//! Sequences that end with DESTROY_VM: power-off and full reset, with and without passed-through
//! devices.

use std::{sync::mpsc, time::Duration};

use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::Eventfd,
    harness::{Outcome, patience},
    hypercall::PAUSE_VM,
    probe::Probe,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::{
    guest::{self, End, MEMORY, MSI_VECTOR, activity},
    model::{Model, Next, Server, memory},
    watch::{again_and_again, assert_silent_while_paused, probe},
};

/// How long a guest may take until it requests its end. It does not measure speed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PCI device that does not exist, which mini-ACRN accepts.
const PCI: acrn_pcidev = acrn_pcidev {
    type_: 0,
    virt_bdf: 0x18,
    phys_bdf: 0x2a8,
    intr_line: 5,
    intr_pin: 1,
    bar: [0; 6],
};

/// A channel on which the serving thread reports that the guest requests its end.
struct Asked(mpsc::Receiver<()>);

impl Asked {
    fn wait(&self) {
        patience(PATIENCE)
            .receive(&self.0)
            .expect("the guest asks for its end");
    }
}

/// Serves requests until the guest requests power-off. The serving thread completes that request
/// while PAUSE_VM is in progress: with `held`, while PAUSE_VM waits in the hypervisor.
fn serve_until_pause(model: &std::sync::Arc<Model>, held: bool) -> (Server, Asked) {
    let (sender, asked) = mpsc::channel();
    let mut first = true;
    let server = model.serve(move |model, vcpu| {
        if !std::mem::take(&mut first) {
            return Next::Notify;
        }
        sender.send(()).expect("the first thread");
        if held {
            let probe = Probe::open().expect("a probe");
            until("PAUSE_VM is in the hypervisor", || probe.is_held());
            model.notify(vcpu);
            let slot = model.page.slot(vcpu).expect("a slot");
            assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
            probe.release();
            return Next::Leave;
        }
        Next::Notify
    });
    (server, Asked(asked))
}

/// Makes PAUSE_VM on the first thread, while the serving thread makes NOTIFY_REQUEST_FINISH.
fn pause(model: &Model, asked: &Asked, held: Option<&Probe>) {
    asked.wait();
    if let Some(probe) = held {
        probe.hold(PAUSE_VM, model.vmid);
    }
    model.pause();
}

fn power_off(end: End) -> Outcome {
    again_and_again(|round| {
        let probe = probe();
        let trace = probe.as_ref().map(Trace::start);
        let model = Model::create(cpus::pick(1)?, memory(round), end, None, |_| {})?;
        // With mini-ACRN, every second round enforces the order instead of leaving it to chance.
        let held = probe.as_ref().filter(|_| round.is_multiple_of(2));
        let (server, asked) = serve_until_pause(&model, held.is_some());
        let interrupters = model.interrupt();
        pause(&model, &asked, held);
        model.assert_served();
        let before = activity(&model.memory);
        model.destroy_client(server);
        interrupters.stop();
        assert_eq!(
            activity(&model.memory),
            before,
            "activity of the paused guest"
        );
        // The VM still has the memory.
        model.memory.unmap(0, MEMORY);
        model.pause();
        model.destroy();
        if let Some(trace) = &trace {
            assert_silent_while_paused(trace, model.vmid, 1);
        }
        Ok(())
    })
}

/// Power-off by ACPI: NOTIFY_REQUEST_FINISH while PAUSE_VM is in progress, DESTROY_IOREQ_CLIENT
/// while the serving thread is in ATTACH_IOREQ_CLIENT, munmap of guest memory, a second PAUSE_VM,
/// DESTROY_VM.
pub fn powers_off() -> Outcome {
    power_off(End::PowerOff)
}

/// Power-off of a guest that requests it repeatedly until it is paused.
pub fn power_off_for_ever() -> Outcome {
    power_off(End::PowerOffForEver)
}

/// Full reset: NOTIFY_REQUEST_FINISH after PAUSE_VM, DESTROY_VM without a second PAUSE_VM, and a
/// complete new start in the same process.
pub fn full_reset() -> Outcome {
    again_and_again(|round| {
        let probe = probe();
        let trace = probe.as_ref().map(Trace::start);
        let cpus = cpus::pick(1)?;
        let model = Model::create(cpus, memory(round), End::FullReset, None, |_| {})?;
        let (sender, asked) = mpsc::channel();
        let (paused, pause) = mpsc::channel();
        let server = model.serve(move |model, vcpu| {
            sender.send(()).expect("the first thread");
            let before: u64 = pause.recv().expect("the first thread");
            model.notify(vcpu);
            let slot = model.page.slot(vcpu).expect("a slot");
            assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
            assert_eq!(
                activity(&model.memory),
                before,
                "activity of the paused guest"
            );
            Next::Leave
        });
        let interrupters = model.interrupt();
        Asked(asked).wait();
        model.pause();
        let before = activity(&model.memory);
        paused.send(before).expect("the serving thread");
        server.until_idle();
        model.destroy_client(server);
        assert_eq!(
            activity(&model.memory),
            before,
            "activity of the paused guest"
        );
        model.destroy();
        interrupters.stop();
        if let Some(trace) = &trace {
            assert_silent_while_paused(trace, model.vmid, 1);
        }
        Ok(())
    })
}

fn pcidev(device: &Device, request: u32) -> Result<(), Errno> {
    device.with(request, &mut PCI.clone())
}

/// Power-off of a VM with a passed-through PCI device, which is deassigned while the VM is paused,
/// or just before.
pub fn passed_through_device() -> Outcome {
    again_and_again(|round| {
        // On a real machine there may be such a device in use.
        let probe = Probe::open()?;
        let trace = Trace::start(&probe);
        let mut assigned = Ok(());
        let model = Model::create(
            cpus::pick(1)?,
            memory(round),
            End::PowerOff,
            None,
            |device| assigned = pcidev(device, ACRN_IOCTL_ASSIGN_PCIDEV),
        )?;
        assert_eq!(assigned, Ok(()), "ASSIGN_PCIDEV");
        let (server, asked) = serve_until_pause(&model, false);
        let interrupters = model.interrupt();
        let first_pause = round.is_multiple_of(2);
        match first_pause {
            true => pause(&model, &asked, None),
            false => asked.wait(),
        }
        model.destroy_client(server);
        // The hypervisor refuses to take a device from a running VM. The device model goes on.
        let expected = match first_pause {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        };
        let taken = pcidev(&model.device, ACRN_IOCTL_DEASSIGN_PCIDEV);
        assert_eq!(taken, expected, "DEASSIGN_PCIDEV");
        model.pause();
        let before = activity(&model.memory);
        interrupters.stop();
        assert_eq!(
            activity(&model.memory),
            before,
            "activity of the paused guest"
        );
        model.destroy();
        assert_silent_while_paused(&trace, model.vmid, 1);
        Ok(())
    })
}

/// vhost: the kernel uses the eventfds of a virtio device. They are deassigned at power-off, the
/// doorbell's twice.
pub fn vhost() -> Outcome {
    again_and_again(|round| {
        let probe = probe();
        let trace = probe.as_ref().map(Trace::start);
        let (kick, call) = (Eventfd::new(), Eventfd::new());
        let doorbell = Some(kick.duplicate());
        let cpus = cpus::pick(1)?;
        let model = Model::create(cpus, memory(round), End::PowerOff, doorbell, |_| {})?;
        let (server, asked) = serve_until_pause(&model, false);
        until("the guest rings", || kick.take() == 1);
        let msi_addr = guest::msi_address(&model.memory);
        let set_irqfd = |flags| {
            model
                .device
                .irqfd(&call, flags, msi_addr, MSI_VECTOR.into())
        };
        assert_eq!(set_irqfd(0), Ok(()), "IRQFD");
        // The guest waits for this interrupt.
        call.signal();
        pause(&model, &asked, None);
        let before = activity(&model.memory);
        // A late interrupt from vhost.
        call.signal();
        assert_eq!(set_irqfd(ACRN_IRQFD_FLAG_DEASSIGN), Ok(()), "IRQFD");
        for _ in 0..2 {
            let taken = model.ring_by(&kick, ACRN_IOEVENTFD_FLAG_DEASSIGN);
            assert_eq!(taken, Ok(()), "IOEVENTFD deassigned");
        }
        call.signal();
        model.destroy_client(server);
        model.pause();
        assert_eq!(
            activity(&model.memory),
            before,
            "activity of the paused guest"
        );
        model.destroy();
        if let Some(trace) = &trace {
            assert_silent_while_paused(trace, model.vmid, 1);
        }
        Ok(())
    })
}
