// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Boots the Service VM from the multiboot loader.

use crate::multiboot::{self, Info};
use crate::phys::{self, FirmwareMemory};
use crate::{cpu, frames, handoff, idt, log, panic, service, smpboot, time};
use alloc::string::String;
use core::sync::atomic::Ordering;
use mini_acrn_logic::{acpi, bzimage, npt::PAGE};

/// Parameters that mini-ACRN appends to the command line of the Service VM's kernel. Broadcast IPIs
/// would reach the CPUs of User VMs.
const CMDLINE_EXTRA: &str = "no_ipi_broadcast=1";

/// The entry point of the first CPU.
#[unsafe(no_mangle)]
extern "C" fn bsp_main(magic: u32, info: u32) -> ! {
    frames::init_heap();
    idt::init();
    log!("mini-ACRN {}", env!("CARGO_PKG_VERSION"));
    if magic != multiboot::MAGIC {
        panic!("not booted by a multiboot loader");
    }
    let info = multiboot::parse(info).expect("multiboot memory map and modules");
    phys::init(&info.map);

    let rsdt_addr = acpi::find_rsdt(&FirmwareMemory).expect("ACPI RSDP");
    let rsdt = acpi::table(&FirmwareMemory, rsdt_addr).expect("ACPI RSDT");
    let fadt = acpi::find(&FirmwareMemory, rsdt, b"FACP").expect("ACPI FADT");
    let madt_addr = acpi::entries(rsdt)
        .find(|a| acpi::table(&FirmwareMemory, *a).is_some_and(|t| t.starts_with(b"APIC")))
        .expect("ACPI MADT");
    let madt = acpi::table(&FirmwareMemory, madt_addr).expect("found above");
    if let Some(port) = acpi::pm1a_control_port(fadt) {
        panic::PM1A_CONTROL.store(port, Ordering::Relaxed);
    }
    time::calibrate(acpi::pm_timer_port(fadt).expect("ACPI PM timer"));
    let cpus = acpi::lapic_ids(madt);
    smpboot::start_others(&cpus);
    log!(
        "TSC {} kHz, {} CPUs, free for User VMs: {:#x}",
        time::tsc_khz(),
        cpus.len(),
        cpu::free_mask()
    );

    let tables = handoff::Tables { rsdt, madt, madt_addr };
    service::run::boot(load_linux(&info, &tables));
    cpu::halt()
}

/// Loads the Service VM's kernel at its preferred address and returns its entry point.
fn load_linux(info: &Info, tables: &handoff::Tables) -> u64 {
    let [kernel, rest @ ..] = info.modules.as_slice() else {
        panic!("no kernel: -initrd KERNEL,INITRAMFS")
    };
    let header = bzimage::parse(kernel.bytes).unwrap_or_else(|e| panic!("kernel image: {e:?}"));
    let payload = &kernel.bytes[header.payload.clone()];
    let size = header.init_size.max(payload.len() as u64);
    let end = header.load_address + size;
    if !phys::is_service_ram(header.load_address, size) {
        panic!("kernel image: {:#x} to {end:#x} is not free RAM", header.load_address);
    }
    for m in &info.modules {
        if u64::from(m.start) < end
            && u64::from(m.start) + m.bytes.len() as u64 > header.load_address
        {
            panic!("module at {:#x} overlaps the kernel", m.start);
        }
    }
    phys::write_bytes(header.load_address, payload).expect("checked above");

    let mut cmdline = String::from(kernel.args);
    if !cmdline.is_empty() {
        cmdline.push(' ');
    }
    cmdline.push_str(CMDLINE_EXTRA);
    if cmdline.len() as u64 >= PAGE {
        panic!("kernel command line is longer than a page");
    }
    let (ramdisk, ramdisk_size) = rest.first().map_or((0, 0), |m| (m.start, m.bytes.len() as u32));
    handoff::fill(tables, &cmdline, |page, cmdline, rsdp| {
        let boot = bzimage::Boot { cmdline, ramdisk, ramdisk_size, rsdp, map: &phys::space().map };
        bzimage::zero_page(kernel.bytes, &header, &boot, page)
            .unwrap_or_else(|e| panic!("kernel image: {e:?}"));
    });
    log!(
        "kernel {} bytes at {:#x}, initramfs {ramdisk_size} bytes at {ramdisk:#x}",
        payload.len(),
        header.load_address
    );
    log!("command line: {cmdline}");
    header.load_address + bzimage::ENTRY_64
}
