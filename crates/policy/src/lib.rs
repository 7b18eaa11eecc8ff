//! Who may do what: identities, password files, ACL files, and the permits that admission is made of.
//!
//! Called by `node` (authentication, reload), `broker` (every change of hands of a message) and the command line. Pure:
//! files are read and salts drawn by the caller; parsing and verifying happen here.

pub mod acl;
pub mod analysis;
pub mod control;
pub mod dynamic;
pub mod facts;
pub mod file;
pub mod grants;
pub mod identity;
pub mod password;
pub mod permit;
pub mod policy;
pub mod ranked;
pub mod scram;
mod suggest;
mod topic;

pub use acl::{Acl, AclError};
pub use dynamic::{DynamicError, DynamicSecurity};
pub use facts::{Attributes, Facts, TooManyAttributes};
pub use file::PolicyFile;
pub use grants::{Grant, Grants, GrantsError};
pub use identity::{ClientId, Identity, Subject, TenantName, TenantNameError, UserName};
pub use password::{Fingerprint, Label, Login, PasswordError, PasswordFile, PasswordHash, SALT_BYTES, Secret, Term};
pub use permit::{AdmitPermit, Authenticated, Method, Refused, Vouch};
pub use policy::{Action, Explanation, Narrowed, Policy, PublishRight, Publishing, Question, Source, SubscribeVerdict};
pub use ranked::RuleSet;
pub use scram::{Reauthentication, ScramError, ScramKeys};
pub use suggest::suggestion;
