// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The measurements that are compared, and the targets of our driver.

use super::figures::{Figure, Figures};
use Target::{AtLeast, AtMost, Share, Total};

/// A target of our driver.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// At most this fraction of upstream's total.
    Total(f64),
    /// At most this fraction of upstream's share.
    Share(f64),
    /// At most this number.
    AtMost(f64),
    /// At least this number.
    AtLeast(f64),
}

impl Target {
    /// Describes the target.
    pub fn text(self) -> String {
        match self {
            Total(limit) => format!("total ≤ {limit:.2}"),
            Share(limit) => format!("share ≤ {limit:.2}"),
            AtMost(limit) => format!("ours ≤ {limit}"),
            AtLeast(limit) => format!("ours ≥ {limit}"),
        }
    }
}

/// A measurement.
pub struct Row {
    /// Its path.
    pub path: &'static str,
    /// Its operation in the program's figures.
    pub work: &'static str,
    /// Its title in the tables.
    pub title: &'static str,
    /// Its target, if there is one.
    pub target: Option<Target>,
}

const fn row(
    path: &'static str,
    work: &'static str,
    title: &'static str,
    target: Option<Target>,
) -> Row {
    Row {
        path,
        work,
        title,
        target,
    }
}

/// All measurements, in order.
pub const ROWS: &[Row] = &[
    row("P1", "INJECT_MSI", "INJECT_MSI", Some(Share(0.90))),
    row("P1", "SET_IRQLINE", "SET_IRQLINE", Some(Share(0.90))),
    row(
        "P2",
        "lone",
        "request to the device model and back",
        Some(Total(0.60)),
    ),
    row("P2", "back_to_back", "the same, one after the other", None),
    row(
        "P3",
        "1_ranges",
        "write to an ioeventfd, 1 range",
        Some(Total(0.20)),
    ),
    row("P3", "16_ranges", "the same, 16 ranges", Some(Total(0.20))),
    row(
        "P3",
        "256_ranges",
        "the same, 256 ranges",
        Some(Total(0.20)),
    ),
    row("P3", "growth", "256 ranges over 1", Some(AtMost(1.02))),
    row(
        "P3",
        "back_to_back",
        "1 range, one write after the other",
        None,
    ),
    row("P4", "irqfd", "write to an irqfd", Some(Share(0.50))),
    row(
        "P5",
        "4k",
        "256 MiB mapped and released, 4 KiB pages",
        Some(Total(0.45)),
    ),
    row(
        "P5",
        "thp",
        "the same, transparent huge pages",
        Some(Total(0.50)),
    ),
    row("P5", "hugetlb", "the same, hugetlbfs", Some(Total(0.05))),
    row(
        "P6",
        "4k",
        "bytes held for a GiB, 4 KiB pages",
        Some(Total(0.01)),
    ),
    row(
        "P6",
        "thp",
        "the same, transparent huge pages",
        Some(Total(0.01)),
    ),
    row("P6", "hugetlb", "the same, hugetlbfs", Some(Total(0.01))),
    row("P7", "alone", "P2 on a CPU without other work", None),
    row(
        "P7",
        "beside",
        "the same while another VM comes and goes",
        None,
    ),
    row("P7", "hypercall", "the other VM's longest hypercall", None),
    row(
        "P7",
        "slowdown",
        "longest round trip beside it, divided by the longest alone",
        Some(AtMost(1.2)),
    ),
    row(
        "P8",
        "0_idle",
        "write to an ioeventfd, no other VM",
        Some(Total(0.50)),
    ),
    row(
        "P8",
        "3_idle",
        "the same, 3 idle VMs of 4 vCPUs",
        Some(Total(0.50)),
    ),
    row("P8", "7_idle", "the same, 7 idle VMs", Some(Total(0.50))),
    row("P8", "each_idle", "cost of an idle VM", Some(AtMost(99.0))),
    row(
        "P9",
        "vm",
        "CREATE_VM, PAUSE_VM, DESTROY_VM",
        Some(Total(0.90)),
    ),
    row(
        "P10",
        "killed",
        "a device model is killed, until its VM is gone",
        None,
    ),
    row(
        "P11",
        "thread",
        "a thread's work beside a storm, divided by that beside a silent guest",
        Some(AtLeast(1.0)),
    ),
    row(
        "P11",
        "upcall",
        "share of the CPU's time that the upcall takes",
        Some(AtMost(0.10)),
    ),
    row("P12", "alone", "P2, alone", None),
    row(
        "P12",
        "computing",
        "the same beside another VM that computes",
        None,
    ),
    row("P12", "storm", "the same beside one that storms", None),
    row(
        "P12",
        "slowdown",
        "P2 beside the storm, divided by P2 beside the computing VM",
        Some(AtMost(1.2)),
    ),
    row("RT", "P2_lone", "P2 on a real-time kernel", None),
    row(
        "RT",
        "P3_1_ranges",
        "P3 on a real-time kernel, 1 range",
        None,
    ),
];

