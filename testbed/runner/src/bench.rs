// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Compares the costs of paths through our driver and upstream's driver.
//!
//! The program `bench` of the selftests runs on both drivers, in machines that count instructions.

mod figures;
mod picture;
mod rows;
mod tables;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use clap::Args;
use serde_json::json;

use crate::{
    IN_ORDER,
    cli::{Driver, Limits, Machine},
    ktap::Report,
    qemu::{self, Boot, Listener},
    selftests_parameters, show_faults,
};
use figures::Figures;
use rows::{Compared, ROWS, Row};

/// The program of the selftests.
const PROGRAM: &str = "bench";
/// The lines before and after the table in a page.
const BEGIN: &str = "<!-- make bench -->\n";
const END: &str = "<!-- end of make bench -->\n";

/// The name for `--only` of the paths on a real-time kernel.
const REAL_TIME: &str = "RT";
/// The paths that are measured on a real-time kernel.
const REAL_TIME_PATHS: &str = "P2,P3";
/// Kernel parameter: reduces the cost of lockdep, which is enabled in the real-time kernel.
const REAL_TIME_PARAMETERS: &str = " lockdep.prove_locking=0";

/// The options of a measurement, and the files for its results.
#[derive(Args, Clone)]
pub struct Options {
    /// Measure only these paths: P1,P4,RT
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    only: Vec<String>,

    #[command(flatten)]
    real_time: Option<RealTime>,

    /// The number of repetitions of a short operation
    #[arg(long, value_name = "N", default_value = "400")]
    rounds: u64,

    /// The commit of the measured driver
    #[arg(long, value_name = "NAME")]
    commit: String,

    /// The kernel's release
    #[arg(long, value_name = "RELEASE")]
    kernel_release: String,

    /// The date
    #[arg(long, value_name = "DATE")]
    date: String,

    /// The directory for table, picture and figures, if all paths are measured
    #[arg(long, value_name = "DIR")]
    documentation: PathBuf,

    /// The page that contains the table
    #[arg(long, value_name = "FILE")]
    readme: PathBuf,
}

/// The files for a real-time kernel.
#[derive(Args, Clone)]
pub struct RealTime {
    /// The bzImage of a kernel with PREEMPT_RT
    #[arg(
        long,
        value_name = "FILE",
        required = false,
        requires_all = ["rt_rust_driver", "rt_c_driver", "rt_probes"]
    )]
    rt_kernel: PathBuf,

    /// Our driver for this kernel
    #[arg(long, value_name = "FILE", required = false)]
    rt_rust_driver: PathBuf,

    /// Upstream's driver for this kernel
    #[arg(long, value_name = "FILE", required = false)]
    rt_c_driver: PathBuf,

    /// The test-only modules for this kernel
    #[arg(long = "rt-probe", value_name = "FILE", required = false)]
    rt_probes: Vec<PathBuf>,
}

impl RealTime {
    fn machine(&self, machine: &Machine) -> Machine {
        Machine {
            kernel: self.rt_kernel.clone(),
            rust_driver: self.rt_rust_driver.clone(),
            c_driver: Some(self.rt_c_driver.clone()),
            probes: self.rt_probes.clone(),
            append: machine.append.clone() + REAL_TIME_PARAMETERS,
            work: machine.work.join(REAL_TIME),
            ..machine.clone()
        }
    }
}

