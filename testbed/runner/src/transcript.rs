// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Lines of the `transcript` program: `COMMAND.case | result | other effects | hypercalls`.

use std::fmt;

/// The names of the parts of a line after the name of the case.
pub const PARTS: [&str; 3] = ["result", "seen", "hypercalls"];

/// A line.
pub struct Case {
    /// `COMMAND.case`.
    pub name: String,
    parts: [String; 3],
}

impl Case {
    /// Parses a line. Returns `None` if it is not a line of a case.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, " | ").map(|word| word.trim().to_owned());
        let name = words.next()?;
        let (command, case) = name.split_once('.')?;
        let parts = [words.next()?, words.next()?, words.next()?];
        (!command.is_empty() && !case.is_empty()).then_some(Self { name, parts })
    }

    /// Returns the differences between two cases.
    pub fn differences(&self, ours: &Self) -> Vec<Difference> {
        let parts = PARTS.iter().zip(self.parts.iter().zip(&ours.parts));
        let differing = parts.filter(|(_, (upstream, here))| upstream != here);
        let lines = differing.map(|(part, (upstream, here))| {
            let common = common(upstream, here);
            Difference {
                part,
                upstream: cut(&upstream[common..]),
                here: cut(&here[common..]),
            }
        });
        lines.collect()
    }
}

/// A part of a line that differs between the drivers.
#[derive(PartialEq, Eq, Debug)]
pub struct Difference {
    /// One of [`PARTS`].
    pub part: &'static str,
    upstream: String,
    here: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            upstream,
            here,
        } = self;
        write!(f, "{part}: {upstream}")?;
        match upstream.len() + here.len() > SHORT {
            true => write!(
                f,
                "\n    {:>width$}  {here}",
                "here",
                width = part.len() - 1
            ),
            false => write!(f, ", here {here}"),
        }
    }
}

/// The maximum length of two texts on one line.
const SHORT: usize = 80;
/// The maximum length of a text that is shown.
const SHOWN: usize = 160;

/// Returns the length of the hypercalls with which both begin.
fn common(upstream: &str, here: &str) -> usize {
    const SEPARATOR: &str = "; ";
    let same = upstream
        .bytes()
        .zip(here.bytes())
        .take_while(|(a, b)| a == b);
    let same = same.count();
    let ends = upstream
        .match_indices(SEPARATOR)
        .map(|(at, _)| at + SEPARATOR.len());
    ends.take_while(|end| *end <= same).last().unwrap_or(0)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let case = Case::parse("PM.a | EINVAL | - | X(1)=0; Y(2)=0").unwrap();
        assert_eq!(case.name, "PM.a");
        assert_eq!(case.parts, ["EINVAL", "-", "X(1)=0; Y(2)=0"]);
        for bad in [
            "",
            "PM.a",
            "PM.a | 0 | -",
            "PM | 0 | - | -",
            ".a | 0 | - | -",
        ] {
            assert!(Case::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn differences_are_listed_by_part() {
        let upstream = Case::parse("PM.a | 0 | - | X(1)=0").unwrap();
        let ours = Case::parse("PM.a | EINVAL | - | -").unwrap();
        let lines: Vec<_> = upstream
            .differences(&ours)
            .iter()
            .map(Difference::to_string)
            .collect();
        assert_eq!(
            lines,
            ["result: 0, here EINVAL", "hypercalls: X(1)=0, here -"]
        );
        assert!(ours.differences(&ours).is_empty());
    }

    #[test]
    fn what_hypercalls_have_in_common_is_left_out() {
        let upstream = Case::parse("PM.a | 0 | - | X(1)=0; Y(1)=0; Z(1)=EPERM").unwrap();
        let ours = Case::parse("PM.a | 0 | - | X(1)=0; Y(1)=0; Z(1)=0").unwrap();
        let lines = upstream.differences(&ours)[0].to_string();
        assert_eq!(lines, "hypercalls: Z(1)=EPERM, here Z(1)=0");
    }

    #[test]
    fn long_parts_are_cut() {
        assert_eq!(cut(&"x".repeat(300)).len(), SHOWN + 3);
    }
}
