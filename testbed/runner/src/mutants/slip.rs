// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A slip: a small patch of the driver, with a header that describes it.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs, io,
    path::{Path, PathBuf},
};

/// A slip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slip {
    /// The directory and the name of the file, without its extension: `AREA/NAME`.
    pub name: String,
    /// The patch with its header.
    pub path: PathBuf,
    /// The file of the driver that the patch changes.
    pub file: String,
    /// Whether the slip causes a race.
    pub is_concurrency: bool,
    /// The programs that could notice the slip, in order.
    pub programs: Vec<String>,
    /// The result that its author expects.
    pub expected: Expected,
}

/// The expected result, by the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Some test fails.
    Killed,
    /// These tests fail: programs, and tests of them.
    SeenBy(Vec<(String, Vec<String>)>),
    /// No test fails, for this reason.
    Survives(String),
    /// The driver behaves as before, for this reason.
    Equivalent(String),
}

impl Slip {
    /// Returns the area: the directory of the slip.
    pub fn area(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Returns whether `only`, which is `AREA` or `AREA/NAME`, selects this slip.
    pub fn is_meant_by(&self, only: &str) -> bool {
        let only = only.strip_suffix(".patch").unwrap_or(only);
        self.name == only || self.area() == only
    }

    /// Returns the names of all programs that may run for the slip.
    pub fn all_programs(&self) -> impl Iterator<Item = &str> {
        let expected: &[_] = match &self.expected {
            Expected::SeenBy(programs) => programs,
            _ => &[],
        };
        let expected = expected.iter().map(|(program, _)| program);
        self.programs.iter().chain(expected).map(String::as_str)
    }

    /// Parses the text of a file.
    fn parse(name: &str, path: &Path, text: &str) -> Result<Self, String> {
        let (header, patch) = text
            .split_once("\n\n")
            .ok_or("no empty line after the header")?;
        let fields = fields(header)?;
        let field = |key: &str| {
            let mut values = fields.iter().filter(|(known, _)| known == key);
            match (values.next(), values.next()) {
                (Some((_, value)), None) if !value.is_empty() => Ok(Some(value.as_str())),
                (None, _) => Ok(None),
                _ => Err(format!("`{key}:` is empty, or is there twice")),
            }
        };
        let needed = |key| field(key)?.ok_or(format!("no line `{key}:`"));
        for key in ["What", "Where", "Why"] {
            needed(key)?;
        }
        let is_concurrency = match field("Kind")? {
            None => false,
            Some("concurrency") => true,
            Some(other) => return Err(format!("no kind is called {other}")),
        };
        let expected = match (field("Seen-by")?, field("Survives")?, field("Equivalent")?) {
            (None, None, None) => Expected::Killed,
            (Some(tests), None, None) => Expected::SeenBy(by_program(tests)?),
            (None, Some(reason), None) => Expected::Survives(reason.to_owned()),
            (None, None, Some(reason)) => Expected::Equivalent(reason.to_owned()),
            _ => return Err("only one of Seen-by, Survives and Equivalent can be right".to_owned()),
        };
        let changed = patch.lines().find_map(|line| line.strip_prefix("--- a/"));
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            file: changed.ok_or("no line `--- a/FILE`")?.trim().to_owned(),
            is_concurrency,
            programs: words(needed("Programs")?).map(str::to_owned).collect(),
            expected,
        })
    }
}

const KEYS: [&str; 8] = [
    "What",
    "Where",
    "Why",
    "Kind",
    "Programs",
    "Seen-by",
    "Survives",
    "Equivalent",
];

/// Parses the fields of a header. A line that begins with a blank continues the line before.
fn fields(header: &str) -> Result<Vec<(String, String)>, String> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in header.lines() {
        match (line.split_once(':'), fields.last_mut()) {
            (_, Some((_, value))) if line.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (Some((key, value)), _) if KEYS.contains(&key) => {
                fields.push((key.to_owned(), value.trim().to_owned()));
            }
            _ => return Err(format!("no line of a header: {line}")),
        }
    }
    Ok(fields)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}

/// Parses tests by program: `PROGRAM.TEST`, and more tests of that program as `TEST`.
fn by_program(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let mut programs: Vec<(String, Vec<String>)> = Vec::new();
    for word in words(text) {
        let test = match word.split_once('.') {
            None => word,
            Some((program, test)) => {
                if !programs.iter().any(|(known, _)| known == program) {
                    programs.push((program.to_owned(), Vec::new()));
                }
                // The last program is the one that a plain `TEST` belongs to.
                let index = programs.iter().position(|(known, _)| known == program);
                let last = programs.len() - 1;
                programs.swap(index.unwrap_or(last), last);
                test
            }
        };
        let (_, tests) = programs
            .last_mut()
            .ok_or(format!("{word} has no program"))?;
        tests.push(test.to_owned());
    }
    Ok(programs)
}

