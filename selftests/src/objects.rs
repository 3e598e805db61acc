// SPDX-License-Identifier: GPL-2.0

//! The driver's own counts of its objects, by kind. Upstream's driver has none.

use std::{collections::BTreeMap, fs};

/// Contains a line `name number` for each kind.
const FILE: &str = "/sys/kernel/debug/acrn_hsm/objects";

/// The numbers of objects at one moment, by kind.
pub struct Objects(BTreeMap<String, i64>);

impl Objects {
    /// Reads the current counts. The error says why the test must be skipped.
    pub fn count() -> Result<Self, String> {
        let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let counts = text.lines().map(|line| {
            let (name, number) = line.split_once(' ').expect("a name and a number");
            (name.to_owned(), number.parse().expect("a number"))
        });
        Self(counts.collect())
    }

    /// Returns the number of objects of a kind.
    pub fn of(&self, kind: &str) -> i64 {
        *self.0.get(kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    /// Describes the kinds that have more objects in `later`, and those with a negative count,
    /// whose objects were counted off twice.
    pub fn growth(&self, later: &Self) -> Vec<String> {
        let wrong = later.0.iter().filter_map(|(kind, number)| {
            let more = number - self.0.get(kind).unwrap_or(&0);
            match *number {
                ..0 => Some(format!("{kind}: {number} in all")),
                _ => (more > 0).then(|| format!("{kind}: {more}")),
            }
        });
        wrong.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Objects;

    #[test]
    fn growth_is_by_kind() {
        let before = Objects::parse("vms 1\nclients 2\nbuffers 3\n");
        let after = Objects::parse("vms 3\nclients 1\nbuffers 3\n");
        assert_eq!(before.growth(&after), ["vms: 2"]);
        assert_eq!(after.of("clients"), 1);
        let negative = Objects::parse("vms 0\nclients -1\n");
        assert_eq!(after.growth(&negative), ["clients: -1 in all"]);
    }
}
