//! Topics as a tree in which every topic has a place: what holds for a topic, for other levels, for named ones.
//!
//! Built by the comparison of two policies, read as filters.

use std::collections::BTreeMap;

/// A value for each topic below some place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The same for the place itself and everything below.
    Whole(u16),
    Node {
        /// For the place itself.
        here: u16,
        /// Below a level of these texts.
        named: BTreeMap<Box<str>, Space>,
        /// Below any other level.
        other: Box<Space>,
    },
}

/// Topics as a filter, without those of other filters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Topics {
    pub(super) filter: String,
    pub(super) except: Vec<String>,
}

impl Space {
    /// A node, in the shortest way it can be written. A place that is no topic has nothing here.
    pub(super) fn node(here: Option<u16>, mut named: BTreeMap<Box<str>, Space>, other: Space) -> Self {
        named.retain(|_, space| *space != other);
        match other {
            Self::Whole(value) if named.is_empty() && here.is_none_or(|here| here == value) => Self::Whole(value),
            other => Self::Node { here: here.unwrap_or(0), named, other: Box::new(other) },
        }
    }

    /// Calls with each set of topics for which the value is not 0, the named ones first.
    pub(super) fn each(&self, each: &mut impl FnMut(Topics, u16)) {
        self.walk(&mut Vec::new(), &[], each);
    }

    fn walk(&self, path: &mut Vec<String>, except: &[String], each: &mut impl FnMut(Topics, u16)) {
        let at = |path: &[String], last: &str| {
            let mut levels: Vec<&str> = path.iter().map(String::as_str).collect();
            levels.extend(Some(last).filter(|last| !last.is_empty()));
            levels.join("/")
        };
        match self {
            Self::Whole(0) => {}
            Self::Whole(value) => each(Topics { filter: at(path, "#"), except: except.to_vec() }, *value),
            Self::Node { here, named, other } => {
                if *here != 0 {
                    each(Topics { filter: at(path, ""), except: except.to_vec() }, *here);
                }
                for (level, space) in named {
                    path.push(level.to_string());
                    space.walk(path, except, each);
                    path.pop();
                }
                let mut except = except.to_vec();
                except.extend(named.keys().map(|level| {
                    path.push(level.to_string());
                    let filter = at(path, "#");
                    path.pop();
                    filter
                }));
                path.push("+".to_owned());
                other.walk(path, &except, each);
                path.pop();
            }
        }
    }
}
