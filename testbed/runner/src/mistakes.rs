// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Tests whether a check notices kernel warnings.
//!
//! A module makes a mistake while a test runs. The test passes, but the run must fail and show the
//! complete warning.

use std::io;

use clap::ValueEnum;

use crate::{
    Run,
    cli::{Chance, Limits, Machine},
    ktap::{BESIDE_TESTS, Outcome, Totals},
    shown::Show,
};

/// The program and the test that run during a mistake.
const BESIDE: (&str, &str) = ("lifecycle", "close_empty");
/// The last line of a stack trace.
const TRACE_END: &str = "</TASK>";

/// A mistake that `acrn_mistake.ko` makes. The variant is its name there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Mistake {
    Warning,
    UseAfterFree,
    Leak,
    LockOrder,
    Sleep,
    SleepingLock,
}

impl Mistake {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns parts of the warning, from its beginning to its end.
    fn warning(self) -> &'static [&'static str] {
        match self {
            Self::Warning => &["WARNING: ", TRACE_END],
            Self::UseAfterFree => &[
                "BUG: KASAN: slab-use-after-free",
                "Freed by task",
                "Memory state around the buggy address",
            ],
            Self::Leak => &[
                "new suspected memory leaks",
                "unreferenced object",
                "backtrace",
            ],
            Self::LockOrder => &[
                "possible circular locking dependency detected",
                "stack backtrace:",
                TRACE_END,
            ],
            Self::Sleep => &[
                "BUG: sleeping function called from invalid context",
                TRACE_END,
            ],
            Self::SleepingLock => &[
                "BUG: sleeping function called from invalid context \
                 at kernel/locking/spinlock_rt.c",
                TRACE_END,
            ],
        }
    }
}

/// Makes each mistake in a machine of its own, and prints a line of KTAP for it.
pub fn run(
    machine: &Machine,
    limits: &Limits,
    chance: Chance,
    mistakes: &[Mistake],
) -> io::Result<Totals> {
    let (program, test) = BESIDE;
    let mut totals = Totals::default();
    for mistake in mistakes {
        let only = format!("{program}.{test}");
        let mut run = Run::selftests(machine, limits, chance, Some(&only));
        run.parameters += &format!(" testbed.mistake={}", mistake.name());
        run.show = Show::Nothing;
        let reported = run.report(None)?;
        let ended = |name: &str, outcome| {
            let name = format!("{program}.{name}");
            reported.results.tests.contains(&(name, outcome))
        };
        let is_seen = ended(test, Outcome::Passed)
            && ended(BESIDE_TESTS, Outcome::Failed)
            && reported.totals.failed > 0
            && are_in_order(&reported.text, mistake.warning());
        let result = match is_seen {
            true => "ok",
            false => "not ok",
        };
        if !is_seen {
            println!("{}", reported.text);
        }
        println!("{result} mistakes.{}", mistake.name());
        totals.passed += usize::from(is_seen);
        totals.failed += usize::from(!is_seen);
    }
    Ok(totals)
}

/// Returns whether the text contains all parts in this order.
fn are_in_order(text: &str, parts: &[&str]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or("", |(_, rest)| rest);
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_module() {
        assert_eq!(Mistake::UseAfterFree.name(), "use_after_free");
        let module = include_str!("../../probe/acrn_mistake.rs");
        for mistake in Mistake::value_variants() {
            assert!(module.contains(&format!("        {}: bool {{", mistake.name())));
        }
    }

    #[test]
    fn a_warning_is_whole() {
        let warning = Mistake::LockOrder.warning();
        let text =
            "# possible circular locking dependency detected\n# stack backtrace:\n#  </TASK>";
        assert!(are_in_order(text, warning));
        assert!(!are_in_order(&text[..text.len() - 3], warning));
        assert!(!are_in_order("", warning));
    }
}
