// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Prints the report of a machine.

use std::time::Instant;

use crate::{
    ktap::{Report, SUBTEST, TRANSCRIPT},
    qemu::Listener,
};

/// The amount of output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Line by line.
    AsItComes,
    /// Line by line, with the lines of the `transcript` program.
    WithTranscript,
    /// The output of each program when it has ended, as another machine runs at the same time.
    Machine(usize),
    /// Nothing.
    Nothing,
}

/// Prints the report and reads it.
pub struct Shown {
    report: Report,
    show: Show,
    /// The output of the running program.
    said: String,
    began: Instant,
}

impl Shown {
    pub fn new(show: Show) -> Self {
        Self {
            report: Report::default(),
            show,
            said: String::new(),
            began: Instant::now(),
        }
    }

    /// Returns the report after the last line.
    pub fn end(self) -> Report {
        print!("{}", self.said);
        self.report
    }

    fn add(&mut self, machine: usize, line: &str) {
        if let Some((_, program)) = line.split_once(SUBTEST) {
            println!("machine {machine}: {program} ...");
            self.began = Instant::now();
        } else if line.starts_with("ok ") || line.starts_with("not ok ") {
            let seconds = self.began.elapsed().as_secs();
            println!("{}{line} # machine {machine}, {seconds} s", self.said);
            self.said.clear();
        } else {
            self.said += line;
            self.said.push('\n');
        }
    }
}

impl Listener for Shown {
    fn report(&mut self, line: &str) {
        let of_transcript = line.contains(TRANSCRIPT);
        match self.show {
            Show::WithTranscript => println!("{line}"),
            Show::AsItComes if !of_transcript => println!("{line}"),
            Show::Machine(number) if !of_transcript => self.add(number, line),
            _ => {}
        }
        self.report.line(line);
    }

    fn console(&mut self, _line: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_shown_when_it_ended() {
        let mut shown = Shown::new(Show::Machine(2));
        shown.report("    # Subtest: io");
        shown.report("    1..1");
        shown.report("    # transcript: X.a | 0 | - | -");
        shown.report("    ok 1 a");
        assert_eq!(shown.said, "    1..1\n    ok 1 a\n");
        shown.report("ok 1 io");
        assert_eq!(shown.said, "");
    }
}
