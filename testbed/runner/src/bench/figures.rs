// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The figures in the report of the program `bench`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The prefix of a diagnostic that is a figure.
const FIGURE: &str = "# bench: ";

/// The numbers of one operation on one path, by name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Figure(BTreeMap<String, u64>);

impl Figure {
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.split_ascii_whitespace().map(|word| {
            let (key, number) = word.split_once('=')?;
            Some((key.to_owned(), number.parse().ok()?))
        });
        numbers.collect::<Option<_>>().map(Self)
    }

    /// Returns a number by name.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).copied()
    }

    /// Returns the number to compare: the median of a time, or the single number of the figure.
    pub fn total(&self) -> Option<f64> {
        let whole = self.number("median").or(self.number("value"));
        let parts = || Some(self.number("permille")? as f64 / 1000.0);
        whole.map(|number| number as f64).or_else(parts)
    }

    /// Returns whether the measured event did not occur.
    pub fn is_never(&self) -> bool {
        self.number("waited").is_some()
    }

    /// Returns whether the figure is a ratio.
    pub fn is_ratio(&self) -> bool {
        self.number("permille").is_some()
    }

    /// Returns the total without the time in the hypervisor and in the system call itself.
    pub fn share(&self) -> Option<f64> {
        let hypervisor = self.number("hypervisor")?;
        let null = self.number("null").unwrap_or(0);
        Some(self.number("median")? as f64 - hypervisor as f64 - null as f64)
    }
}

/// All figures of a driver, by path and operation.
#[derive(Default)]
pub struct Figures(BTreeMap<(String, String), Figure>);

impl Figures {
    /// Reads a line of a report, which may be a figure: `# bench: PATH WORK: KEY=NUMBER ...`.
    pub fn line(&mut self, line: &str) {
        let figure = line.trim().strip_prefix(FIGURE).and_then(|text| {
            let (name, numbers) = text.split_once(':')?;
            let (path, work) = name.split_once(' ')?;
            let figure = Figure::parse(numbers)?;
            Some(((path.to_owned(), work.to_owned()), figure))
        });
        self.0.extend(figure);
    }

    /// Adds other figures.
    ///
    /// With a prefix, the prefix becomes their path, and their old path a part of the operation.
    pub fn add(&mut self, others: Self, prefix: Option<&str>) {
        let others = others.0.into_iter();
        self.0.extend(others.map(|((path, work), figure)| {
            let name = match prefix {
                None => (path, work),
                Some(prefix) => (prefix.to_owned(), format!("{path}_{work}")),
            };
            (name, figure)
        }));
    }

    /// Returns the figure of an operation.
    pub fn of(&self, path: &str, work: &str) -> Option<&Figure> {
        self.0.get(&(path.to_owned(), work.to_owned()))
    }

    /// Returns all figures as JSON.
    pub fn json(&self) -> Value {
        let figures = self.0.iter().map(|((path, work), figure)| {
            let mut numbers = json!(figure.0);
            if let Some(share) = figure.share() {
                numbers["share"] = json!(share);
            }
            (format!("{path} {work}"), numbers)
        });
        Value::Object(figures.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let mut figures = Figures::default();
        figures.line("    # bench: P1 INJECT_MSI: median=2000 null=300 hypervisor=900");
        figures.line("    # bench: P7 beside: permille=1250");
        figures.line("    # bench: P10 kill: waited=7");
        figures.line("    # bench: P11 upcall:");
        figures.line("    # bench: P2 trip: median=x");
        figures.line("    # another remark");
        let msi = figures.of("P1", "INJECT_MSI").unwrap();
        assert_eq!((msi.total(), msi.share()), (Some(2000.0), Some(800.0)));
        let beside = figures.of("P7", "beside").unwrap();
        assert!(beside.is_ratio() && beside.total() == Some(1.25) && beside.share().is_none());
        let kill = figures.of("P10", "kill").unwrap();
        assert!(kill.is_never() && kill.total().is_none());
        let unreported = figures.of("P11", "upcall").unwrap();
        assert!(!unreported.is_never() && unreported.total().is_none());
        assert!(figures.of("P2", "trip").is_none());
        let mut all = Figures::default();
        let mut more = Figures::default();
        more.line("# bench: P2 lone: median=9");
        all.add(more, Some("RT"));
        assert!(all.of("RT", "P2_lone").is_some());
        assert_eq!(figures.json()["P1 INJECT_MSI"]["share"], json!(800.0));
    }
}
