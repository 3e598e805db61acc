// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What is compared, and what our driver is to reach.

use super::figures::Figures;

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
            Self::Total(limit) => format!("total ≤ {limit:.2}"),
            Self::Share(limit) => format!("share ≤ {limit:.2}"),
            Self::AtMost(limit) => format!("ours ≤ {limit}"),
            Self::AtLeast(limit) => format!("ours ≥ {limit}"),
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
    row("P1", "INJECT_MSI", "INJECT_MSI", Some(Target::Share(0.90))),
    row(
        "P1",
        "SET_IRQLINE",
        "SET_IRQLINE",
        Some(Target::Share(0.90)),
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
            Target::Total(limit) => at_most(self.ratio(), limit),
            Target::Share(limit) => at_most(self.share_ratio(), limit),
            Target::AtMost(limit) => at_most(self.ours, limit),
            Target::AtLeast(limit) => self.ours.is_some_and(|ours| ours >= limit),
        })
    }
}

fn ratio(ours: Option<f64>, upstream: Option<f64>) -> Option<f64> {
    let (ours, upstream) = (ours?, upstream?);
    (upstream > 0.0).then(|| ours / upstream)
}
