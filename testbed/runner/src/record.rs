// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The recorded results of both drivers.
//!
//! | file | contents |
//! |---|---|
//! | `ours.txt` | lines of the `transcript` program on our driver |
//! | `VERSION/transcript.txt` | the same of upstream's driver in that version of Linux |
//! | `VERSION/tests.csv` | the outcome of each selftest there, and the message of a crash |
//!
//! All files are sorted by name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    compare::group,
    ktap::{Outcome, Results},
    transcript::Case,
};

const OURS: &str = "ours.txt";
const TRANSCRIPT: &str = "transcript.txt";
const TESTS: &str = "tests.csv";
/// The first line of [`TESTS`].
const HEADER: [&str; 3] = ["test", "outcome", "crash"];
/// The outcomes in [`TESTS`].
const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Passed, "passes"),
    (Outcome::Failed, "fails"),
    (Outcome::Hung, "hangs"),
    (Outcome::Skipped, "skipped"),
    (Outcome::EndedMachine, "ends the machine"),
    (Outcome::Varies, "varies"),
];

/// A version of Linux, without the suffix of a distribution.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(Vec<u32>);

impl Version {
    /// Parses the version at the beginning of a kernel release or of a directory's name.
    pub fn parse(release: &str) -> Option<Self> {
        let end = release
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .unwrap_or(release.len());
        let numbers = release[..end].trim_end_matches('.').split('.');
        let numbers: Result<Vec<u32>, _> = numbers.map(str::parse).collect();
        numbers.ok().map(Self)
    }

    fn name(&self) -> String {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        numbers.join(".")
    }
}

/// The record: a directory.
pub struct Record {
    directory: PathBuf,
    version: Version,
}

impl Record {
    /// Opens the record for a kernel of that release.
    pub fn new(directory: &Path, release: &str) -> io::Result<Self> {
        let version = Version::parse(release)
            .ok_or_else(|| io::Error::other(format!("'{release}' is not a kernel release")))?;
        let directory = directory.to_owned();
        Ok(Self { directory, version })
    }

    /// Reads the results of upstream's driver, with a remark if they are of another version of
    /// Linux.
    pub fn upstream(&self) -> io::Result<(Upstream, Option<String>)> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.path().is_dir() {
                versions.extend(Version::parse(&entry.file_name().to_string_lossy()));
            }
        }
        let nearest = nearest(versions, &self.version).ok_or_else(|| {
            io::Error::other("there is no record of upstream's driver: `make compare` makes one")
        })?;
        let remark = (nearest != self.version).then(|| {
            format!(
                "There is no record of upstream's driver on Linux {}: this is the one of {} \
                 (`make compare` makes one).",
                self.version.name(),
                nearest.name()
            )
        });
        let upstream = Upstream::read(&self.directory.join(nearest.name()))?;
        Ok((upstream, remark))
    }

    /// Reads the results of upstream's driver on this version of Linux, if they are recorded.
    pub fn of_this_version(&self) -> io::Result<Upstream> {
        let directory = self.directory.join(self.version.name());
        match directory.is_dir() {
            true => Upstream::read(&directory),
            false => Ok(Upstream::default()),
        }
    }

    /// Records the results of upstream's driver on this version of Linux.
    pub fn write_upstream(&self, upstream: &Upstream) -> io::Result<PathBuf> {
        let directory = self.directory.join(self.version.name());
        fs::create_dir_all(&directory)?;
        upstream.write(&directory)?;
        Ok(directory)
    }

    /// Reads the lines of our driver; none if nothing is recorded.
    pub fn ours(&self) -> io::Result<Lines> {
        let file = self.directory.join(OURS);
        match file.exists() {
            true => Lines::read(&file),
            false => Ok(Lines::default()),
        }
    }

    /// Records the lines of our driver.
    pub fn write_ours(&self, lines: &Lines) -> io::Result<()> {
        lines.write(&self.directory.join(OURS))
    }
}

/// Returns the newest version that is not newer than `wanted`, or else the oldest one.
fn nearest(mut versions: Vec<Version>, wanted: &Version) -> Option<Version> {
    versions.sort();
    let older = versions.iter().rfind(|version| *version <= wanted);
    older.or(versions.first()).cloned()
}

/// The lines of the `transcript` program, by the names of their cases.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Lines(BTreeMap<String, String>);

