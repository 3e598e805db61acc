// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The intended differences from upstream's driver: `Documentation/differences.csv`.

use std::io;

use wildmatch::WildMatch;

/// The ids of defects: one of these letters, and a number from 1.
const DEFECTS: [(char, u32); 2] = [('A', 19), ('R', 13)];
/// Takes the place of an id if upstream has no defect and our driver does more.
const EXTENSION: &str = "extension";
/// The first line of the list.
const HEADER: [&str; 5] = ["id", "behaviour", "upstream", "here", "cases"];

/// Returns the ids of all known defects of upstream's driver.
pub fn defects() -> impl Iterator<Item = String> {
    let ids = DEFECTS
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| (letter, number)));
    ids.map(|(letter, number)| format!("{letter}{number}"))
}

/// A line of the list.
struct Difference {
    id: String,
    patterns: Vec<Pattern>,
}

/// A name of cases or tests; `*` matches any characters.
struct Pattern {
    text: String,
    glob: WildMatch,
}

/// The list of differences.
pub struct Differences(Vec<Difference>);

impl Differences {
    /// Reads the list. The error describes an invalid line.
    pub fn read(text: impl io::Read) -> Result<Self, String> {
        let mut reader = csv::Reader::from_reader(text);
        let header = reader.headers().map_err(|error| error.to_string())?;
        if header != HEADER.as_slice() {
            return Err(format!("the columns are {header:?}, expected {HEADER:?}"));
        }
        let lines = reader.records().map(|line| {
            let line = line.map_err(|error| error.to_string())?;
            difference(&line)
        });
        lines.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the ids under which a case or test is listed, each once.
    pub fn of(&self, name: &str) -> Vec<&str> {
        let mut ids = Vec::new();
        for difference in &self.0 {
            let listed = difference.patterns.iter().any(|p| p.glob.matches(name));
            if listed && !ids.contains(&difference.id.as_str()) {
                ids.push(&difference.id);
            }
        }
        ids
    }

    /// Returns the patterns that match none of `names`.
    pub fn unused(&self, names: &[&str]) -> Vec<&str> {
        let patterns = self.0.iter().flat_map(|difference| &difference.patterns);
        let unused = patterns.filter(|p| !names.iter().any(|name| p.glob.matches(name)));
        unused.map(|pattern| pattern.text.as_str()).collect()
    }
}

fn difference(line: &csv::StringRecord) -> Result<Difference, String> {
    let id = line[0].to_owned();
    if id != EXTENSION && !defects().any(|defect| defect == id) {
        return Err(format!("'{id}' is not an id: {line:?}"));
    }
    // The patterns are literals in reStructuredText, as `*` has a meaning there.
    let words = line[4]
        .split_whitespace()
        .map(|word| word.trim_matches('`'));
    let patterns: Vec<_> = words
        .map(|word| Pattern {
            text: word.to_owned(),
            glob: WildMatch::new(word),
        })
        .collect();
    if patterns.is_empty() {
        return Err(format!("no cases: {line:?}"));
    }
    Ok(Difference { id, patterns })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "id,behaviour,upstream,here,cases\n\
        A7,\"range, wrapping\",rounded,``-EINVAL``,``SET_MEMSEG.*_wraps`` ``badinput.segment_*``\n\
        extension,flags,ignored,``-EINVAL``,``IRQFD.flags_*``\n\
        A5,,,,``SET_MEMSEG.ram_wraps``\n";

    fn error(text: &str) -> String {
        Differences::read(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn patterns_match_whole_names() {
        let list = Differences::read(LIST.as_bytes()).unwrap();
        assert_eq!(list.of("SET_MEMSEG.ram_wraps"), ["A7", "A5"]);
        assert_eq!(list.of("badinput.segment_huge"), ["A7"]);
        assert_eq!(list.of("IRQFD.flags_0x2"), ["extension"]);
        assert!(list.of("UNSET_MEMSEG.ram_wraps").is_empty());
        assert!(list.of("SET_MEMSEG.ram_wraps_not").is_empty());
    }

    #[test]
    fn patterns_without_a_case_are_found() {
        let list = Differences::read(LIST.as_bytes()).unwrap();
        let names = ["SET_MEMSEG.ram_wraps", "IRQFD.flags_0x2"];
        assert_eq!(list.unused(&names), ["badinput.segment_*"]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(error("id,behaviour\n").starts_with("the columns"));
        assert!(error("id,behaviour,upstream,here,cases\nA20,,,,x\n").contains("not an id"));
        assert!(error("id,behaviour,upstream,here,cases\nA1,,,,\n").contains("no cases"));
        assert!(!error("id,behaviour,upstream,here,cases\nA1,,,\n").is_empty());
    }

    #[test]
    fn defects_are_numbered() {
        let all: Vec<_> = defects().collect();
        assert_eq!(all.len(), 32);
        assert_eq!((all[0].as_str(), all[31].as_str()), ("A1", "R13"));
    }
}
