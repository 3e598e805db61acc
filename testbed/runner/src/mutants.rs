// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Applies slips to the driver, one at a time, and checks that a test fails.
//!
//! Each slip is applied to a copy of the driver, which is built and tested until the first test
//! fails.

mod known;
pub mod slip;
mod table;
mod watcher;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io, mem,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

use crate::{
    IMPATIENT, IN_ORDER, REBOOT,
    cli::{Limits, Machine, Slips},
    qemu::{self, Boot},
    reboot, selftests_parameters,
};
use known::{Common, Known};
use slip::{Expected, Slip};
use table::{Table, Verdict};
use watcher::{Ran, Watcher};

/// Tests the slips that `only` selects, or all. Returns whether enough of them were noticed.
pub fn run(
    machine: &Machine,
    limits: &Limits,
    options: &Slips,
    only: Option<&str>,
    jobs: usize,
    fresh: bool,
) -> io::Result<bool> {
    let (slips, mut failures) = slip::read_all(&options.slips)?;
    let is_meant = |slip: &&Slip| only.is_none_or(|only| slip.is_meant_by(only));
    let slips: Vec<_> = slips.iter().filter(is_meant).collect();
    if slips.is_empty() {
        return Err(io::Error::other("there is no such slip"));
    }
    let queue = Queue {
        slips: Mutex::new(slips.iter().copied().enumerate()),
        all: slips.len(),
        verdicts: Mutex::new(BTreeMap::new()),
    };
    let common = &Common::new(machine, options)?;
    thread::scope(|scope| {
        let queue = &queue;
        let worker = |number| {
            let workshop = Workshop::new(machine, limits, options, number);
            scope.spawn(move || queue.work(machine, &workshop, common, fresh))
        };
        let workers: Vec<_> = (0..jobs.max(1)).map(worker).collect();
        workers.into_iter().try_for_each(|worker| {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            worker.join().unwrap_or_else(panicked)
        })
    })?;

    let verdicts = mem::take(&mut *lock(&queue.verdicts)).into_values();
    let table = Table(slips.iter().copied().zip(verdicts).collect());
    println!("\n{}", table.report());
    for note in table.notes() {
        println!("note: {note}");
    }
    failures.extend(table.failures(only.is_none()));
    failures.extend(unreliable(machine, limits, &table)?);
    for failure in &failures {
        println!("not ok {failure}");
    }
    Ok(failures.is_empty())
}

