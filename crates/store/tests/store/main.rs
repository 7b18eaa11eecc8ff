//! The store as its callers see it: records in, what was kept out, over closings, crashes and power cuts.

mod kit;
mod model;
mod semantics;
