// SPDX-License-Identifier: GPL-2.0

//! Runs the tests of a program, each in a process of its own, and prints KTAP.
//!
//! A test is a function that panics when it fails. It need not clean up state that ends with its
//! process. It fails if anything is left in the driver or in the hypervisor after that
//! ([`crate::leaks`]).
//!
//! Tests are independent of each other. They run in a random order, which follows from the run's
//! seed.
//!
//! `PROGRAM [OPTION...]` runs all tests, `PROGRAM [OPTION...] NAME...` runs those tests, and
//! `PROGRAM --list` prints their names. [`Options`] describes the options.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{self, Child, Command, ExitCode, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, SysconfVar, sysconf},
};
use testbed_watch::{LOOK, Patience};

use crate::{cleanup, device, leaks::Snapshot, probe::Probe};

/// Exit status of a test that was skipped, as defined by kselftest.
const SKIPPED: u8 = 4;
/// Exit status of a test that exceeded its time limit.
const HUNG: u8 = 5;
/// Marks the process of a single test.
const SINGLE: &str = "--single";
/// Options, see [`Options`].
const SEED: &str = "--seed";
const SECONDS: &str = "--seconds";
const ROUNDS: &str = "--rounds";
const DECLARED_ORDER: &str = "--declared-order";
const IMPATIENT: &str = "--impatient";
/// The line that [`ready`] prints.
const READY: &str = "ready\n";
/// Default time limit of a test. It does not measure speed, because emulated machines on loaded
/// hosts are slow; it ends tests that hang.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Time after its limit at which a test is killed if it has not ended by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Divisor of a time limit: with [`Options::impatient`] a test has hung if the system was idle for
/// such a part of its limit.
const IDLE_PART: u32 = 4;

/// Interval at which a long test prints a sign of life. Init treats silence as a hang.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// A test.
pub struct Test {
    name: &'static str,
    body: fn() -> Outcome,
    timeout: Duration,
    kind: Kind,
    shows_output: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Test,
    /// A function that a test runs, not the harness.
    Helper,
}

/// The result of a test that did not panic.
pub enum Outcome {
    /// The test passed.
    Passed,
    /// The system lacks something that the test needs.
    Skipped(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

impl Test {
    /// Creates a test called `name`.
    pub const fn new(name: &'static str, body: fn() -> Outcome) -> Self {
        Self {
            name,
            body,
            timeout: TIMEOUT,
            kind: Kind::Test,
            shows_output: false,
        }
    }

    /// Gives the test a name other than that of its function.
    pub const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Makes the test a helper, which a test runs in another process by [`helper`].
    pub const fn helper(self) -> Self {
        Self {
            kind: Kind::Helper,
            ..self
        }
    }

    /// Sets another time limit.
    pub const fn within(self, seconds: u64) -> Self {
        Self {
            timeout: Duration::from_secs(seconds),
            ..self
        }
    }

    fn patience(&self, grace: Duration) -> Patience {
        patience(self.timeout + grace + Duration::from_secs(seconds().unwrap_or(0)))
    }

    /// Shows the output of the test even if it passes.
    pub const fn show_output(self) -> Self {
        Self {
            shows_output: true,
            ..self
        }
    }
}

/// Makes an array of [`Test`]s from the paths of their functions.
///
/// A test has the name of its function, without the module, unless [`Test::named`] gives another
/// one. The options are the methods of [`Test`].
///
/// # Examples
///
/// ```
/// use acrn_selftests::{harness::Test, tests};
///
/// mod segments {
///     use acrn_selftests::harness::Outcome;
///
///     pub fn segment_empty() -> Outcome {
///         Outcome::Passed
///     }
///
///     pub fn huge() -> Outcome {
///         Outcome::Passed
///     }
/// }
///
/// let tests: [Test; 2] = tests![
///     segments::segment_empty,
///     segments::huge.named("segment_huge").within(180),
/// ];
/// ```
#[macro_export]
macro_rules! tests {
    ($($($part:ident)::+ $(.$option:ident($($value:expr)?))*),* $(,)?) => {
        [$(
            $crate::harness::Test::new($crate::last_part!($($part)::+), $($part)::+)
                $(.$option($($value)?))*
        ),*]
    };
}

/// Returns the last part of a path as a string.
#[doc(hidden)]
#[macro_export]
macro_rules! last_part {
    ($function:ident) => {
        stringify!($function)
    };
    ($module:ident :: $($rest:ident)::+) => {
        $crate::last_part!($($rest)::+)
    };
}

/// Ends the test as skipped.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {
        return $crate::harness::Outcome::Skipped(format!($($reason)*))
    };
}

