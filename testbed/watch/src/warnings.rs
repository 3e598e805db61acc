// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Warnings in the kernel's log.

/// Texts that mark a line of the kernel as a warning.
const SIGNS: [&str; 17] = [
    "WARNING:",
    "BUG:",
    "BUG ",
    "Oops",
    "kernel BUG",
    "general protection fault",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "non-static key",
    "self-detected stall",
    "detected stalls",
    "blocked for more than",
    "Bad page state",
    "refcount_t:",
    "new suspected memory leaks",
];
/// Number of lines after a warning that may belong to it, such as stack traces, of which lockdep
/// prints many.
const EXPLANATION: usize = 300;

/// Returns whether this line is a warning, or the start of one.
pub fn is_warning(line: &str) -> bool {
    SIGNS.iter().any(|sign| line.contains(sign))
}

/// Warnings, line by line.
#[derive(Default)]
pub struct Warnings {
    /// The lines.
    pub lines: Vec<String>,
    /// Number of further lines that belong to the last warning.
    to_come: usize,
}

impl Warnings {
    /// Examines a record of /dev/kmsg, `PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE`.
    pub fn record(&mut self, record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        let message = text.split_once(';').map(|(_, text)| text.lines().next());
        if let Some(message) = message.flatten() {
            self.line(message);
        }
    }

    /// Examines a line of the log.
    pub fn line(&mut self, line: &str) {
        if is_warning(line) {
            self.to_come = EXPLANATION;
        } else if self.to_come > 0 {
            self.to_come -= 1;
        } else {
            return;
        }
        self.lines.push(line.to_owned());
    }

    /// Reports that records were overwritten before they were read.
    pub fn lost(&mut self) {
        self.lines
            .push("lines of the kernel's log were lost".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::Warnings;

    fn lines(records: &[&[u8]]) -> Vec<String> {
        let mut warnings = Warnings::default();
        for record in records {
            warnings.record(record);
        }
        warnings.lines
    }

    #[test]
    fn warnings_are_recognised() {
        let record = b"4,12,3456,-;WARNING: mm/gup.c:1 at f+0x1/0x2, CPU#0: a/1\n DEVICE=x\n";
        assert_eq!(
            lines(&[record]),
            ["WARNING: mm/gup.c:1 at f+0x1/0x2, CPU#0: a/1"]
        );
        let harmless: [&[u8]; 2] = [b"6,1,2,-;acrn: loading out-of-tree module", b"rubbish"];
        assert!(lines(&harmless).is_empty());
    }

    #[test]
    fn lines_after_a_warning_belong_to_it() {
        let lines = lines(&[
            b"6,1,1,-;acrn: loading out-of-tree module",
            b"3,2,2,-;BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            b"3,3,3,-;Call Trace:",
        ]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1], "Call Trace:");
    }
}
