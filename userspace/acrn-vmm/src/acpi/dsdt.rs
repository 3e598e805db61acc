// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The DSDT, which describes the devices that need AML.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Name, Package, ResourceTemplate,
    Scope,
};
use acpi_tables::sdt::Sdt;

use super::{IO_APIC_ADDRESS, OEM_ID, OEM_REVISION, OEM_TABLE_ID, to_bytes};
use crate::devices::pm;
use crate::memory;

/// Returns the PCI host bridge with its ports and addresses.
fn host_bridge() -> Vec<u8> {
    let buses = AddressSpace::new_bus_number(0u16, 0);
    let config = IO::new(0xcf8, 0xcf8, 1, 8);
    let low_ports = AddressSpace::new_io(0u16, 0xcf7, None);
    let high_ports = AddressSpace::new_io(0xd00u16, 0xffff, None);
    let memory = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        memory::LOW_END as u32,
        IO_APIC_ADDRESS - 1,
        None,
    );
    let resources = ResourceTemplate::new(vec![&buses, &config, &low_ports, &high_ports, &memory]);
    let id = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
    let resources = Name::new("_CRS".into(), &resources);
    let device = Device::new("PCI0".into(), vec![&id, &resources]);
    to_bytes(&Scope::new("_SB_".into(), vec![&device]))
}

/// The value of the sleep type field for power-off.
fn power_off() -> Vec<u8> {
    let sleep_type = pm::SLEEP_TYPE_S5;
    let package = Package::new(vec![&sleep_type, &sleep_type, &0u8, &0u8]);
    to_bytes(&Name::new("_S5_".into(), &package))
}

/// Returns the complete table.
pub fn table() -> Vec<u8> {
    let mut table = Sdt::new(*b"DSDT", 36, 2, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.append_slice(&power_off());
    table.append_slice(&host_bridge());
    table.as_slice().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_off_has_the_sleep_type() {
        assert_eq!(
            power_off(),
            *b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00"
        );
    }

    #[test]
    fn host_bridge_is_one() {
        let bridge = host_bridge();
        assert!(bridge.windows(4).any(|name| name == b"PCI0"));
        // PNP0A03, in its packed form.
        assert!(bridge.windows(4).any(|id| id == [0x41, 0xd0, 0x0a, 0x03]));
    }
}
