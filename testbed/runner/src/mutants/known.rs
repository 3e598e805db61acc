// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Verdicts of earlier runs, so that an interrupted run goes on from there. They count until something changes on which
//! they depend.

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

/// Hash of what is the same for all slips: the driver, and the machine that it runs on.
pub struct Common(DefaultHasher);

impl Common {
    pub fn new(machine: &Machine, options: &Slips) -> io::Result<Self> {
        let mut hasher = DefaultHasher::new();
        // The kernel's folder is named after what it was made of.
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

/// What is known of a slip, in a file.
pub struct Known {
    path: PathBuf,
    /// Hash of all that the verdict depends on.
    key: String,
}

impl Known {
    pub fn new(machine: &Machine, slip: &Slip, common: &Common) -> io::Result<Self> {
        let mut hasher = common.0.clone();
        fs::read(&slip.path)?.hash(&mut hasher);
        // Behind the reboot are helpers of several programs.
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

    /// The verdict, if it still counts.
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

    /// Keeps a verdict.
    pub fn write(&self, verdict: &Verdict) -> io::Result<()> {
        let told = match verdict {
            Verdict::Survived => "survived".to_owned(),
            Verdict::Killed { by, as_expected } => {
                let word = match as_expected {
                    true => "killed",
                    false => "killed by another",
                };
                format!("{word}\n{by}")
            }
            // Tried again the next time.
            Verdict::Wrong(_) => return Ok(()),
        };
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{}\n{told}\n", self.key))?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_remembered_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let known = |key: &str| Known {
            path: folder.path().join("results/io/a"),
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