/// Evaluates to the value of a `Result`, or ends the test as skipped with the error as the reason.
#[macro_export]
macro_rules! need {
    ($value:expr) => {
        match $value {
            Ok(value) => value,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// Options that precede the names of tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Options {
    /// `--seed N`: the seed of all random choices. It is random by default.
    seed: u64,
    /// `--seconds N`: how long tests run that can run for any time.
    seconds: Option<u64>,
    /// `--rounds N`: how often a measured operation is repeated.
    rounds: Option<u64>,
    /// `--declared-order`: tests run in the order of their declaration. For drivers that do not
    /// survive some of them.
    declared_order: bool,
    /// `--impatient`: a test has hung if the system was idle for a part of its time limit. For
    /// drivers on which many tests hang.
    impatient: bool,
}

static OPTIONS: OnceLock<Options> = OnceLock::new();

impl Options {
    /// Splits arguments into options and the rest. The error says which option is wrong.
    fn read(arguments: &[String]) -> Result<(Self, &[String]), String> {
        let mut options = Self {
            // Short enough to type.
            seed: fastrand::u32(..).into(),
            seconds: None,
            rounds: None,
            declared_order: false,
            impatient: false,
        };
        let mut rest = arguments;
        while let Some((option, more)) = rest.split_first() {
            rest = match option.as_str() {
                SEED | SECONDS | ROUNDS => {
                    let number = more.first().and_then(|number| number.parse().ok());
                    let number = number.ok_or_else(|| format!("{option} needs a number"))?;
                    match option.as_str() {
                        SEED => options.seed = number,
                        SECONDS => options.seconds = Some(number),
                        _ => options.rounds = Some(number),
                    }
                    &more[1..]
                }
                DECLARED_ORDER => {
                    options.declared_order = true;
                    more
                }
                IMPATIENT => {
                    options.impatient = true;
                    more
                }
                _ => break,
            };
        }
        Ok((options, rest))
    }

    /// Returns the arguments for a process of the same run.
    fn arguments(self) -> Vec<String> {
        let mut arguments = vec![SEED.to_owned(), self.seed.to_string()];
        for (option, value) in [(SECONDS, self.seconds), (ROUNDS, self.rounds)] {
            if let Some(value) = value {
                arguments.extend([option.to_owned(), value.to_string()]);
            }
        }
        if self.impatient {
            arguments.push(IMPATIENT.to_owned());
        }
        arguments
    }
}

fn options() -> Options {
    *OPTIONS.get().expect("options that were read")
}

/// Returns the run's seed. All random choices of a test must follow from it.
pub fn seed() -> u64 {
    options().seed
}

/// Returns how long open-ended tests run, if the option is given.
pub fn seconds() -> Option<u64> {
    options().seconds
}

/// Returns how often a measured operation is repeated, if the option is given.
pub fn rounds() -> Option<u64> {
    options().rounds
}

/// Creates a time limit for an event that must happen.
pub fn patience(limit: Duration) -> Patience {
    let patience = Patience::new(limit);
    match OPTIONS.get().is_some_and(|options| options.impatient) {
        true => patience.or(idle, limit / IDLE_PART),
        false => patience,
    }
}

/// Returns how long the system was idle, as an average over its CPUs.
fn idle() -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let idle = uptime.split_ascii_whitespace().nth(1);
    let idle = idle.and_then(|seconds| seconds.parse().ok());
    static CPUS: OnceLock<u32> = OnceLock::new();
    let cpus = *CPUS.get_or_init(|| {
        let online = sysconf(SysconfVar::_NPROCESSORS_ONLN);
        online.ok().flatten().map_or(1, |cpus| cpus as u32)
    });
    Duration::from_secs_f64(idle.expect("seconds")) / cpus
}

/// Creates the command line of this program for one test or helper.
fn process(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(options().arguments()).args([SINGLE, name]);
    command
}

/// Creates the command line of the helper `name` ([`Test::helper`]), with its standard output in a
/// pipe.
pub fn helper(name: &str) -> Command {
    let mut command = process(name);
    command.stdout(Stdio::piped());
    command
}

/// Starts a [`helper`] and waits until it is [`ready`]. The error is the line that it printed
/// instead, such as a reason to skip.
pub fn start(mut helper: Command) -> Result<Child, String> {
    let mut child = helper.spawn().expect("a process");
    let output = child.stdout.take().expect("a pipe");
    let mut word = String::new();
    BufReader::new(output)
        .read_line(&mut word)
        .expect("a line from the helper");
    if word == READY {
        return Ok(child);
    }
    child.wait().expect("the helper");
    Err(word)
}

/// Reports that the test which started this [`helper`] may go on.
pub fn ready() {
    print!("{READY}");
    io::stdout().flush().expect("stdout");
}

/// The `main` function of a program.
pub fn main(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (options, rest) = match Options::read(&arguments) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let options = *OPTIONS.get_or_init(|| options);
    match rest.first().map(String::as_str) {
        Some(SINGLE) => single(tests, rest.get(1).map_or("", String::as_str)),
        Some("--list") => {
            for test in tests.iter().filter(|test| test.kind == Kind::Test) {
                println!("{}", test.name);
            }
            ExitCode::SUCCESS
        }
        _ => match choose(tests, rest) {
            Ok(mut chosen) => {
                if !options.declared_order {
                    fastrand::Rng::with_seed(options.seed).shuffle(&mut chosen);
                }
                all(&chosen)
            }
            Err(error) => {
                println!("# {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Returns the tests with these names, or all tests.
fn choose<'a>(tests: &'a [Test], names: &[String]) -> Result<Vec<&'a Test>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !tests.iter().any(|test| *name == test.name))
    {
        return Err(format!("no test {unknown}"));
    }
    let wanted = |test: &&Test| match names.is_empty() {
        true => test.kind == Kind::Test,
        false => names.iter().any(|name| name == test.name),
    };
    Ok(tests.iter().filter(wanted).collect())
}

/// Runs one test in this process.
fn single(tests: &[Test], name: &str) -> ExitCode {
    let Some(test) = tests.iter().find(|test| test.name == name) else {
        println!("no test {name}");
        return ExitCode::FAILURE;
    };
    cleanup::destroy_vms_on_panic();
    device::program();
    let mut patience = test.patience(Duration::ZERO);
    thread::spawn(move || {
        while !patience.is_over() {
            thread::sleep(LOOK / 2);
        }
        println!("not done in time");
        cleanup::destroy_all();
        process::exit(HUNG.into());
    });
    match (test.body)() {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Skipped(reason) => {
            println!("{reason}");
            ExitCode::from(SKIPPED)
        }
    }
}

fn all(tests: &[&Test]) -> ExitCode {
    println!("KTAP version 1\n1..{}\n# seed {}", tests.len(), seed());
    let mut failed = false;
    for (number, test) in (1..).zip(tests) {
        let name = test.name;
        let before = Snapshot::take();
        let Verdict {
            output,
            mut problems,
            skipped,
            hung,
        } = run(test).unwrap_or_else(|error| Verdict {
            problems: vec![error.to_string()],
            ..Default::default()
        });
        problems.extend(before.leaks());
        let all = output.iter().chain(&problems);
        for line in all.flat_map(|text| text.lines()) {
            println!("# {line}");
        }
        match (problems.is_empty(), skipped) {
            (false, _) => {
                let directive = if hung { " # TIMEOUT" } else { "" };
                println!("not ok {number} {name}{directive}");
                failed = true;
            }
            (true, Some(reason)) => println!("ok {number} {name} # SKIP {reason}"),
            (true, None) => println!("ok {number} {name}"),
        }
    }
    // Init recognises a failed test by the KTAP lines. The exit status is for interactive use.
    ExitCode::from(u8::from(failed))
}

/// The result of a test's process.
#[derive(Default)]
struct Verdict {
    /// Output that reports no problem.
    output: Vec<String>,
    problems: Vec<String>,
    skipped: Option<String>,
    /// The test exceeded its time limit.
    hung: bool,
}

fn run(test: &Test) -> io::Result<Verdict> {
    let (mut reader, writer) = io::pipe()?;
    let mut child = process(test.name)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    // Does not wait for the end of the pipe: a grandchild may hold it open.
    let (sender, output) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });

    let mut patience = test.patience(GRACE);
    let mut next_sign = Instant::now() + SIGN_OF_LIFE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if patience.is_over() {
            child.kill()?;
            // A thread in a held hypercall receives no signal.
            if let Ok(probe) = Probe::open() {
                probe.release();
            }
            child.wait()?;
            break None;
        }
        if Instant::now() > next_sign {
            println!("# {} goes on", test.name);
            next_sign += SIGN_OF_LIFE;
        }
        thread::sleep(Duration::from_millis(5));
    };
    if let Ok(group) = i32::try_from(child.id()) {
        // Kills the processes that a failed test left. Usually there are none: ESRCH.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let mut said = Vec::new();
    while let Ok(bytes) = output.recv_timeout(Duration::from_millis(200)) {
        said.extend(bytes);
    }
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let mut verdict = judge(status, &said);
    if test.shows_output && verdict.problems.is_empty() {
        verdict.output.push(said);
    }
    Ok(verdict)
}

fn judge(status: Option<ExitStatus>, said: &str) -> Verdict {
    let mut verdict = Verdict::default();
    match status {
        Some(status) if status.success() => {}
        Some(status) if status.code() == Some(SKIPPED.into()) => {
            let reason = said.lines().last().unwrap_or("no reason");
            verdict.skipped = Some(reason.to_owned());
        }
        Some(status) => {
            verdict.problems = vec![said.to_owned(), status.to_string()];
            verdict.hung = status.code() == Some(HUNG.into());
        }
        None => {
            verdict.problems = vec![said.to_owned(), "did not end, killed".to_owned()];
            verdict.hung = true;
        }
    }
    verdict.problems.retain(|problem| !problem.is_empty());
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<(Options, Vec<String>), String> {
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        Options::read(&arguments).map(|(options, rest)| (options, rest.to_vec()))
    }

    #[test]
    fn options_come_before_names() {
        let (options, rest) = read(&["--seed", "7", "--declared-order", "a", "--seed"]).unwrap();
        assert_eq!((options.seed, options.seconds), (7, None));
        assert!(options.declared_order && !options.impatient);
        assert_eq!(rest, ["a", "--seed"]);
        assert!(read(&["--seed"]).is_err() && read(&["--seconds", "x"]).is_err());
    }

    #[test]
    fn a_test_has_the_options_of_its_program() {
        let words = [
            "--seed",
            "7",
            "--seconds",
            "9",
            "--rounds",
            "5",
            "--impatient",
        ];
        let options = read(&words).unwrap().0;
        assert_eq!(options.arguments(), words);
    }

    #[test]
    fn unknown_tests_are_refused() {
        let tests = [
            Test::new("a", || Outcome::Passed),
            Test::new("b", || Outcome::Passed).helper(),
        ];
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            choose(&tests, &wanted)
                .map(|chosen| chosen.iter().map(|test| test.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), Ok(vec!["a"]));
        assert_eq!(names(&["b"]), Ok(vec!["b"]));
        assert_eq!(names(&["c"]), Err("no test c".to_owned()));
    }
}
