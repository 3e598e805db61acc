// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The life of the VM: creation, start, reset, destruction.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use acrn_ioctls::{Hsm, RequestPage, Vm, VmConfig};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use crate::boot::Payload;
use crate::cli::Args;
use crate::console::Console;
use crate::cpus::Cpus;
use crate::devices::{Demand, Devices};
use crate::error::{Context, Error, Result};
use crate::ioreq::{self, End};
use crate::memory;
use crate::peripherals::{Disks, Peripherals};
use crate::supervisor::{Signals, Stop, Supervisor, event_pair};

/// The time limit for the thread that serves I/O requests to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The guest powered off.
    PowerOff,
    /// The guest reset, and the command line has `--no-reboot`.
    NoReboot,
    /// A signal or the user stopped the VM.
    Stopped,
}

/// The thread that serves I/O requests. It returns the devices.
type Server = JoinHandle<(Devices, Result<End>)>;

struct Machine {
    vm: Arc<Vm>,
    page: Arc<RequestPage>,
    memory: GuestMemoryMmap,
    payload: Payload,
    /// The APIC ids of the vCPUs.
    apic_ids: Vec<u8>,
    /// Tells the server to end.
    stop: Arc<AtomicBool>,
    /// Signalled by the server when it ends.
    served: EventFd,
}

