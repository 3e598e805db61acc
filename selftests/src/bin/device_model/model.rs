// SPDX-License-Identifier: GPL-2.0

//! A device model that makes the requests of acrn-dm, in its order and from as many threads.

use std::{
    os::unix::thread::JoinHandleExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use acrn_ioctls::{Direction, Request, RequestPage, Target};
use acrn_selftests::{
    cleanup,
    device::{Argument, Device},
    eventfd::Eventfd,
    guest_memory::{GuestMemory, PAGE},
    interrupt_guest::PIN,
    program::DONE_PORT,
    waiter::{sleeps, until},
};
use acrn_uapi::{ioctl::*, *};
use nix::{
    errno::Errno,
    sys::{pthread::pthread_kill, signal::Signal},
    unistd::{Pid, gettid},
};

use crate::guest::{self, DOORBELL, End, MEMORY, MSI_VECTOR, REGISTER};

/// Requests of ACRN's own kernel, which acrn-dm tries at each start.
const SETUP_ASYNCIO: u32 = 0x4008_a290;
const VM_EVENT_RING: u32 = 0x4008_a2a0;
/// Access rights as set by acrn-dm: read, write, execute.
const ATTRIBUTES: u32 = 7;
/// Number of threads that send MSIs.
const INTERRUPTERS: usize = 4;
/// Operations of SET_IRQLINE.
const LOW: u64 = 1;
const RISING_PULSE: u64 = 2;

/// Maps guest memory of alternating kinds: huge pages, if there are any, and a memfd.
pub fn memory(round: u64) -> GuestMemory {
    match round % 2 {
        0 => GuestMemory::huge(MEMORY).unwrap_or_else(|_| GuestMemory::shared(MEMORY)),
        _ => GuestMemory::shared(MEMORY),
    }
}

/// The further handling of the request by which the guest requested its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is completed by NOTIFY_REQUEST_FINISH.
    Notify,
    /// It is left alone: the VM was reset, or the request is completed already.
    Leave,
}

/// The device model of one VM.
pub struct Model {
    /// The driver's side.
    pub device: Device,
    /// The request page.
    pub page: RequestPage,
    /// Guest memory.
    pub memory: GuestMemory,
    /// The VM's id.
    pub vmid: u16,
    /// The end that the guest requests.
    end: End,
    /// The eventfd for the guest's doorbell, if it does not ring as a request.
    pub doorbell: Option<Eventfd>,
    /// The guest runs.
    ready: AtomicBool,
    /// Number of times that ATTACH_IOREQ_CLIENT has returned 0.
    pub attached: AtomicUsize,
    /// Number of times that the doorbell's write has arrived as a request.
    pub rung: AtomicUsize,
}

impl Model {
    /// Makes the requests of acrn-dm's first thread before it starts the serving thread. `assign`
    /// assigns passed-through devices.
    pub fn create(
        cpus: u64,
        memory: GuestMemory,
        end: End,
        doorbell: Option<Eventfd>,
        assign: impl FnOnce(&Device),
    ) -> Result<Arc<Self>, String> {
        let device = Device::open()?;
        let page = RequestPage::new().expect("a request page");
        let vmid = device.create(&page, cpus).expect("CREATE_VM").vmid;
        let ring = GuestMemory::anonymous(PAGE);
        let unsupported = |request| {
            let refused = device.ioctl(request, Argument::At(&ring, 0));
            assert_eq!(refused, Err(Errno::ENOTTY), "{request:#x}");
        };
        unsupported(SETUP_ASYNCIO);
        set(&device, ACRN_IOCTL_SET_MEMSEG, 0, &memory);
        for gsi in [4, 6] {
            device.set_irqline(gsi, LOW).expect("SET_IRQLINE");
        }
        assign(&device);
        unsupported(VM_EVENT_RING);
        let model = Self {
            device,
            page,
            memory,
            vmid,
            end,
            doorbell,
            ready: AtomicBool::new(false),
            attached: AtomicUsize::new(0),
            rung: AtomicUsize::new(0),
        };
        model.ask_for_power_states();
        model.load();
        Ok(Arc::new(model))
    }

