// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! QEMU's monitor, to find out where the CPUs of a machine that hangs are.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// The time that QEMU has for the answer. CPUs that hang may keep it from answering.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the monitor's socket.
const SOCKET: &str = "monitor.socket";

/// Returns the option for a monitor in the directory `work`.
pub fn option(work: &Path) -> String {
    format!("unix:{},server=on,wait=off", work.join(SOCKET).display())
}

/// Returns the instruction pointer of each CPU, one a line; none if QEMU does not answer at its
/// monitor in the directory `work`.
pub fn instruction_pointers(work: &Path) -> Vec<String> {
    let answer = ask(&work.join(SOCKET), "info registers -a\n").unwrap_or_default();
    pointers(&answer)
}

fn ask(socket: &Path, command: &str) -> std::io::Result<String> {
    let mut monitor = UnixStream::connect(socket)?;
    monitor.set_read_timeout(Some(PATIENCE))?;
    monitor.write_all(command.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    // The end of the answer is not marked: QEMU waits for another command.
    while let Ok(length @ 1..) = monitor.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn pointers(registers: &str) -> Vec<String> {
    let mut cpu = "";
    let lines = registers.lines().filter_map(|line| {
        let line = line.trim();
        if line.starts_with("CPU#") {
            cpu = line;
        }
        let pointer = line
            .split(' ')
            .find(|word| word.starts_with("RIP=") || word.starts_with("EIP="))?;
        let halted = if line.contains("HLT=1") {
            ", halted"
        } else {
            ""
        };
        Some(format!("{cpu}: {pointer}{halted}"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_a_pointer() {
        let registers = "QEMU 7.2 monitor\n(qemu) info registers -a\n\nCPU#0\n\
            RAX=0000000000000000 RBX=ffff\nRIP=ffffffff81000000 RFL=00000246 [---Z-P-] CPL=0 II=0 \
            A20=1 SMM=0 HLT=1\n\nCPU#1\nEAX=0\nEIP=0000fff0 EFL=2 HLT=0\n(qemu) ";
        assert_eq!(
            pointers(registers),
            ["CPU#0: RIP=ffffffff81000000, halted", "CPU#1: EIP=0000fff0"]
        );
        assert!(pointers("").is_empty());
    }
}