/// Interrupts a system call, and has no other effect.
extern "C" fn wake(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Creates the VM, runs it to its end and destroys it.
pub fn run(args: &Args) -> Result<Ending> {
    args.check()?;
    let signals = Signals::block().context(|| "blocking signals")?;
    register_signal_handler(SIGRTMIN(), wake).context(|| "handling signals")?;
    let payload = Payload::open(args)?;
    let disks = Disks::open(&args.disks)?;
    let memory = memory::create(args.memory, args.hugepages)?;
    let page = RequestPage::new().context(|| "preparing the VM")?;
    let hsm =
        Hsm::open_path(&args.device).context(|| format!("device {}", args.device.display()))?;
    let cpus = Cpus::choose(args)?;
    let config = VmConfig::new(args.name, cpus.affinity);
    let vm = hsm.create_vm(&config, &page).context(|| {
        format!(
            "creating the VM on physical CPUs {:#x}",
            config.cpu_affinity
        )
    })?;
    let (served, watched) = event_pair()?;
    let machine = Machine {
        vm: Arc::new(vm),
        page: Arc::new(page),
        memory,
        payload,
        apic_ids: cpus.apic_ids,
        stop: Arc::default(),
        served,
    };
    let mut supervisor = Supervisor::new(signals, watched)?;
    machine.run_and_destroy(args, disks, &mut supervisor)
}

impl Machine {
    fn run_and_destroy(
        mut self,
        args: &Args,
        disks: Disks,
        supervisor: &mut Supervisor,
    ) -> Result<Ending> {
        let result = self.run(args, disks, supervisor);
        // The VM is also destroyed after a failure. The earlier failure is reported.
        let destroyed = self.destroy();
        let ending = result?;
        destroyed?;
        Ok(ending)
    }

    fn run(&mut self, args: &Args, disks: Disks, supervisor: &mut Supervisor) -> Result<Ending> {
        memory::map(&self.vm, &self.memory)?;
        let peripherals = Peripherals::new(args, disks, &self.vm, &self.memory)?;
        let (serial, bus) = (peripherals.serial.clone(), peripherals.bus.clone());
        let devices = Devices::new(serial, bus, args.report_unbacked);
        let input = peripherals.input.clone();
        let drained = peripherals
            .drained
            .try_clone()
            .context(|| "making an eventfd")?;
        let is_terminal = io::stdin().is_terminal();
        supervisor
            .add(|stop| Console::new(input, drained, is_terminal, stop))
            .context(|| "duplicating standard input")?;
        let result = self.run_guest(args, devices, supervisor);
        // Before the VM is paused, as nothing may interrupt it after that.
        let detached = peripherals.detach();
        let ending = result?;
        detached?;
        Ok(ending)
    }

    fn run_guest(
        &mut self,
        args: &Args,
        mut devices: Devices,
        supervisor: &mut Supervisor,
    ) -> Result<Ending> {
        self.vm
            .create_ioreq_client()
            .context(|| "asking for I/O requests")?;
        loop {
            self.start()?;
            let end;
            (devices, end) = self.serve(devices, supervisor)?;
            match end? {
                End::Stopped => return Ok(Ending::Stopped),
                End::Demand(Demand::PowerOff) => return Ok(Ending::PowerOff),
                End::Demand(Demand::Reset) if args.no_reboot => return Ok(Ending::NoReboot),
                End::Demand(Demand::Reset) => {}
            }
            // Before the VM is paused, as nothing may interrupt it after that.
            devices.reset();
            self.reset()?;
        }
    }

    fn start(&mut self) -> Result<()> {
        let regs = self.payload.load(&self.memory, &self.apic_ids)?;
        self.vm
            .set_vcpu_regs(&regs)
            .context(|| "setting the registers of vCPU 0")?;
        self.vm.start().context(|| "starting the VM")
    }

    /// Serves I/O requests on a separate thread until the run ends. Errors of the server are in the
    /// inner result.
    fn serve(
        &self,
        devices: Devices,
        supervisor: &mut Supervisor,
    ) -> Result<(Devices, Result<End>)> {
        self.stop.store(false, Ordering::Release);
        let server = self.spawn_server(devices)?;
        let stop = supervisor.wait();
        if !matches!(stop, Ok(Stop::Server)) {
            let (devices, end) = self.stop_server(server)?;
            stop?;
            return Ok((devices, end.map(|_| End::Stopped)));
        }
        join(server)
    }

    fn spawn_server(&self, mut devices: Devices) -> Result<Server> {
        let served = self.served.try_clone().context(|| "making an eventfd")?;
        let (vm, page, stop) = (self.vm.clone(), self.page.clone(), self.stop.clone());
        thread::Builder::new()
            .name("ioreq".into())
            .spawn(move || {
                let end = ioreq::serve(&vm, &page, &mut devices, &stop);
                // Fails only if the eventfd's counter is at its maximum.
                let _ = served.write(1);
                (devices, end)
            })
            .context(|| "starting the thread that serves I/O requests")
    }

    /// Interrupts the server's wait. This may take several signals, as one may arrive just before
    /// the wait.
    fn stop_server(&self, server: Server) -> Result<(Devices, Result<End>)> {
        self.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !server.is_finished() {
            if Instant::now() > deadline {
                // The server may be blocked in a write to a pipe without a reader. It ends with the
                // process, as does the VM.
                return Err(Error::new(
                    "the thread that serves I/O requests does not stop",
                ));
            }
            server
                .kill(SIGRTMIN())
                .context(|| "stopping the thread that serves I/O requests")?;
            thread::sleep(Duration::from_millis(5));
        }
        join(server)
    }

    /// Resets the VM to the state before its start. Pending requests end with the reset: the
    /// completion of a request of a paused VM would make its vCPU continue.
    fn reset(&self) -> Result<()> {
        let doing = || "resetting the VM";
        self.vm.pause().context(doing)?;
        self.vm.reset().context(doing)
    }

    /// Pauses the VM and destroys it at once, with pending requests: a guest that powers off may
    /// repeat the request until it is paused.
    fn destroy(self) -> Result<()> {
        let doing = || "destroying the VM";
        let vm = Arc::into_inner(self.vm).ok_or_else(|| Error::new("the VM is still in use"))?;
        vm.pause().context(doing)?;
        vm.destroy()
            .map_err(acrn_ioctls::Error::from)
            .context(doing)?;
        Ok(())
    }
}

fn join(server: Server) -> Result<(Devices, Result<End>)> {
    server
        .join()
        .map_err(|_| Error::new("the thread that serves I/O requests panicked"))
}