impl Lines {
    /// Reads the lines of a report. The error names a case that occurs twice.
    pub fn new(lines: &[String]) -> Result<Self, String> {
        let mut by_name = BTreeMap::new();
        for line in lines {
            let case = Case::parse(line).ok_or_else(|| format!("not a line of a case: {line}"))?;
            if by_name.insert(case.name.clone(), line.clone()).is_some() {
                return Err(format!("two cases are called {}", case.name));
            }
        }
        Ok(Self(by_name))
    }

    fn read(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file).map_err(|error| named(file, &error))?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        Self::new(&lines).map_err(|error| named(file, &error))
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let lines = self.0.values().map(|line| format!("{line}\n"));
        fs::write(file, lines.collect::<String>())
    }

    /// Returns all lines in order.
    pub fn all(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }

    /// Returns whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the changes. If not all cases ran (`complete`), a missing case is not a change.
    pub fn changes(&self, now: &Self, complete: bool) -> Vec<Change> {
        changes(&self.0, &now.0, complete)
    }

    /// Keeps the recorded line where another attempt has the same line.
    fn keep(&mut self, recorded: &Self, tries: &[Self]) {
        for (name, line) in &mut self.0 {
            let known = recorded.0.get(name);
            if let Some(known) = known.filter(|known| {
                let mut lines = tries.iter().filter_map(|lines| lines.0.get(name));
                lines.any(|line| line == *known)
            }) {
                line.clone_from(known);
            }
        }
    }
}

/// A difference from the record.
#[derive(PartialEq, Eq, Debug)]
pub struct Change {
    pub name: String,
    pub before: Option<String>,
    pub now: Option<String>,
}

impl Change {
    /// Returns whether it is a test, not a case of the transcript.
    pub fn is_test(&self) -> bool {
        let mut lines = [&self.before, &self.now].into_iter().flatten();
        lines.all(|line| Case::parse(line).is_none())
    }

    /// Describes the change in three lines.
    pub fn describe(&self) -> String {
        let none = "nothing is recorded";
        let gone = "is not there";
        let Self { name, before, now } = self;
        format!(
            "{name}\n    recorded: {}\n    now:      {}",
            before.as_deref().unwrap_or(none),
            now.as_deref().unwrap_or(gone)
        )
    }
}

fn changes(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    complete: bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, line) in now {
        if before.get(name) != Some(line) {
            changes.push(Change {
                name: name.clone(),
                before: before.get(name).cloned(),
                now: Some(line.clone()),
            });
        }
    }
    for (name, line) in before.iter().filter(|_| complete) {
        if !now.contains_key(name) {
            changes.push(Change {
                name: name.clone(),
                before: Some(line.clone()),
                now: None,
            });
        }
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

/// The outcome of a test on upstream's driver.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ended {
    outcome: Outcome,
    /// The last message of the kernel, if the machine ended.
    crash: String,
}

/// The results of upstream's driver.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Upstream {
    lines: Lines,
    tests: BTreeMap<String, Ended>,
}

impl Upstream {
    /// Returns the results of a run.
    pub fn new(results: &Results) -> Result<Self, String> {
        let crashes: HashMap<_, _> = results.crashes.iter().cloned().collect();
        let tests = results.tests.iter().map(|(name, outcome)| {
            let crash = match outcome {
                Outcome::EndedMachine => crashes.get(name).cloned().unwrap_or_default(),
                _ => String::new(),
            };
            let outcome = *outcome;
            (name.clone(), Ended { outcome, crash })
        });
        Ok(Self {
            lines: Lines::new(&results.transcript)?,
            tests: tests.collect(),
        })
    }

    fn read(directory: &Path) -> io::Result<Self> {
        let file = directory.join(TESTS);
        let mut tests = BTreeMap::new();
        let mut reader = csv::Reader::from_path(&file).map_err(|error| named(&file, &error))?;
        let header = reader.headers().map_err(|error| named(&file, &error))?;
        if *header != HEADER[..] {
            return Err(named(&file, &"the first line does not name the columns"));
        }
        for line in reader.records() {
            let line = line.map_err(|error| named(&file, &error))?;
            let word = line.get(1).unwrap_or_default();
            let outcome = OUTCOMES.iter().find(|(_, known)| *known == word);
            let outcome = outcome.ok_or_else(|| named(&file, &format!("'{word}'")))?.0;
            let crash = line.get(2).unwrap_or_default().to_owned();
            tests.insert(line[0].to_owned(), Ended { outcome, crash });
        }
        if tests.is_empty() {
            return Err(named(&file, &"there is no test"));
        }
        Ok(Self {
            lines: Lines::read(&directory.join(TRANSCRIPT))?,
            tests,
        })
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
        self.lines.write(&directory.join(TRANSCRIPT))?;
        let mut writer = csv::Writer::from_path(directory.join(TESTS))?;
        writer.write_record(HEADER)?;
        for (name, ended) in &self.tests {
            writer.write_record([name, word(ended.outcome), &ended.crash])?;
        }
        writer.flush()
    }

