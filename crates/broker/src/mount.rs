//! The mount point of a listener: a prefix that its clients do not see.
//!
//! Put before every topic that comes from them and taken off every topic that goes to them, at the edge of a session:
//! routes, queues, retained messages, the journal and policy know full names only.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use motte_policy::TenantName;

use crate::tenant;

/// Longest mount point in bytes.
const BYTES_MAX: usize = 256;

/// A mount point; empty for clients that see all topics as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountPoint(Option<Arc<str>>);

/// Why a text is no mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPointError {
    /// It does not end in `/`, so that its last level would run into the client's first.
    Open,
    /// It holds `+`, `#`, `$`, or a control character.
    Character,
    /// More than 256 bytes.
    TooLong,
}

impl fmt::Display for MountPointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "does not end in a slash",
            Self::Character => "holds a wildcard, a dollar sign or a control character",
            Self::TooLong => "is longer than 256 bytes",
        })
    }
}

impl MountPoint {
    /// A checked mount point; the empty text is none.
    ///
    /// # Errors
    /// The text could not stand before topics.
    pub fn parse(text: &str) -> Result<Self, MountPointError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        if text.len() > BYTES_MAX {
            return Err(MountPointError::TooLong);
        }
        if text.contains(|c: char| matches!(c, '+' | '#' | '$') || c.is_control()) {
            return Err(MountPointError::Character);
        }
        if !text.ends_with('/') {
            return Err(MountPointError::Open);
        }
        Ok(Self(Some(text.into())))
    }

    /// One that was checked before it was written down.
    pub(crate) fn restored(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The full name of a topic as a client writes it, or of a filter without `$share`.
    #[must_use]
    pub fn mounted<'a>(&self, topic: &'a str) -> Cow<'a, str> {
        match &self.0 {
            None => Cow::Borrowed(topic),
            Some(prefix) => Cow::Owned([prefix, topic].concat()),
        }
    }

    /// The full filter of a subscription that was parsed out of `text`; a `$share/NAME/` stays in front.
    pub(crate) fn mounted_filter<'a>(&self, text: &'a str, filter: &str) -> Cow<'a, str> {
        match &self.0 {
            None => Cow::Borrowed(text),
            Some(prefix) => {
                let share = text.strip_suffix(filter).unwrap_or_default();
                Cow::Owned([share, prefix, filter].concat())
            }
        }
    }

    /// The same within a tenant: behind what stands before all of its topics.
    pub(crate) fn within(&self, tenant: Option<&TenantName>) -> Self {
        match tenant {
            None => self.clone(),
            Some(tenant) => Self(Some([&tenant::prefix(tenant), self.as_str()].concat().into())),
        }
    }

    /// The same for who knows names as they are within the tenant.
    pub(crate) fn without(&self, tenant: Option<&TenantName>) -> Self {
        match tenant {
            None => self.clone(),
            Some(tenant) => Self::restored(self.as_str().strip_prefix(&tenant::prefix(tenant)).unwrap_or_default()),
        }
    }

    /// A full name as clients behind the mount point see it; `None` when it is not theirs to see. Behind a mount point
    /// there are no topics that begin with `$`: those of the server stay out of reach, and a wildcard never matches a
    /// name that begins with one in the eyes of its client (MQTT-4.7.2-1). Without one there are no tenants' topics.
    pub(crate) fn seen<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let Some(prefix) = &self.0 else { return Some(topic).filter(|topic| !tenant::is_reserved(topic)) };
        topic.strip_prefix(&**prefix).filter(|seen| !seen.is_empty() && !seen.starts_with('$'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop")]
    use super::{MountPoint, MountPointError};

    #[test]
    fn a_mount_point_is_whole_levels_without_wildcards() {
        for good in ["", "a/", "site/hall 1/", "/", "a//b/"] {
            assert_eq!(MountPoint::parse(good).unwrap().as_str(), good);
        }
        for (bad, error) in [
            ("a", MountPointError::Open),
            ("a/b", MountPointError::Open),
            ("a/+/", MountPointError::Character),
            ("#/", MountPointError::Character),
            ("$SYS/", MountPointError::Character),
            ("a/$b/", MountPointError::Character),
            ("a\0/", MountPointError::Character),
            ("a\n/", MountPointError::Character),
        ] {
            assert_eq!(MountPoint::parse(bad), Err(error), "{bad:?}");
        }
        assert!(MountPoint::parse(&format!("{}/", "x".repeat(255))).is_ok());
        assert_eq!(MountPoint::parse(&format!("{}/", "x".repeat(256))), Err(MountPointError::TooLong));
    }

    #[test]
    fn what_is_mounted_is_seen_as_it_was_and_nothing_else_is_seen() {
        let mount = MountPoint::parse("site/").unwrap();
        for topic in ["a", "a/b", "/", "site/a"] {
            assert_eq!(mount.seen(&mount.mounted(topic)), Some(topic));
        }
        for hidden in ["site", "site/", "sites/a", "a", "$SYS/x", "site/$SYS/x"] {
            assert_eq!(mount.seen(hidden), None, "{hidden}");
        }
        assert_eq!(mount.mounted_filter("#", "#"), "site/#");
        assert_eq!(mount.mounted_filter("$share/g/a/+", "a/+"), "$share/g/site/a/+");
        let none = MountPoint::default();
        assert_eq!(none.mounted_filter("$share/g/a", "a"), "$share/g/a");
        assert_eq!(none.seen("$SYS/x"), Some("$SYS/x"));
    }
}