/// Returns whether each slip has a valid header and applies to the driver.
pub fn check(options: &Slips) -> io::Result<bool> {
    let (slips, mut problems) = slip::read_all(&options.slips)?;
    for slip in &slips {
        if let Err(error) = apply(slip, &options.source, &["--dry-run"])? {
            problems.push(format!("{}: {error}", slip.name));
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    println!("{} slips", slips.len());
    Ok(problems.is_empty() && !slips.is_empty())
}

/// Returns the tests that noticed a slip but also fail on the unchanged driver.
fn unreliable(machine: &Machine, limits: &Limits, table: &Table<'_>) -> io::Result<Vec<String>> {
    let mut programs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (program, test) in table.killers() {
        let tests = programs.entry(program).or_default();
        if !tests.iter().any(|known| known == test) {
            tests.push(test.to_owned());
        }
    }
    let machine = Machine {
        work: machine.work.join("driver"),
        ..machine.clone()
    };
    let mut failures = Vec::new();
    if !programs.is_empty() {
        println!("The tests that noticed a slip, on the unchanged driver:");
    }
    for (program, tests) in programs {
        let ran = run_selftests(&machine, limits, program, Some(&tests))?;
        match ran {
            Ran::Passed(ran) => match tests.iter().find(|test| !ran.contains(test)) {
                Some(test) => {
                    failures.push(format!("without any slip: {program}.{test} did not run"))
                }
                None => println!("{program}: {} tests pass", tests.len()),
            },
            Ran::Failed(why) | Ran::Undecided(why) => {
                failures.push(format!("without any slip: {why}"));
            }
        }
    }
    Ok(failures)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The slips to test, and those that are done.
struct Queue<I> {
    slips: Mutex<I>,
    all: usize,
    /// By index in the table.
    verdicts: Mutex<BTreeMap<usize, Verdict>>,
}

impl<'a, I: Iterator<Item = (usize, &'a Slip)>> Queue<I> {
    /// Tests slips until none is left, and prints each verdict.
    fn work(
        &self,
        machine: &Machine,
        workshop: &Workshop<'_>,
        common: &Common,
        fresh: bool,
    ) -> io::Result<()> {
        // The lock is not held while a slip is tested.
        let next = || lock(&self.slips).next();
        while let Some((index, slip)) = next() {
            let began = Instant::now();
            let known = Known::new(machine, slip, common)?;
            let (verdict, time) = match known.read().filter(|_| !fresh) {
                Some(verdict) => (verdict, "known".to_owned()),
                None => {
                    let verdict = workshop.judge(slip)?;
                    known.write(&verdict)?;
                    (verdict, format!("{} s", began.elapsed().as_secs()))
                }
            };
            let text = in_words(&verdict);
            let mut verdicts = lock(&self.verdicts);
            verdicts.insert(index, verdict);
            let (done, all) = (verdicts.len(), self.all);
            println!("{done:>3} of {all}  {time:>6}  {}: {text}", slip.name);
        }
        Ok(())
    }
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Killed { by, .. } => format!("killed by {by}"),
        Verdict::Survived => "survived".to_owned(),
        Verdict::Wrong(error) => format!("ERROR: {error}"),
    }
}

/// Lists all files below a directory, sorted.
fn files_below(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<_> = entries.collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => files_below(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// A directory in which drivers are built, and a machine on which they run.
struct Workshop<'a> {
    machine: Machine,
    limits: &'a Limits,
    options: &'a Slips,
    source: PathBuf,
    build: PathBuf,
}

impl<'a> Workshop<'a> {
    fn new(machine: &Machine, limits: &'a Limits, options: &'a Slips, number: usize) -> Self {
        let work = machine.work.join(format!("workshop-{number}"));
        let build = work.join("build");
        Self {
            machine: Machine {
                rust_driver: build.join("acrn.ko"),
                work: work.join("run"),
                ..machine.clone()
            },
            limits,
            options,
            source: work.join("source"),
            build,
        }
    }

    fn judge(&self, slip: &Slip) -> io::Result<Verdict> {
        if let Err(error) = self.make(slip)? {
            return Ok(Verdict::Wrong(error));
        }
        judge(slip, |program, tests| {
            run_selftests(&self.machine, self.limits, program, tests)
        })
    }

    /// Builds the driver with a slip. The inner error says why this fails.
    fn make(&self, slip: &Slip) -> io::Result<Result<(), String>> {
        self.restore()?;
        if let Err(error) = apply(slip, &self.source, &[])? {
            return Ok(Err(error));
        }
        fs::create_dir_all(&self.build)?;
        // If the build fails, the driver of the previous slip must not remain.
        let _ = fs::remove_file(&self.machine.rust_driver);
        let path = self.build.with_extension("log");
        let log = File::create(&path)?;
        let Some((program, words)) = self.options.make.split_first() else {
            return Err(io::Error::other("no command that builds the driver"));
        };
        let status = Command::new(program)
            .args(words)
            .arg("-C")
            .arg(&self.source)
            .arg(format!("MO={}", self.build.display()))
            .arg("modules")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()?;
        if status.success() {
            return Ok(Ok(()));
        }
        let log = fs::read(&path)?;
        let log = String::from_utf8_lossy(&log);
        let error = log.lines().find(|line| line.starts_with("error"));
        let error = error.unwrap_or("see its log");
        Ok(Err(format!("does not build: {error}: {}", path.display())))
    }

    /// Copies the driver's sources. A file without changes keeps its time stamp, for make.
    fn restore(&self) -> io::Result<()> {
        let mut files = Vec::new();
        files_below(&self.options.source, &mut files)?;
        for file in files {
            let relative = file.strip_prefix(&self.options.source);
            let copy = self.source.join(relative.map_err(io::Error::other)?);
            let content = fs::read(&file)?;
            if fs::read(&copy).ok().as_ref() == Some(&content) {
                continue;
            }
            fs::create_dir_all(copy.parent().unwrap_or(&self.source))?;
            fs::write(&copy, content)?;
            fs::set_permissions(&copy, fs::metadata(&file)?.permissions())?;
        }
        Ok(())
    }
}

/// Applies a slip to the driver in `source`. The inner error says why this fails.
fn apply(slip: &Slip, source: &Path, more: &[&str]) -> io::Result<Result<(), String>> {
    let path = slip.path.canonicalize()?;
    let output = Command::new("patch")
        .args(["-p1", "--batch", "--forward", "--reject-file=-"])
        .arg("--no-backup-if-mismatch")
        .args(more)
        .arg("-d")
        .arg(source)
        .arg("-i")
        .arg(path)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said
        .lines()
        .find(|line| line.contains("FAILED") || line.contains("can't"));
    Ok(match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "does not apply: {}",
            last.unwrap_or("patch failed")
        )),
    })
}

/// Runs the tests that could notice a slip, until one fails.
fn judge(
    slip: &Slip,
    mut run: impl FnMut(&str, Option<&[String]>) -> io::Result<Ran>,
) -> io::Result<Verdict> {
    let mut is_seen_as_expected = true;
    if let Expected::SeenBy(programs) = &slip.expected {
        for (program, tests) in programs {
            match run(program, Some(tests))? {
                Ran::Failed(by) => {
                    return Ok(Verdict::Killed {
                        by,
                        as_expected: true,
                    });
                }
                Ran::Undecided(why) => return Ok(Verdict::Wrong(why)),
                Ran::Passed(ran) => {
                    if let Some(missing) = tests.iter().find(|test| !ran.contains(test)) {
                        let why = format!("{program}.{missing} did not run");
                        return Ok(Verdict::Wrong(why));
                    }
                }
            }
        }
        is_seen_as_expected = false;
    }
    for program in &slip.programs {
        match run(program, None)? {
            Ran::Failed(by) => {
                return Ok(Verdict::Killed {
                    by,
                    as_expected: is_seen_as_expected,
                });
            }
            Ran::Undecided(why) => return Ok(Verdict::Wrong(why)),
            Ran::Passed(ran) if ran.is_empty() => {
                return Ok(Verdict::Wrong(format!("{program} ran no test")));
            }
            Ran::Passed(_) => {}
        }
    }
    Ok(Verdict::Survived)
}

