//! Several clients at once, in whole conversations: the simulator with its choices made by the fuzzer.

/// Each byte chooses what one of the clients, the clock or the network does next; the broker's promises are checked as
/// in every simulated run. Answers steer the clients, so what the fuzzer learns to provoke leads it on.
pub fn choices(data: &[u8]) {
    if let Err(failure) = motte_sim::run_choices(data) {
        panic!("{failure}");
    }
}
