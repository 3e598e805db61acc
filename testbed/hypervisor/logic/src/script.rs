// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Results of hypercalls that a test has scripted.

use alloc::vec::Vec;
use mini_acrn_channel::{ANY_VM, Fault};

/// Maximum number of faults that wait.
pub const CAPACITY: usize = 16;

/// The faults that wait, oldest first.
#[derive(Default)]
pub struct Script(Vec<Fault>);

/// [`CAPACITY`] faults wait already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Script {
    /// Creates an empty script.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a fault. A fault with a `count` of 0 is dropped.
    pub fn push(&mut self, fault: Fault) -> Result<(), Full> {
        if self.0.len() == CAPACITY {
            return Err(Full);
        }
        if fault.count > 0 {
            self.0.push(fault);
        }
        Ok(())
    }

    /// Removes all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the fault for a call of `id` for `vmid`, if there is one. Every matching fault counts
    /// the call, up to the one that applies.
    pub fn take(&mut self, id: u32, vmid: u16) -> Option<Fault> {
        for i in 0..self.0.len() {
            let f = &mut self.0[i];
            if f.id != id || (f.vmid != ANY_VM && f.vmid != vmid) {
                continue;
            }
            if f.skip > 0 {
                f.skip -= 1;
                continue;
            }
            f.count -= 1;
            let hit = *f;
            if hit.count == 0 {
                self.0.remove(i);
            }
            return Some(hit);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn fault(id: u32, vmid: u16, skip: u32, count: u32, result: i64) -> Fault {
        let mut f = Fault::new_zeroed();
        (f.id, f.vmid, f.skip, f.count, f.result) = (id, vmid, skip, count, result);
        f
    }

    #[test]
    fn skip_then_hit() {
        let mut s = Script::new();
        s.push(fault(0x42, ANY_VM, 1, 2, -22)).unwrap();
        assert!(s.take(0x42, 1).is_none());
        assert!(s.take(0x41, 1).is_none());
        assert_eq!(s.take(0x42, 1).unwrap().result, -22);
        assert_eq!(s.take(0x42, 9).unwrap().result, -22);
        assert!(s.take(0x42, 1).is_none());
    }

    #[test]
    fn vm_and_capacity() {
        let mut s = Script::new();
        for _ in 0..CAPACITY {
            s.push(fault(1, 2, 0, 1, -1)).unwrap();
        }
        assert_eq!(s.push(fault(1, 2, 0, 1, -1)), Err(Full));
        assert!(s.take(1, 3).is_none());
        assert!(s.take(1, 2).is_some());
        s.clear();
        assert!(s.take(1, 2).is_none());
    }
}