/// A row with its figures.
pub struct Compared<'a> {
    pub row: &'a Row,
    pub upstream: &'a Figure,
    pub ours: &'a Figure,
}

impl<'a> Compared<'a> {
    /// Returns the row if both drivers have figures for it.
    pub fn new(row: &'a Row, upstream: &'a Figures, ours: &'a Figures) -> Option<Self> {
        Some(Self {
            row,
            upstream: upstream.of(row.path, row.work)?,
            ours: ours.of(row.path, row.work)?,
        })
    }

    /// Returns the ratio of our total to upstream's, unless the figures are ratios.
    pub fn ratio(&self) -> Option<f64> {
        let is_ratio = self.ours.is_ratio();
        ratio(self.ours.total(), self.upstream.total()).filter(|_| !is_ratio)
    }

    /// Returns the ratio of our share to upstream's.
    pub fn share_ratio(&self) -> Option<f64> {
        ratio(self.ours.share(), self.upstream.share())
    }

    /// Returns whether the target is met, if there is one.
    pub fn is_met(&self) -> Option<bool> {
        let holds = |number: Option<f64>, holds: fn(&f64, &f64) -> bool, limit| {
            number.is_some_and(|number| holds(&number, &limit))
        };
        Some(match self.row.target? {
            Total(limit) => holds(self.ratio(), f64::le, limit),
            Share(limit) => holds(self.share_ratio(), f64::le, limit),
            AtMost(limit) => holds(self.ours.total(), f64::le, limit),
            AtLeast(limit) => holds(self.ours.total(), f64::ge, limit),
        })
    }
}

fn ratio(ours: Option<f64>, upstream: Option<f64>) -> Option<f64> {
    let (ours, upstream) = (ours?, upstream?);
    (upstream > 0.0).then(|| ours / upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(line: &str) -> Figures {
        let mut figures = Figures::default();
        figures.line(&format!("# bench: P1 x: {line}"));
        figures
    }

    fn is_met(target: Target, upstream: &str, ours: &str) -> Option<bool> {
        let row = row("P1", "x", "x", Some(target));
        let (upstream, ours) = (figures(upstream), figures(ours));
        Compared::new(&row, &upstream, &ours)?.is_met()
    }

    #[test]
    fn targets_are_met_or_missed() {
        let time = "median=1000 null=200 hypervisor=600";
        assert_eq!(is_met(Total(0.9), time, "median=900"), Some(true));
        assert_eq!(is_met(Total(0.9), time, "median=901"), Some(false));
        let less = "median=900 null=200 hypervisor=600";
        assert_eq!(is_met(Share(0.5), time, less), Some(true));
        assert_eq!(is_met(Share(0.4), time, less), Some(false));
        assert_eq!(is_met(Share(0.4), time, "median=900"), Some(false));
        let part = "permille=1200";
        assert_eq!(is_met(AtMost(1.2), "", part), Some(true));
        assert_eq!(is_met(AtLeast(1.3), part, part), Some(false));
        // An event that did not occur misses its target.
        assert_eq!(is_met(Total(0.9), time, "waited=7"), Some(false));
        assert_eq!(is_met(AtMost(1.2), part, ""), Some(false));
    }
}
