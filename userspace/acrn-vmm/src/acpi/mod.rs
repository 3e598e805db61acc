// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The ACPI tables, which describe the CPUs, the interrupt controllers, power-off and reset.

mod dsdt;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use zerocopy::IntoBytes;

use crate::devices::pm;
use crate::devices::pm_timer;
use crate::devices::reset;

/// The address of the tables, RSDP first: in the range that guests scan without another hint.
pub const ADDRESS: u64 = 0xE_0000;

const OEM_ID: [u8; 6] = *b"ACRNHS";
const OEM_TABLE_ID: [u8; 8] = *b"ACRNVMM ";
const OEM_REVISION: u32 = 1;

const LOCAL_APIC_ADDRESS: u32 = 0xFEE0_0000;
const IO_APIC_ADDRESS: u32 = 0xFEC0_0000;

/// The interrupt for ACPI events, which never occur.
const SCI: u8 = 9;

/// The interrupt of the timer, and its usual IOAPIC pin.
const TIMER: u8 = 0;
const TIMER_PIN: u32 = 2;

/// MADT flag: there are two 8259s as well.
const PCAT_COMPAT: u32 = 1;
/// MADT, interrupt source override: conforms to the bus.
const BUS_DEFAULT: u16 = 0;
/// MADT, interrupt source override: active high, level triggered.
const ACTIVE_HIGH_LEVEL: u16 = 1 | 3 << 2;

/// FADT, boot architecture: there are ISA devices, such as the serial port.
const LEGACY_DEVICES: u16 = 1;
/// FADT, boot architecture: there is no VGA.
const VGA_NOT_PRESENT: u16 = 1 << 2;

/// An interrupt source override of the MADT.
fn isa_override(irq: u8, gsi: u32, flags: u16) -> [u8; 10] {
    let [g0, g1, g2, g3] = gsi.to_le_bytes();
    let [f0, f1] = flags.to_le_bytes();
    [2, 10, 0, irq, g0, g1, g2, g3, f0, f1]
}

/// Returns the MADT for vCPUs with these APIC ids, vCPU 0 first.
fn madt(apic_ids: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(*b"APIC", 44, 4, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.write_u32(36, LOCAL_APIC_ADDRESS);
    table.write_u32(40, PCAT_COMPAT);
    for (vcpu, apic_id) in (0..).zip(apic_ids) {
        let apic = ProcessorLocalApic::new(vcpu, *apic_id, EnabledStatus::Enabled);
        table.append_slice(apic.as_bytes());
    }
    // The id of the IOAPIC must not be that of a local APIC.
    let io_apic_id = (0..=u8::MAX).find(|id| !apic_ids.contains(id));
    let io_apic = IoApic::new(io_apic_id.unwrap_or_default(), IO_APIC_ADDRESS, 0);
    table.append_slice(io_apic.as_bytes());
    table.append_slice(&isa_override(TIMER, TIMER_PIN, BUS_DEFAULT));
    table.append_slice(&isa_override(SCI, SCI.into(), ACTIVE_HIGH_LEVEL));
    table.as_slice().to_vec()
}

fn fadt(facs: u64, dsdt: u64) -> Vec<u8> {
    let mut table = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .firmware_ctrl_32(facs as u32)
        .dsdt_64(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless);
    table.dsdt = (dsdt as u32).into();
    table.sci_int = u16::from(SCI).into();
    table.pm1a_evt_blk = u32::from(pm::EVENT_BLOCK).into();
    table.pm1_evt_len = 4;
    table.pm1a_cnt_blk = u32::from(pm::CONTROL_BLOCK).into();
    table.pm1_cnt_len = 2;
    table.pm_tmr_blk = u32::from(pm_timer::FIRST).into();
    table.pm_tmr_len = 4;
    // There are no C-states C2 and C3.
    table.p_lvl2_lat = 0xffff.into();
    table.p_lvl3_lat = 0xffff.into();
    table.century = 0x32;
    table.iapc_boot_arch = (LEGACY_DEVICES | VGA_NOT_PRESENT).into();
    let port = u64::from(reset::RESET_CONTROL);
    table.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port);
    table.reset_value = reset::RESET_VALUE;
    to_bytes(&table.finalize())
}

fn to_bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Tables in a row, each aligned to 64 bytes.
struct Blob {
    base: u64,
    bytes: Vec<u8>,
}

impl Blob {
    /// Adds a table and returns its address.
    fn push(&mut self, table: &[u8]) -> u64 {
        let offset = self.bytes.len().next_multiple_of(64);
        self.bytes.resize(offset, 0);
        self.bytes.extend_from_slice(table);
        self.base + offset as u64
    }
}

/// Returns all tables for vCPUs with these APIC ids. They belong at [`ADDRESS`], where the RSDP is.
pub fn tables(apic_ids: &[u8]) -> Vec<u8> {
    let rsdp_space = vec![0; Rsdp::len()];
    let mut blob = Blob {
        base: ADDRESS,
        bytes: rsdp_space,
    };
    let facs = blob.push(&to_bytes(&FACS::new()));
    let dsdt = blob.push(&dsdt::table());
    let fadt = blob.push(&fadt(facs, dsdt));
    let madt = blob.push(&madt(apic_ids));
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = blob.push(&to_bytes(&xsdt));
    let rsdp = to_bytes(&Rsdp::new(OEM_ID, xsdt));
    blob.bytes[..rsdp.len()].copy_from_slice(&rsdp);
    blob.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    fn table(blob: &[u8], address: usize) -> &[u8] {
        let start = address - ADDRESS as usize;
        &blob[start..start + u32_at(blob, start + 4)]
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn tables_point_at_each_other_and_add_up() {
        let blob = tables(&[5, 0]);
        assert_eq!(&blob[..8], b"RSD PTR ");
        assert_eq!(sum(&blob[..36]), 0);
        let xsdt = table(&blob, u32_at(&blob, 24));
        assert_eq!((&xsdt[..4], sum(xsdt)), (&b"XSDT"[..], 0));
        let fadt = table(&blob, u32_at(xsdt, 36));
        assert_eq!((&fadt[..4], sum(fadt), fadt.len()), (&b"FACP"[..], 0, 276));
        assert_eq!(&blob[u32_at(fadt, 36) - ADDRESS as usize..][..4], b"FACS");
        let dsdt = table(&blob, u32_at(fadt, 40));
        assert_eq!((&dsdt[..4], sum(dsdt)), (&b"DSDT"[..], 0));
        assert_eq!(u32_at(fadt, 140), u32_at(fadt, 40));
        let madt = table(&blob, u32_at(xsdt, 44));
        assert_eq!((&madt[..4], sum(madt)), (&b"APIC"[..], 0));
        assert_eq!(madt.len(), 44 + 2 * 8 + 12 + 2 * 10);
        assert_eq!(madt[44..][..4], [0, 8, 0, 5]);
        assert_eq!(madt[44 + 8..][..4], [0, 8, 1, 0]);
        assert_eq!(madt[44 + 16..][..3], [1, 12, 1]);
    }

    #[test]
    fn all_fits_below_a_megabyte() {
        assert!(ADDRESS + tables(&[0; 16]).len() as u64 <= 0xF_0000);
    }
}
