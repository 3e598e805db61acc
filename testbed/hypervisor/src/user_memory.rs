// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Memory of a User VM as mini-ACRN accesses it.
//!
//! Guest-physical addresses are translated by the nested page tables. A linear address of an
//! instruction is translated by the guest's page tables first.

use crate::phys;
use crate::vm::Vm;
use mini_acrn_logic::decode::MAX_LEN;
use mini_acrn_logic::npt::{Access, PAGE};
use mini_acrn_logic::vmcb::Save;
use mini_acrn_logic::walk::{GuestRead, NotMapped, translate};

impl GuestRead for Vm {
    fn read(&self, gpa: u64, size: usize) -> Option<u64> {
        let mut out = [0; 8];
        read(self, gpa, &mut out[..size])?;
        Some(u64::from_le_bytes(out))
    }
}

/// Calls `each` for every page of the `len` bytes at `gpa`, with the address in the Service VM and
/// the range of the buffer.
fn by_page(
    vm: &Vm,
    gpa: u64,
    len: usize,
    need: Access,
    mut each: impl FnMut(u64, core::ops::Range<usize>) -> Option<()>,
) -> Option<()> {
    let mut n = 0;
    while n < len {
        let at = gpa.checked_add(n as u64)?;
        let step = (PAGE - (at & (PAGE - 1))).min((len - n) as u64) as usize;
        let leaf = vm.query(at).filter(|l| l.access.contains(need))?;
        each(leaf.target, n..n + step)?;
        n += step;
    }
    Some(())
}

/// Reads guest-physical memory. Returns `None` if a page is not mapped readable.
pub fn read(vm: &Vm, gpa: u64, out: &mut [u8]) -> Option<()> {
    by_page(vm, gpa, out.len(), Access::READ, |addr, r| phys::read_bytes(addr, &mut out[r]))
}

/// Writes guest-physical memory. Returns `None` if a page is not mapped writable.
pub fn write(vm: &Vm, gpa: u64, data: &[u8]) -> Option<()> {
    by_page(vm, gpa, data.len(), Access::WRITE, |addr, r| phys::write_bytes(addr, &data[r]))
}

/// The reason why an access to a linear address fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinearError {
    /// The guest's page tables do not map the address.
    NotMapped,
    /// The guest's page tables map the address, but the nested page tables do not.
    NoMemory,
}

impl From<NotMapped> for LinearError {
    fn from(_: NotMapped) -> Self {
        Self::NotMapped
    }
}

/// Reads `size` bytes, at most 8, at a linear address.
pub fn read_linear(vm: &Vm, save: &Save, linear: u64, size: usize) -> Result<u64, LinearError> {
    let mut out = [0; 8];
    for (i, b) in out[..size].iter_mut().enumerate() {
        let gpa = translate(save, vm, linear.wrapping_add(i as u64))?;
        read(vm, gpa, core::slice::from_mut(b)).ok_or(LinearError::NoMemory)?;
    }
    Ok(u64::from_le_bytes(out))
}

/// Writes the low `size` bytes of `value` to a linear address.
pub fn write_linear(
    vm: &Vm,
    save: &Save,
    linear: u64,
    value: u64,
    size: usize,
) -> Result<(), LinearError> {
    for (i, b) in value.to_le_bytes()[..size].iter().enumerate() {
        let gpa = translate(save, vm, linear.wrapping_add(i as u64))?;
        write(vm, gpa, core::slice::from_ref(b)).ok_or(LinearError::NoMemory)?;
    }
    Ok(())
}

/// The bytes of an instruction.
pub struct Code {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Code {
    /// Returns the bytes that could be read.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads the instruction at RIP, up to the first page that is not mapped.
pub fn fetch(vm: &Vm, save: &Save) -> Code {
    fetch_with(save, vm, |gpa, out| read(vm, gpa, out))
}

/// Reads the instruction at RIP. `tables` serves the page-table walk, `read` the code.
pub fn fetch_with(
    save: &Save,
    tables: &impl GuestRead,
    read: impl Fn(u64, &mut [u8]) -> Option<()>,
) -> Code {
    let mut code = Code { bytes: [0; MAX_LEN], len: 0 };
    let start = save.linear_rip();
    while code.len < MAX_LEN {
        let linear = start.wrapping_add(code.len as u64);
        let step = (PAGE - (linear & (PAGE - 1))).min((MAX_LEN - code.len) as u64) as usize;
        let Ok(gpa) = translate(save, tables, linear) else { break };
        if read(gpa, &mut code.bytes[code.len..code.len + step]).is_none() {
            break;
        }
        code.len += step;
    }
    code
}