    /// Returns the results as a run would report them.
    pub fn results(&self) -> Results {
        let tests = self.tests.iter();
        Results {
            tests: tests
                .map(|(name, ended)| (name.clone(), ended.outcome))
                .collect(),
            transcript: self.lines.all(),
            ..Results::default()
        }
    }

    /// Returns the changes between `self` and another result.
    ///
    /// The messages of a crash may differ. If not all programs ran, a missing result is not a
    /// change.
    pub fn changes(&self, now: &Self, complete: bool) -> Vec<Change> {
        let mut changes = changes(&self.outcomes(), &now.outcomes(), complete);
        let complete = complete || !now.lines.is_empty();
        changes.extend(self.lines.changes(&now.lines, complete));
        changes
    }

    fn outcomes(&self) -> BTreeMap<String, String> {
        let tests = self.tests.iter();
        tests
            .map(|(name, ended)| (name.clone(), word(ended.outcome).to_owned()))
            .collect()
    }

    fn programs(&self) -> impl Iterator<Item = &str> {
        self.tests.keys().map(|name| group(name))
    }

    /// Combines the results of several attempts into a record.
    ///
    /// A test that ended as recorded in one of them has not changed. A test that ended in different
    /// ways varies. Results that only the record has remain unless `complete`.
    pub fn settle(recorded: &Self, tries: &[Self], complete: bool) -> Self {
        let mut settled = Self::default();
        for attempt in tries {
            for (name, ended) in &attempt.tests {
                let known = settled.tests.entry(name.clone()).or_insert(ended.clone());
                if known.outcome != ended.outcome {
                    known.outcome = Outcome::Varies;
                }
            }
        }
        for (name, ended) in &mut settled.tests {
            let Some(known) = recorded.tests.get(name) else {
                continue;
            };
            let mut ends = tries.iter().filter_map(|attempt| attempt.tests.get(name));
            if known.outcome == Outcome::Varies || ends.any(|end| end.outcome == known.outcome) {
                ended.clone_from(known);
            }
        }
        let lines: Vec<_> = tries.iter().map(|attempt| attempt.lines.clone()).collect();
        if let Some(longest) = lines.iter().max_by_key(|lines| lines.0.len()) {
            settled.lines.clone_from(longest);
            settled.lines.keep(&recorded.lines, &lines);
        }
        if settled.lines.is_empty() && !complete {
            settled.lines.clone_from(&recorded.lines);
        }
        if !complete {
            let ran: BTreeSet<_> = tries.iter().flat_map(Self::programs).collect();
            let others = recorded.tests.iter();
            let others = others.filter(|(name, _)| !ran.contains(group(name)));
            settled
                .tests
                .extend(others.map(|(name, ended)| (name.clone(), ended.clone())));
        }
        settled
    }
}

fn word(outcome: Outcome) -> &'static str {
    let known = OUTCOMES.iter().find(|(known, _)| *known == outcome);
    known.map_or("", |(_, word)| word)
}

