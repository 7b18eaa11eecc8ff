//! What counts: callgrind for user instructions, strace for system calls.
//!
//! Used by `broker`, which runs the binary under one of them. Reads their reports; never runs anything.

use std::path::Path;

/// Something that runs a program and counts what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instrument {
    /// User instructions. Valgrind shows every machine that has AVX2 the same processor, so the fast paths that libc
    /// and the cryptography choose are the same everywhere.
    Instructions,
    /// System calls. Valgrind could count them too, but under it reading the clock becomes one.
    SystemCalls,
}

impl Instrument {
    /// The words before the program's name; the report goes to `report`.
    pub(crate) fn words(self, report: &Path) -> String {
        let report = report.display();
        match self {
            Self::Instructions => format!("valgrind --quiet --tool=callgrind --callgrind-out-file={report}"),
            Self::SystemCalls => {
                format!("strace --summary-only --summary-columns=calls,name --follow-forks --output={report}")
            }
        }
    }

    /// The total of a report; `None` when it has none.
    pub(crate) fn total(self, report: &str) -> Option<u64> {
        let mut lines = report.lines();
        let word = match self {
            Self::Instructions => lines.find_map(|line| line.strip_prefix("totals: "))?.split_whitespace().next()?,
            Self::SystemCalls => lines.find_map(|line| line.strip_suffix(" total"))?.trim(),
        };
        word.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_callgrind_is_read() {
        let report = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(0) main\n16 400\n\ntotals: 434443935\n";
        assert_eq!(Instrument::Instructions.total(report), Some(434_443_935));
        assert_eq!(Instrument::Instructions.total("totals: 44 1302 7"), Some(44));
        assert_eq!(Instrument::Instructions.total("events: Ir\n"), None);
    }

    #[test]
    fn the_total_of_strace_is_read() {
        let report = "    calls syscall\n--------- ----------------\n      662 epoll_wait\n      644 sendto\n\
                      --------- ----------------\n     2703 total\n";
        assert_eq!(Instrument::SystemCalls.total(report), Some(2_703));
        assert_eq!(Instrument::SystemCalls.total(""), None);
    }
}
