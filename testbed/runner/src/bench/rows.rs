// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What is compared, and what our driver is to reach.

use super::figures::Figures;
use Target::{AtLeast, AtMost, Share, Total};

/// What our driver is to reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// At most so much of what upstream's has.
    Total(f64),
    /// The same of the driver's share.
    Share(f64),
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
}

impl Target {
    /// In words.
    pub fn text(self) -> String {
        match self {
            Total(limit) => format!("total ≤ {limit:.2}"),
            Share(limit) => format!("share ≤ {limit:.2}"),
            AtMost(limit) => format!("ours ≤ {limit}"),
            AtLeast(limit) => format!("ours ≥ {limit}"),
        }
    }
}

/// Something that is measured.
pub struct Row {
    /// Its path.
    pub path: &'static str,
    /// Its name in the program's figures.
    pub work: &'static str,
    /// The same for people.
    pub title: &'static str,
    /// If there is one.
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

/// All of them, in order.
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
        "256 MiB set and given back, 4 KiB pages",
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
    row("P7", "alone", "P2 on a CPU that nobody else needs", None),
    row(
        "P7",
        "beside",
        "the same while another VM comes and goes",
        None,
    ),
    row(
        "P7",
        "slowdown",
        "the longest of these over the longest of those",
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
        "a thread's work beside a storm, over beside a silent guest",
        Some(AtLeast(1.0)),
    ),
    row("P12", "alone", "P2, alone", None),
    row(
        "P12",
        "beside",
        "the same beside a storm of another VM",
        None,
    ),
    row(
        "P12",
        "slowdown",
        "the latter over the former",
        Some(AtMost(1.2)),
    ),
];

/// A row with what was measured.
pub struct Compared<'a> {
    pub row: &'a Row,
    pub upstream: Option<f64>,
    pub ours: Option<f64>,
    pub upstream_share: Option<f64>,
    pub our_share: Option<f64>,
    /// The numbers are ratios by themselves.
    pub is_ratio: bool,
}

impl<'a> Compared<'a> {
    /// The row, if both drivers have it.
    pub fn new(row: &'a Row, upstream: &Figures, ours: &Figures) -> Option<Self> {
        let upstream = upstream.of(row.path, row.work)?;
        let ours = ours.of(row.path, row.work)?;
        Some(Self {
            row,
            upstream: upstream.total(),
            ours: ours.total(),
            upstream_share: upstream.share(),
            our_share: ours.share(),
            is_ratio: ours.is_ratio(),
        })
    }

    /// Ours over upstream's.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.ours, self.upstream)
    }

    /// The same of the shares.
    pub fn share_ratio(&self) -> Option<f64> {
        ratio(self.our_share, self.upstream_share)
    }

    /// Whether the target was met, if there is one.
    pub fn is_met(&self) -> Option<bool> {
        let at_most = |number: Option<f64>, limit| number.is_some_and(|number| number <= limit);
        Some(match self.row.target? {
            Total(limit) => at_most(self.ratio(), limit),
            Share(limit) => at_most(self.share_ratio(), limit),
            AtMost(limit) => at_most(self.ours, limit),
            AtLeast(limit) => self.ours.is_some_and(|ours| ours >= limit),
        })
    }
}

fn ratio(ours: Option<f64>, upstream: Option<f64>) -> Option<f64> {
    let (ours, upstream) = (ours?, upstream?);
    (upstream > 0.0).then(|| ours / upstream)
}