fn named(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{EndedMachine, Failed, Passed, Varies};

    fn lines(lines: &[&str]) -> Lines {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        Lines::new(&lines).unwrap()
    }

    fn upstream(tests: &[(&str, Outcome)]) -> Upstream {
        let tests = tests.iter().map(|(name, outcome)| {
            let ended = Ended {
                outcome: *outcome,
                crash: String::new(),
            };
            ((*name).to_owned(), ended)
        });
        Upstream {
            tests: tests.collect(),
            ..Upstream::default()
        }
    }

    #[test]
    fn versions_are_numbers() {
        let version = |text| Version::parse(text).unwrap();
        assert_eq!(version("7.3.4-acrn"), version("7.3.4"));
        assert!(version("7.10") > version("7.9.9"));
        assert_eq!(version("7.3.4+").name(), "7.3.4");
        assert!(Version::parse("next").is_none());
    }

    #[test]
    fn the_nearest_record_is_taken() {
        let take = |wanted| {
            let versions = ["7.10", "7.2.1", "7.3"].map(|text| Version::parse(text).unwrap());
            let wanted = Version::parse(wanted).unwrap();
            nearest(versions.to_vec(), &wanted).unwrap().name()
        };
        assert_eq!(take("7.3"), "7.3");
        assert_eq!(take("7.9"), "7.3");
        assert_eq!(take("8.0"), "7.10");
        assert_eq!(take("7.1"), "7.2.1");
    }

    #[test]
    fn changes_of_our_driver_are_found() {
        let before = lines(&["X.a | 0 | - | -", "X.b | 0 | - | -", "X.c | 0 | - | -"]);
        let now = lines(&["X.d | 0 | - | -", "X.b | EIO | - | -", "X.a | 0 | - | -"]);
        let names = |complete| -> Vec<_> {
            let changes = before.changes(&now, complete);
            changes.into_iter().map(|change| change.name).collect()
        };
        assert_eq!(names(true), ["X.b", "X.c", "X.d"]);
        assert_eq!(names(false), ["X.b", "X.d"]);
        let text = before.changes(&now, true)[0].describe();
        assert!(text.contains("recorded: X.b | 0") && text.contains("now:      X.b | EIO"));
        assert!(before.changes(&before, true).is_empty());
    }

    #[test]
    fn cases_have_names_of_their_own() {
        let twice = ["X.a | 0 | - | -".to_owned(), "X.a | 1 | - | -".to_owned()];
        assert!(Lines::new(&twice).is_err());
    }

    #[test]
    fn what_ended_as_recorded_once_has_not_changed() {
        let recorded = upstream(&[("io.a", Failed), ("io.b", Passed), ("io.c", Varies)]);
        let first = upstream(&[("io.a", Passed), ("io.b", Failed), ("io.c", Passed)]);
        let second = upstream(&[("io.a", Failed), ("io.b", EndedMachine)]);
        let settled = Upstream::settle(&recorded, &[first, second], true);
        let expected = upstream(&[("io.a", Failed), ("io.b", Varies), ("io.c", Varies)]);
        assert_eq!(settled, expected);
        let changes = recorded.changes(&settled, true);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].now.as_deref(), Some("varies"));
    }

    #[test]
    fn programs_that_did_not_run_stay_recorded() {
        let recorded = upstream(&[
            ("io.gone", Failed),
            ("races.b", Passed),
            ("races.c", Failed),
        ]);
        let now = upstream(&[("io.a", Passed)]);
        let settled = Upstream::settle(&recorded, &[now], false);
        let expected = [("io.a", Passed), ("races.b", Passed), ("races.c", Failed)];
        assert_eq!(settled, upstream(&expected));
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record::new(directory.path(), "7.3.4-x").unwrap();
        assert!(record.upstream().is_err());
        let mut written = upstream(&[("io.a", EndedMachine), ("io.b", Varies)]);
        written.lines = lines(&["X.a | 0 | - | -"]);
        written.tests.get_mut("io.a").unwrap().crash = "BUG: a, b".to_owned();
        record.write_upstream(&written).unwrap();
        assert_eq!(record.upstream().unwrap(), (written, None));
        let other = Record::new(directory.path(), "7.4").unwrap();
        assert!(other.upstream().unwrap().1.unwrap().contains("7.3.4"));
        assert_eq!(other.of_this_version().unwrap(), Upstream::default());
    }

    #[test]
    fn a_record_with_a_part_missing_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record::new(directory.path(), "7.3.4").unwrap();
        assert!(record.ours().unwrap().is_empty());
        let mut written = upstream(&[("io.a", Passed)]);
        written.lines = lines(&["X.a | 0 | - | -"]);
        record.write_upstream(&written).unwrap();
        let tests = directory.path().join("7.3.4").join(TESTS);
        for text in ["", "test,outcome,crash\n", "io.a,passes,\n"] {
            fs::write(&tests, text).unwrap();
            assert!(record.upstream().is_err(), "{text}");
        }
        record.write_upstream(&written).unwrap();
        assert!(record.upstream().is_ok());
        fs::remove_file(directory.path().join("7.3.4").join(TRANSCRIPT)).unwrap();
        assert!(record.upstream().is_err());
    }
}