    /// Makes PM_GET_CPU_STATE seven times, for the guest's ACPI tables.
    pub fn ask_for_power_states(&self) {
        for (kind, number) in [
            (ACRN_PMCMD_GET_PX_CNT, 0),
            (ACRN_PMCMD_GET_PX_DATA, 0),
            (ACRN_PMCMD_GET_PX_DATA, 1),
            (ACRN_PMCMD_GET_CX_CNT, 0),
            (ACRN_PMCMD_GET_CX_DATA, 1),
            (ACRN_PMCMD_GET_CX_DATA, 2),
            (ACRN_PMCMD_GET_CX_DATA, 3),
        ] {
            let mut words = [0; 6];
            words[0] = u64::from(kind) | number << 8 | u64::from(self.vmid) << 24;
            let answered = self.device.with(ACRN_IOCTL_PM_GET_CPU_STATE, &mut words);
            // The hypervisor may have no such data.
            assert!(
                matches!(answered, Ok(()) | Err(Errno::EPERM)),
                "{answered:?}"
            );
        }
    }

    /// Loads the guest into its memory and makes SET_VCPU_REGS.
    pub fn load(&self) {
        self.ready.store(false, Ordering::Release);
        let mut registers = guest::load(&self.memory, self.end);
        self.device
            .with(ACRN_IOCTL_SET_VCPU_REGS, &mut registers)
            .expect("SET_VCPU_REGS");
    }

    /// Makes a request without an argument, which must succeed.
    pub fn plain(&self, request: u32, name: &str) {
        assert_eq!(self.device.plain(request), Ok(()), "{name}");
    }

    /// Makes PAUSE_VM.
    pub fn pause(&self) {
        self.plain(ACRN_IOCTL_PAUSE_VM, "PAUSE_VM");
    }

