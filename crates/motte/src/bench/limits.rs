//! Open files: each connection is one. Called before the first connection is opened; raises this process's own limit
//! as far as the system lets it, and never goes on with less than is needed.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::ui::{Failure, USAGE};

/// Files beside the connections: standard streams, the poll, the timer, certificates.
const OTHERS: u64 = 64;

/// Makes sure that so many connections can be open.
pub(crate) fn allow(connections: usize) -> Result<(), Failure> {
    let needed = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < needed) {
        let what = format!("{connections} connections need {needed} open files, and the system allows {maximum}");
        let hint = "raise the hard limit (`ulimit -Hn`, or LimitNOFILE of the service), or ask for fewer";
        return Err(Failure::new(what, hint).with_code(USAGE));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum }).map_err(|error| {
        let what = format!("the limit of open files cannot be raised to {needed}: {error}");
        Failure::new(what, "raise it with `ulimit -n`, or ask for fewer connections").with_code(USAGE)
    })
}

#[cfg(test)]
mod tests {
    use super::allow;

    #[test]
    fn more_than_the_hard_limit_is_refused() {
        assert!(allow(1).is_ok());
        if let Some(maximum) = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum {
            let failure = allow(usize::try_from(maximum).expect("64 bits")).expect_err("it is too much");
            assert_eq!(failure.code(), 2);
        }
    }
}
