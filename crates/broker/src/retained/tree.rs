//! Topics as a tree of levels, read in order from any point on.
//!
//! Called by the retained store under its stripe locks. Walks with a stack of its own, so the depth of a topic costs no
//! stack (K08), and stops after a number of steps, so no filter holds a lock for long (K10).

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use slab::Slab;

use crate::message::Message;
use crate::shard::Millis;

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, usize>,
    message: Option<Arc<Message>>,
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Slab<Node>,
    root: usize,
}

impl Default for Tree {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        Self { nodes, root }
    }
}

/// What to look for.
pub(super) struct Walk<'a> {
    pub(super) filter: &'a str,
    pub(super) after: Option<&'a str>,
    pub(super) steps: &'a mut usize,
    pub(super) messages_max: usize,
    pub(super) now: Millis,
}

/// Children still to be looked at below one node.
enum Below<'t> {
    One(Option<(&'t str, usize)>),
    Many(Range<'t, Box<str>, usize>),
}

impl<'t> Iterator for Below<'t> {
    type Item = (&'t str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(child) => child.take(),
            Self::Many(range) => range.next().map(|(level, &child)| (&**level, child)),
        }
    }
}

impl Tree {
    /// Keeps a message and gives back the one it replaces.
    pub(super) fn insert(&mut self, topic: &str, message: Arc<Message>) -> Option<Arc<Message>> {
        let mut at = self.root;
        for level in topic.split('/') {
            at = match self.nodes[at].children.get(level) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.insert(Node::default());
                    self.nodes[at].children.insert(level.into(), child);
                    child
                }
            };
        }
        self.nodes[at].message.replace(message)
    }

    /// Removes a topic and every level nobody needs any longer.
    pub(super) fn remove(&mut self, topic: &str) -> Option<Arc<Message>> {
        let mut path = vec![(self.root, "")];
        for level in topic.split('/') {
            let child = *self.nodes[path[path.len() - 1].0].children.get(level)?;
            path.push((child, level));
        }
        let old = self.nodes[path[path.len() - 1].0].message.take();
        for pair in path.windows(2).rev() {
            let ((parent, _), (child, level)) = (pair[0], pair[1]);
            if self.nodes[child].message.is_some() || !self.nodes[child].children.is_empty() {
                break;
            }
            self.nodes.remove(child);
            self.nodes[parent].children.remove(level);
        }
        old
    }

    /// The message of a topic.
    pub(super) fn find(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut at = self.root;
        for level in topic.split('/') {
            at = *self.nodes[at].children.get(level)?;
        }
        self.nodes[at].message.as_ref()
    }

    /// Levels kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Collects what matches; gives the topic after which to go on when it stopped early.
    pub(super) fn walk(&self, walk: &mut Walk<'_>, found: &mut Vec<Arc<Message>>) -> Option<Arc<str>> {
        let filter: Vec<&str> = walk.filter.split('/').collect();
        let cursor: Vec<&str> = walk.after.map(|topic| topic.split('/').collect()).unwrap_or_default();
        let mut path: Vec<&str> = Vec::new();
        let mut stack = vec![(self.below(self.root, &filter, 0, cursor.first().copied()), !cursor.is_empty())];
        while let Some((below, on_cursor)) = stack.last_mut() {
            let on_cursor = *on_cursor;
            let Some((level, at)) = below.next() else {
                stack.pop();
                path.pop();
                continue;
            };
            let depth = path.len();
            // A wildcard in the first level leaves out topics that begin with `$` (MQTT-4.7.2-1).
            if depth == 0 && level.starts_with('$') && matches!(filter[0], "+" | "#") {
                continue;
            }
            let bound = on_cursor && cursor.get(depth) == Some(&level);
            path.push(level);
            let message =
                self.nodes[at].message.as_ref().filter(|m| !bound && accepts(&filter, depth + 1, m, walk.now));
            found.extend(message.cloned());
            *walk.steps = walk.steps.saturating_sub(1);
            if found.len() >= walk.messages_max || *walk.steps == 0 {
                return Some(path.join("/").into());
            }
            let from = if bound { cursor.get(depth + 1).copied() } else { None };
            stack.push((self.below(at, &filter, depth + 1, from), from.is_some()));
        }
        None
    }

    /// The children of a node at `depth` that can lead to a match, from the level `from` on.
    fn below<'t>(&'t self, at: usize, filter: &[&str], depth: usize, from: Option<&str>) -> Below<'t> {
        let children = &self.nodes[at].children;
        let in_hash = depth >= filter.len() && filter.last() == Some(&"#");
        match filter.get(depth) {
            Some(&"+" | &"#") => Below::Many(range(children, from)),
            Some(literal) => {
                let child = children.get_key_value(*literal).map(|(level, &child)| (&**level, child));
                Below::One(child.filter(|(level, _)| from.is_none_or(|from| *level >= from)))
            }
            None if in_hash => Below::Many(range(children, from)),
            None => Below::One(None),
        }
    }
}

/// Whether a node at `depth` is what the filter asks for, and still valid.
fn accepts(filter: &[&str], depth: usize, message: &Message, now: Millis) -> bool {
    let whole = if filter.last() == Some(&"#") { depth + 1 >= filter.len() } else { depth == filter.len() };
    whole && !message.is_expired(now)
}

fn range<'t>(children: &'t BTreeMap<Box<str>, usize>, from: Option<&str>) -> Range<'t, Box<str>, usize> {
    match from {
        Some(from) => children.range::<str, _>((Bound::Included(from), Bound::Unbounded)),
        None => children.range::<str, _>((Bound::Unbounded, Bound::Unbounded)),
    }
}
