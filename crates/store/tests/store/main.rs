//! The store as its callers see it: records in, what was kept out, over closings, crashes and power cuts.

mod files;
mod kit;
mod model;
mod refusal;
mod semantics;
