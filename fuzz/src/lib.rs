//! What each fuzz target asserts. A target feeds bytes to one function of this crate, which panics at a fault.
//!
//! Called by the files in `targets/`; `cargo xtask fuzz` builds and runs them. Never part of the product.

pub mod codec;
pub mod gate;
pub mod property;
pub mod session;
pub mod store;
pub mod text;
pub mod topic;