/// Measures both drivers, and returns whether all targets are met.
pub fn run(machine: &Machine, limits: &Limits, options: &Options) -> io::Result<bool> {
    let mut upstream = Figures::default();
    let mut ours = Figures::default();
    let mut measure = |machine: &Machine, paths: &str, prefix| -> io::Result<()> {
        let (of_upstream, of_ours) = measure_both(machine, limits, options, paths);
        upstream.add(of_upstream?, prefix);
        ours.add(of_ours?, prefix);
        Ok(())
    };
    let paths = options.only.iter().filter(|path| *path != REAL_TIME);
    let paths: Vec<_> = paths.map(String::as_str).collect();
    if options.only.is_empty() || !paths.is_empty() {
        measure(machine, &paths.join(","), None)?;
    }
    if let Some(real_time) = &options.real_time {
        let machine = real_time.machine(machine);
        measure(&machine, REAL_TIME_PATHS, Some(REAL_TIME))?;
    }
    let all: Vec<_> = ROWS
        .iter()
        .filter_map(|row| Compared::new(row, &upstream, &ours))
        .collect();
    let about = format!(
        "Linux {}, {}, {}, `make bench`",
        options.kernel_release, options.commit, options.date
    );
    let table = tables::markdown(&all);
    println!("\n{about}; medians, in instructions:\n\n{table}");
    let figures = json!({
        "kernel": options.kernel_release,
        "commit": options.commit,
        "date": options.date,
        "qemu": version(&machine.qemu),
        "rounds": options.rounds,
        "upstream": upstream.json(),
        "ours": ours.json(),
    });
    let figures = format!("{figures:#}\n");
    fs::write(machine.work.join("bench.json"), &figures)?;

    let mut missed: Vec<_> = all
        .iter()
        .filter(|compared| compared.is_met() == Some(false))
        .map(|compared| format!("{} {}: missed", compared.row.path, compared.row.title))
        .collect();
    if options.only.is_empty() {
        let measured = |row: &Row| all.iter().any(|compared| std::ptr::eq(compared.row, row));
        let lost = ROWS.iter().filter(|row| !measured(row));
        missed.extend(lost.map(|row| format!("{} {}: not measured", row.path, row.title)));
        let directory = &options.documentation;
        fs::write(directory.join("bench.json"), &figures)?;
        fs::write(directory.join("bench.csv"), tables::csv(&all)?)?;
        fs::write(directory.join("bench.svg"), picture::svg(&all, &about))?;
        embed(&options.readme, &format!("{about}:\n\n{table}"))?;
    }
    for miss in &missed {
        println!("not ok {miss}");
    }
    println!("{} figures, {} targets missed", all.len(), missed.len());
    Ok(missed.is_empty() && !all.is_empty())
}

/// Replaces the table of a page by `text`.
fn embed(page: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(page)?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| {
        let page = page.display();
        io::Error::other(format!("{page}: no place for the table"))
    })?;
    fs::write(page, format!("{before}{BEGIN}{text}{END}{after}"))
}

fn version(qemu: &str) -> String {
    let output = Command::new(qemu).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Measures both drivers; returns the figures of upstream's driver first.
fn measure_both(
    machine: &Machine,
    limits: &Limits,
    options: &Options,
    paths: &str,
) -> (io::Result<Figures>, io::Result<Figures>) {
    // At the same time: the load of the host does not change the figures.
    thread::scope(|scope| {
        let measure = |driver| {
            let mut machine = machine.with(driver).counting();
            // A small initramfs is unpacked sooner.
            machine.selftests.retain(|path| path.ends_with(PROGRAM));
            scope.spawn(move || measure(&machine, limits, options, paths))
        };
        let (upstream, ours) = (measure(Driver::C), measure(Driver::Rust));
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            thread.join().unwrap_or_else(panicked)
        };
        (join(upstream), join(ours))
    })
}

/// Measures a driver on these paths, or on all. Fails if a path could not be measured.
fn measure(
    machine: &Machine,
    limits: &Limits,
    options: &Options,
    paths: &str,
) -> io::Result<Figures> {
    let only = match paths {
        "" => PROGRAM.to_owned(),
        _ => format!("{PROGRAM}.{paths}"),
    };
    let parameters = selftests_parameters(&only)
        + &format!(" testbed.seed=1 testbed.rounds={}", options.rounds)
        + IN_ORDER;
    let mut reader = Reader {
        driver: machine.driver,
        report: Report::default(),
        figures: Figures::default(),
    };
    let outcome = qemu::run(
        machine,
        Boot::MiniAcrn,
        limits,
        &parameters,
        false,
        &mut reader,
    )?;
    show_faults(&outcome)?;
    let (text, totals) = reader.report.finish();
    let text = format!("on the {} driver:\n{text}", machine.driver.name());
    let failed = totals.failed != 0 || !outcome.faults.is_empty();
    if failed && machine.driver == Driver::Rust {
        return Err(io::Error::other(text));
    }
    // Upstream's driver leaks objects, which fails tests but does not change the figures.
    if failed {
        println!("{text}");
    }
    Ok(reader.figures)
}

/// Reads the program's report.
struct Reader {
    driver: Driver,
    report: Report,
    figures: Figures,
}

impl Listener for Reader {
    fn report(&mut self, line: &str) {
        println!("{}: {line}", self.driver.name());
        self.report.line(line);
        self.figures.line(line);
    }

    fn console(&mut self, _line: &str) {}
}
