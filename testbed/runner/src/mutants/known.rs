// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Keeps verdicts, so that an interrupted run continues.
//!
//! A verdict is valid until something on which it depends changes.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use super::{files_below, slip::Slip, table::Verdict};
use crate::{
    REBOOT,
    cli::{Machine, Slips},
};

/// Returns the hash of the parts that all slips share: the driver and its machine.
pub struct Common(DefaultHasher);

impl Common {
    pub fn new(machine: &Machine, options: &Slips) -> io::Result<Self> {
        let mut hasher = DefaultHasher::new();
        // The name of the kernel's directory depends on the kernel's ingredients.
        machine.kernel.hash(&mut hasher);
        machine.append.hash(&mut hasher);
        let files = [&machine.hypervisor, &machine.init, &machine.vmm];
        let mut files: Vec<_> = files.into_iter().chain(&machine.probes).cloned().collect();
        files_below(&options.source, &mut files)?;
        for file in files {
            fs::read(file)?.hash(&mut hasher);
        }
        Ok(Self(hasher))
    }
}

/// The stored verdict on a slip.
pub struct Known {
    path: PathBuf,
    /// The hash of all that the verdict depends on.
    key: String,
}

impl Known {
    pub fn new(machine: &Machine, slip: &Slip, common: &Common) -> io::Result<Self> {
        let mut hasher = common.0.clone();
        fs::read(&slip.path)?.hash(&mut hasher);
        // The reboot test uses helpers of several programs.
        let named = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default();
            slip.all_programs()
                .any(|program| *program == *name || program == REBOOT)
        };
        for program in machine.selftests.iter().filter(named) {
            fs::read(program)?.hash(&mut hasher);
        }
        Ok(Self {
            path: machine.work.join("results").join(&slip.name),
            key: format!("{:016x}", hasher.finish()),
        })
    }

    /// Returns the verdict if it is still valid.
    pub fn read(&self) -> Option<Verdict> {
        let text = fs::read_to_string(&self.path).ok()?;
        let mut lines = text.lines();
        if lines.next()? != self.key {
            return None;
        }
        let killed = |as_expected, by: Option<&str>| {
            let by = by?.to_owned();
            Some(Verdict::Killed { by, as_expected })
        };
        match lines.next()? {
            "survived" => Some(Verdict::Survived),
            "killed" => killed(true, lines.next()),
            "killed by another" => killed(false, lines.next()),
            _ => None,
        }
    }

    /// Stores a verdict.
    pub fn write(&self, verdict: &Verdict) -> io::Result<()> {
        let text = match verdict {
            Verdict::Survived => "survived".to_owned(),
            Verdict::Killed { by, as_expected } => {
                let word = match as_expected {
                    true => "killed",
                    false => "killed by another",
                };
                format!("{word}\n{by}")
            }
            // An error is not stored, so that the next run tries again.
            Verdict::Wrong(_) => return Ok(()),
        };
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{}\n{text}\n", self.key))?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_remembered_until_something_changes() {
        let directory = tempfile::tempdir().unwrap();
        let known = |key: &str| Known {
            path: directory.path().join("results/io/a"),
            key: key.to_owned(),
        };
        assert_eq!(known("1").read(), None);
        let killed = |by: &str, as_expected| Verdict::Killed {
            by: by.to_owned(),
            as_expected,
        };
        for verdict in [
            killed("io.a", true),
            killed("io: WARNING: x", false),
            Verdict::Survived,
        ] {
            known("1").write(&verdict).unwrap();
            assert_eq!(known("1").read(), Some(verdict));
            assert_eq!(known("2").read(), None);
        }
        known("2").write(&Verdict::Wrong(String::new())).unwrap();
        assert_eq!(known("2").read(), None);
    }
}
