//! What SUBACK says of filters of which a part holds: a reason string, and that part as user properties.
//!
//! Made by `handle/subscribe` for each answer, written by the link. Bounded: a SUBSCRIBE may name thousands of filters.

use motte_mqtt::{UserProperties, UserPropertiesBuf};
use motte_policy::Narrowed;

use crate::mount::MountPoint;

/// Bytes of the properties of one SUBACK.
const BYTES_MAX: usize = 4 * 1024;
/// Filters of one SUBSCRIBE of which the parts are named.
const FILTERS_MAX: usize = 16;

/// The narrowed filters of one SUBSCRIBE.
///
/// For the filter with the number N, counted from 1, properties `filter-N-holds` name the parts that may be received,
/// `filter-N-except` what is left out of those, and `filter-N-more` says that there is more than is named.
#[derive(Debug, Default)]
pub(crate) struct Narrowings {
    properties: UserPropertiesBuf,
    /// The number of the first.
    first: Option<usize>,
    told: usize,
    bytes: usize,
}

impl Narrowings {
    /// Whether another filter is taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.told < FILTERS_MAX && self.bytes < BYTES_MAX
    }

    /// The filter of this number is narrowed; its parts are named as they are seen from behind the mount point.
    pub(crate) fn add(&mut self, number: usize, narrowed: &Narrowed, mount_point: &MountPoint) {
        self.first.get_or_insert(number);
        self.told += 1;
        let mut has_more = narrowed.has_more;
        for (name, parts) in [("holds", &narrowed.holds), ("except", &narrowed.except)] {
            for part in parts {
                // What begins with a wildcard before the mount point holds all that is behind it.
                let Some(part) = mount_point.seen(part) else {
                    has_more = true;
                    continue;
                };
                has_more |= !self.push(&format!("filter-{number}-{name}"), part);
            }
        }
        if has_more {
            self.push(&format!("filter-{number}-more"), "true");
        }
    }

    fn push(&mut self, name: &str, value: &str) -> bool {
        let bytes = self.bytes + name.len() + value.len();
        if bytes > BYTES_MAX || self.properties.push(name, value).is_err() {
            return false;
        }
        self.bytes = bytes;
        true
    }

    /// For a human who reads the log of a client.
    pub(crate) fn words(&self) -> Option<String> {
        let first = self.first?;
        let more = if self.told > 1 { " and others" } else { "" };
        Some(format!("filter {first}{more}: holds for a part of what it matches; the user properties name it"))
    }

    pub(crate) fn properties(&self) -> UserProperties<'_> {
        self.properties.as_ref()
    }
}
