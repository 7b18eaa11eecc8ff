//! What the store promises, asked of the real engine on a disk that loses power, fails and rots.
//!
//! 200 states of each kind in every run; `MOTTE_PROOF_STATES=5000` asks for more.

mod engine;
mod failing;
mod full;
mod model;
mod power;
mod random;
mod rot;
mod versions;

mod workload;