/// Runs a program, or tests of it, on a machine of their own until one fails.
fn run_selftests(
    machine: &Machine,
    limits: &Limits,
    program: &str,
    tests: Option<&[String]>,
) -> io::Result<Ran> {
    if program == REBOOT {
        let failed = reboot::run(machine, limits)?.failed > 0;
        return Ok(match failed {
            true => Ran::Failed(REBOOT.to_owned()),
            false => Ran::Passed(vec![REBOOT.to_owned()]),
        });
    }
    let only = match tests {
        Some(tests) => format!("{program}.{}", tests.join(",")),
        None => program.to_owned(),
    };
    // The verdict on a slip must not depend on a random order. With many slips a test hangs.
    let parameters = selftests_parameters(&only) + IN_ORDER + IMPATIENT;
    let mut watcher = Watcher::new(program);
    let outcome = qemu::run(
        machine,
        Boot::MiniAcrn,
        limits,
        &parameters,
        false,
        &mut watcher,
    )?;
    Ok(watcher.judge(&outcome.faults))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(expected: Expected) -> Slip {
        Slip {
            name: "io/a".to_owned(),
            path: PathBuf::new(),
            file: "ioreq.rs".to_owned(),
            is_concurrency: false,
            programs: vec!["io".to_owned(), "races".to_owned()],
            expected,
        }
    }

    fn seen_by(tests: &[&str]) -> Expected {
        let tests = tests.iter().map(|test| (*test).to_owned()).collect();
        Expected::SeenBy(vec![("io".to_owned(), tests)])
    }

    /// Returns the verdict on a slip, and the tests that ran for it, if each test in `failing`
    /// fails.
    fn judge_with(expected: Expected, failing: &[&str]) -> (Verdict, Vec<String>) {
        let mut asked = Vec::new();
        let verdict = judge(&slip(expected), |program, tests| {
            let names = match tests {
                Some(tests) => tests.to_vec(),
                None => vec!["a".to_owned(), "b".to_owned()],
            };
            let names: Vec<_> = names
                .iter()
                .map(|test| format!("{program}.{test}"))
                .collect();
            asked.extend(names.clone());
            let failed = names.iter().find(|name| failing.contains(&name.as_str()));
            Ok(match failed {
                Some(name) => Ran::Failed(name.clone()),
                None => Ran::Passed(vec!["a".to_owned(), "b".to_owned()]),
            })
        });
        (verdict.unwrap(), asked)
    }

    fn killed(by: &str, as_expected: bool) -> Verdict {
        Verdict::Killed {
            by: by.to_owned(),
            as_expected,
        }
    }

    #[test]
    fn the_first_failure_is_enough() {
        let (verdict, asked) = judge_with(seen_by(&["b"]), &["io.b", "races.a"]);
        assert_eq!(verdict, killed("io.b", true));
        assert_eq!(asked, ["io.b"]);
        let (verdict, asked) = judge_with(seen_by(&["b"]), &["races.b"]);
        assert_eq!(verdict, killed("races.b", false));
        assert_eq!(asked.len(), 5);
        let (verdict, _) = judge_with(Expected::Killed, &["races.b"]);
        assert_eq!(verdict, killed("races.b", true));
        let (verdict, asked) = judge_with(Expected::Survives(String::new()), &[]);
        assert_eq!((verdict, asked.len()), (Verdict::Survived, 4));
    }

    #[test]
    fn a_missing_test_is_an_error() {
        let (verdict, _) = judge_with(seen_by(&["c"]), &[]);
        assert_eq!(verdict, Verdict::Wrong("io.c did not run".to_owned()));
    }

    #[test]
    fn slips_apply_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let slips = directory.path().join("slips");
        let source = directory.path().join("source");
        fs::create_dir_all(slips.join("io")).unwrap();
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("a.rs"), "one\ntwo\n").unwrap();
        let options = Slips {
            slips: slips.clone(),
            source: source.clone(),
            make: Vec::new(),
        };
        assert!(!check(&options).unwrap(), "there is none");
        let header = "What: x\nWhere: a.rs\nWhy: x\nPrograms: io\n\n--- a/a.rs\n+++ b/a.rs\n";
        let patch = |old: &str| format!("{header}@@ -1,2 +1,2 @@\n one\n-{old}\n+three\n");
        fs::write(slips.join("io/a.patch"), patch("two")).unwrap();
        assert!(check(&options).unwrap());
        assert_eq!(
            fs::read_to_string(source.join("a.rs")).unwrap(),
            "one\ntwo\n"
        );
        fs::write(slips.join("io/b.patch"), patch("four")).unwrap();
        assert!(!check(&options).unwrap());
    }
}
