//! The broker seen by its clients: bytes in, bytes out, virtual time, no sockets.
//!
//! One file a subject; each test is named after the statement of the standard or the class of fault it is about.

#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![allow(unreachable_pub, reason = "nobody else sees a test")]

mod alias;
mod bans;
mod connect;
mod control;
mod crash;
mod endings;
mod errors;
mod faults;
mod journal;
mod kit;
mod limits;
mod mount;
mod narrowed;
mod noid;
mod paging;
mod publish;
mod queue_limits;
mod rate;
mod reasons;
mod restore;
mod rights;
mod session;
mod storage;
mod subscribe;
mod sys;
mod tenants;
mod v31;
mod v311;
mod v5_auth;
mod v5_connack;
mod v5_connect;
mod v5_flows;
mod v5_format;
mod v5_order;
mod v5_publish;
mod v5_sessions;
mod v5_shared;
mod v5_subscribe;
mod will;
