//! Fifty seeds of the simulation, and what must hold in all of them. The runs themselves check order, exactly once,
//! valid packets and counts that add up.

use motte_sim::run;

#[test]
fn fifty_seeds_keep_every_promise() {
    let mut published = 0;
    let mut given = 0;
    for seed in 0..50 {
        let outcome = run(seed);
        let counters = outcome.counters;
        assert_eq!(counters.queued, 0, "seed {seed}: nothing waits at rest");
        assert_eq!(counters.routed, counters.sent + counters.dropped, "seed {seed}: {counters:?}");
        assert_eq!(counters.denied, 0, "seed {seed}");
        published += outcome.published;
        given += outcome.given;
    }
    assert!(published > 5_000 && given > 5_000, "the runs are about something: {published} {given}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    assert_eq!(run(7), run(7));
}
