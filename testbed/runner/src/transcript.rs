// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Lines of the `transcript` program: `COMMAND.case | result | what else can be seen | hypercalls`.

/// What the parts of a line are, behind its name.
const PARTS: [&str; 3] = ["result", "seen", "hypercalls"];

/// One line.
pub struct Case {
    /// `COMMAND.case`.
    pub name: String,
    parts: [String; 3],
}

impl Case {
    /// Reads a line; `None` if it is none.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, " | ").map(|word| word.trim().to_owned());
        let name = words.next()?;
        let (command, case) = name.split_once('.')?;
        let parts = [words.next()?, words.next()?, words.next()?];
        (!command.is_empty() && !case.is_empty()).then_some(Self { name, parts })
    }

    /// Where two differ, in words.
    pub fn differences(&self, ours: &Self) -> Vec<String> {
        let parts = PARTS.iter().zip(self.parts.iter().zip(&ours.parts));
        let differing = parts.filter(|(_, (upstream, here))| upstream != here);
        let told = differing.map(|(what, (upstream, here))| {
            format!("{what}: {}, here {}", cut(upstream), cut(here))
        });
        told.collect()
    }
}

/// So much of it that a line stays readable.
fn cut(text: &str) -> String {
    const SHOWN: usize = 200;
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
    fn differences_are_told_part_by_part() {
        let upstream = Case::parse("PM.a | 0 | - | X(1)=0").unwrap();
        let ours = Case::parse("PM.a | EINVAL | - | -").unwrap();
        assert_eq!(
            upstream.differences(&ours),
            ["result: 0, here EINVAL", "hypercalls: X(1)=0, here -"]
        );
        assert!(ours.differences(&ours).is_empty());
    }

    #[test]
    fn long_parts_are_cut() {
        assert_eq!(cut(&"x".repeat(300)).len(), 203);
    }
}
