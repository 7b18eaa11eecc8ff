//! Who may do what: identities, password files, ACL files, and the permits that admission is made of.
//!
//! Called by `node` (authentication, reload), `broker` (every change of hands of a message) and the command line. Pure:
//! files are read and salts drawn by the caller; parsing and verifying happen here.

pub mod acl;
pub mod dynamic;
pub mod identity;
pub mod password;
pub mod permit;
pub mod scram;

pub use acl::{AclError, Action, Policy, SubscribeVerdict};
pub use dynamic::{DynamicError, DynamicSecurity};
pub use identity::{ClientId, Identity, Subject, UserName};
pub use password::{PasswordError, PasswordFile, PasswordHash, SALT_BYTES};
pub use permit::{AdmitPermit, Authenticated, Method, Refused};
pub use scram::{Reauthentication, ScramError, ScramKeys};