    /// Makes DESTROY_IOREQ_CLIENT. The serving thread, which is in ATTACH_IOREQ_CLIENT or about to
    /// be, must end.
    pub fn destroy_client(&self, server: Server) {
        self.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT, "DESTROY_IOREQ_CLIENT");
        server.assert_ends(Errno::ENODEV);
    }

    /// Makes DESTROY_VM. There is no VM to destroy when the file is closed.
    pub fn destroy(&self) {
        self.plain(ACRN_IOCTL_DESTROY_VM, "DESTROY_VM");
        cleanup::unregister(&self.device);
    }

    /// Resets the VM between two starts. `prepare` is called before RESET_VM.
    pub fn reset(&self, prepare: impl FnOnce(&Self)) {
        self.pause();
        self.plain(ACRN_IOCTL_CLEAR_VM_IOREQ, "CLEAR_VM_IOREQ");
        prepare(self);
        self.plain(ACRN_IOCTL_RESET_VM, "RESET_VM");
        self.load();
        self.plain(ACRN_IOCTL_START_VM, "START_VM");
    }

    /// Makes NOTIFY_REQUEST_FINISH.
    pub fn notify(&self, vcpu: u32) {
        let mut notify = acrn_ioreq_notify {
            vmid: self.vmid,
            vcpu,
            ..Default::default()
        };
        let notified = self
            .device
            .with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &mut notify);
        assert_eq!(notified, Ok(()), "NOTIFY_REQUEST_FINISH");
    }

    /// Starts the thread that creates the client, starts the VM and serves its requests. `at_end`
    /// is called when the guest requests its end.
    pub fn serve(
        self: &Arc<Self>,
        at_end: impl FnMut(&Self, u32) -> Next + Send + 'static,
    ) -> Server {
        let model = self.clone();
        let (sender, ids) = mpsc::channel();
        let thread = thread::spawn(move || {
            sender.send(gettid()).expect("the first thread");
            model.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT, "CREATE_IOREQ_CLIENT");
            model.plain(ACRN_IOCTL_START_VM, "START_VM");
            model.serve_until_error(at_end)
        });
        let id = ids.recv().expect("the serving thread");
        Server { thread, id }
    }

    fn serve_until_error(&self, mut at_end: impl FnMut(&Self, u32) -> Next) -> Errno {
        loop {
            if let Err(error) = self.device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT) {
                return error;
            }
            self.attached.fetch_add(1, Ordering::Relaxed);
            for (vcpu, slot) in self.page.slots().filter(|(_, slot)| slot.is_ours()) {
                let request = slot.request().expect("a request that makes sense");
                let next = match self.end.is_asked_by(&request) {
                    true => at_end(self, vcpu),
                    false => {
                        let answer = self.answer(&request);
                        if request.direction == Direction::Read {
                            slot.answer(answer);
                        }
                        Next::Notify
                    }
                };
                if next == Next::Notify {
                    self.notify(vcpu);
                }
            }
        }
    }

    /// Emulates the devices. Returns the value for a read.
    fn answer(&self, request: &Request) -> u64 {
        match request.target {
            Target::Port(DONE_PORT) => {
                if let Some(event) = &self.doorbell {
                    self.ring_by(event, 0).expect("IOEVENTFD");
                }
                self.ready.store(true, Ordering::Release);
            }
            Target::Port(REGISTER) => {
                for _ in 0..8 {
                    self.device
                        .set_irqline(PIN.0, RISING_PULSE)
                        .expect("SET_IRQLINE");
                }
            }
            Target::Memory(DOORBELL) => {
                self.rung.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{request:?}"),
        }
        u64::from(self.vmid) | 0x100
    }

    /// Panics unless the guest has read the value that the device model returned.
    #[track_caller]
    pub fn assert_served(&self) {
        let answer = u64::from(self.vmid) | 0x100;
        assert_eq!(guest::seen(&self.memory), answer, "answer to a read");
    }

    /// Makes IOEVENTFD for the doorbell.
    pub fn ring_by(&self, event: &Eventfd, flags: u32) -> Result<(), Errno> {
        self.device.ioeventfd(event, flags, DOORBELL, 4)
    }

    /// Starts threads that send MSIs from the moment at which the guest runs until they are
    /// stopped: they do not know whether the VM is paused or destroyed.
    pub fn interrupt(self: &Arc<Self>) -> Interrupters {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..INTERRUPTERS).map(|_| {
            let (model, stop) = (self.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    model.inject();
                    thread::sleep(Duration::from_millis(5));
                }
            })
        });
        Interrupters {
            threads: threads.collect(),
            stop,
        }
    }

    fn inject(&self) {
        if !self.ready.load(Ordering::Acquire) {
            return;
        }
        let msi_addr = guest::msi_address(&self.memory);
        let sent = self.device.inject_msi(msi_addr, MSI_VECTOR.into());
        // A destroyed VM returns EINVAL.
        assert!(matches!(sent, Ok(()) | Err(Errno::EINVAL)), "{sent:?}");
    }
}

/// Makes SET_MEMSEG for all of `memory`, with the attributes of acrn-dm.
pub fn set(device: &Device, request: u32, user_vm_pa: u64, memory: &GuestMemory) {
    let mut segment = acrn_vm_memmap {
        type_: ACRN_MEMMAP_RAM,
        attr: ATTRIBUTES,
        user_vm_pa,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            vma_base: memory.address(),
        },
        len: memory.len() as u64,
    };
    assert_eq!(device.with(request, &mut segment), Ok(()), "SET_MEMSEG");
}

/// The serving thread.
pub struct Server {
    thread: JoinHandle<Errno>,
    id: Pid,
}

impl Server {
    /// Waits until the thread sleeps in ATTACH_IOREQ_CLIENT.
    pub fn until_idle(&self) {
        until("the serving thread sleeps", || sleeps(self.id));
    }

    /// Sends the thread a signal.
    pub fn signal(&self, signal: Signal) {
        pthread_kill(self.thread.as_pthread_t(), signal).expect("pthread_kill");
    }

    /// Panics unless the thread ends with this error of ATTACH_IOREQ_CLIENT.
    #[track_caller]
    pub fn assert_ends(self, error: Errno) {
        until("the serving thread ends", || self.thread.is_finished());
        let end = self.thread.join().expect("the serving thread");
        assert_eq!(end, error, "error that ended the serving thread");
    }
}

/// The threads that send MSIs.
pub struct Interrupters {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Interrupters {
    /// Stops the threads.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a thread that sends MSIs");
        }
    }
}