/// Reads the slips below a directory, by name. Also returns the errors of invalid slips.
pub fn read_all(directory: &Path) -> io::Result<(Vec<Slip>, Vec<String>)> {
    let mut slips = Vec::new();
    let mut problems = Vec::new();
    // The names by change: a duplicate slip would count twice.
    let mut known = HashMap::new();
    for area in sorted(directory)?.iter().filter(|path| path.is_dir()) {
        for path in sorted(area)? {
            let Some(name) = name_of(directory, &path) else {
                problems.push(format!("{}: no .patch", path.display()));
                continue;
            };
            let text = fs::read_to_string(&path)?;
            match Slip::parse(&name, &path, &text) {
                Ok(slip) => slips.push(slip),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
            match known.entry(change(&text)) {
                Entry::Vacant(entry) => drop(entry.insert(name)),
                Entry::Occupied(entry) => {
                    problems.push(format!("{name}: the same as {}", entry.get()));
                }
            }
        }
    }
    Ok((slips, problems))
}

/// Returns the change of a slip: its lines without the header and without line numbers.
fn change(text: &str) -> String {
    let patch = text.split_once("\n\n").map_or(text, |(_, patch)| patch);
    let lines = patch.lines().filter(|line| !line.starts_with("@@"));
    lines.collect::<Vec<_>>().join("\n")
}

fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<_> = entries.collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn name_of(directory: &Path, path: &Path) -> Option<String> {
    let name = path.strip_prefix(directory).ok()?.to_str()?;
    name.strip_suffix(".patch").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "What: it forgets\n  the rest.\nWhere: a.rs, f\nWhy: hurry.\nPrograms: io races\n";
    const PATCH: &str = "\n--- a/ioreq/page.rs\n+++ b/ioreq/page.rs\n@@ -1 +1 @@\n-a\n+b\n";

    fn parse(more: &str) -> Result<Slip, String> {
        let text = format!("{HEADER}{more}{PATCH}");
        Slip::parse("ioreq/x", Path::new("ioreq/x.patch"), &text)
    }

    #[test]
    fn a_header_is_read() {
        let slip = parse("Kind: concurrency\nSeen-by: io.a,b memory.c, io.d\n").unwrap();
        assert_eq!(
            (slip.area(), slip.file.as_str()),
            ("ioreq", "ioreq/page.rs")
        );
        assert!(slip.is_concurrency);
        assert_eq!(slip.programs, ["io", "races"]);
        let tests = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = vec![
            ("memory".to_owned(), tests(&["c"])),
            ("io".to_owned(), tests(&["a", "b", "d"])),
        ];
        assert_eq!(slip.expected, Expected::SeenBy(expected));
        assert_eq!(parse("").unwrap().expected, Expected::Killed);
        let survivor = parse("Survives: no hook\n   for it.\n").unwrap();
        assert_eq!(
            survivor.expected,
            Expected::Survives("no hook for it.".to_owned())
        );
    }

    #[test]
    fn headers_that_make_no_sense() {
        for more in [
            "Survives:\n",
            "Kind: slow\n",
            "Whatever: x\n",
            "Why: again\n",
            "Seen-by: a\n",
            "Seen-by: io.a\nEquivalent: yes\n",
        ] {
            assert!(parse(more).is_err(), "{more}");
        }
        assert!(Slip::parse("x/y", Path::new(""), &format!("What: x\n{PATCH}")).is_err());
    }

    #[test]
    fn a_slip_that_is_there_twice_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("io/a.patch", &format!("{HEADER}{PATCH}"));
        write(
            "mm/b.patch",
            &format!("{HEADER}{}", PATCH.replace("+b", "+c")),
        );
        assert_eq!(read_all(directory.path()).unwrap().1, [""; 0]);
        let moved = PATCH.replace("@@ -1 +1 @@", "@@ -2 +2 @@");
        write("mm/c.patch", &format!("Kind: concurrency\n{HEADER}{moved}"));
        let (slips, problems) = read_all(directory.path()).unwrap();
        assert_eq!(slips.len(), 3);
        assert_eq!(problems, ["mm/c: the same as io/a"]);
    }

    #[test]
    fn only_names_an_area_or_a_slip() {
        let slip = parse("").unwrap();
        for (only, is_meant) in [
            ("ioreq", true),
            ("ioreq/x", true),
            ("ioreq/x.patch", true),
            ("io", false),
            ("ioreq/", false),
            ("x", false),
        ] {
            assert_eq!(slip.is_meant_by(only), is_meant, "{only}");
        }
    }
}
