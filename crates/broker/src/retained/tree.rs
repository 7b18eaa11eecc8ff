//! Topics as a tree of levels, read in order from any point on.
//!
//! Called by the retained store under its stripe locks. Walks with a stack of its own, so the depth of a topic costs no
//! stack (K08), and stops after a number of steps, so no filter holds a lock for long (K10). A topic with nothing below
//! it is an entry of its parent and no node.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use slab::Slab;
use smallvec::SmallVec;

use crate::message::Message;
use crate::shard::Millis;
use crate::short::Text;

/// A level of a topic; most are shorter than this.
type Level = Text<22>;

/// A level with others below it.
#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Level, Child>,
    message: Option<Arc<Message>>,
}

#[derive(Debug)]
enum Child {
    Leaf(Arc<Message>),
    Node(usize),
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

/// What a filter asks for at one level.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Level(&'a [u8]),
    Any,
}

/// A filter, taken apart once for a walk.
struct Wanted<'a> {
    levels: SmallVec<[Asked<'a>; 8]>,
    /// Whether it ends in `#`: those levels and everything below them.
    is_open: bool,
}

impl<'a> Wanted<'a> {
    fn new(filter: &'a str) -> Self {
        let asked = |level: &'a str| if level == "+" { Asked::Any } else { Asked::Level(level.as_bytes()) };
        let (closed, is_open) = match filter.strip_suffix('#') {
            Some(closed) => (closed.strip_suffix('/'), true),
            None => (Some(filter), false),
        };
        Self { levels: closed.into_iter().flat_map(|closed| closed.split('/')).map(asked).collect(), is_open }
    }

    /// What it asks for at a depth; `None` for nothing at all.
    fn at(&self, depth: usize) -> Option<Asked<'a>> {
        self.levels.get(depth).copied().or(self.is_open.then_some(Asked::Any))
    }

    /// Whether a topic of so many levels on the way of the filter is what it asks for, and still valid.
    fn accepts(&self, levels: usize, message: &Message, now: Millis) -> bool {
        let is_whole = levels == self.levels.len() || self.is_open && levels > self.levels.len();
        is_whole && !message.is_expired(now)
    }
}

/// Children still to be looked at below one node.
enum Below<'t> {
    One(Option<(&'t [u8], &'t Child)>),
    Many(Range<'t, Level, Child>),
}

impl<'t> Iterator for Below<'t> {
    type Item = (&'t [u8], &'t Child);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(child) => child.take(),
            Self::Many(range) => range.next().map(|(level, child)| (level.as_bytes(), child)),
        }
    }
}

impl Tree {
    /// Keeps a message and gives back the one it replaces.
    pub(super) fn insert(&mut self, topic: &str, message: Arc<Message>) -> Option<Arc<Message>> {
        let (above, last) = topic.rsplit_once('/').map_or((None, topic), |(above, last)| (Some(above), last));
        let mut at = self.root;
        for level in above.into_iter().flat_map(|above| above.split('/')) {
            at = self.node_below(at, level);
        }
        match self.nodes[at].children.get_mut(last.as_bytes()) {
            Some(Child::Leaf(old)) => Some(std::mem::replace(old, message)),
            Some(&mut Child::Node(node)) => self.nodes[node].message.replace(message),
            None => {
                self.nodes[at].children.insert(last.into(), Child::Leaf(message));
                None
            }
        }
    }

    /// The node of a level below `at`, made if there is none.
    fn node_below(&mut self, at: usize, level: &str) -> usize {
        if let Some(Child::Node(node)) = self.nodes[at].children.get(level.as_bytes()) {
            return *node;
        }
        let node = self.nodes.insert(Node::default());
        if let Some(Child::Leaf(message)) = self.nodes[at].children.insert(level.into(), Child::Node(node)) {
            self.nodes[node].message = Some(message);
        }
        node
    }

    /// Removes a topic and every level nobody needs any longer.
    pub(super) fn remove(&mut self, topic: &str) -> Option<Arc<Message>> {
        let mut path = Vec::new();
        let mut next = Some(self.root);
        for level in topic.split('/') {
            // Below a leaf there is nothing.
            let at = next?;
            path.push((at, level));
            next = match self.nodes[at].children.get(level.as_bytes())? {
                Child::Node(node) => Some(*node),
                Child::Leaf(_) => None,
            };
        }
        if let Some(node) = next {
            let old = self.nodes[node].message.take();
            self.prune(&path, node);
            return old;
        }
        let (at, level) = path.pop()?;
        let old = self.nodes[at].children.remove(level.as_bytes());
        self.prune(&path, at);
        match old {
            Some(Child::Leaf(message)) => Some(message),
            _ => None,
        }
    }

    /// Makes a node at the end of a path that has nothing below it a leaf, or nothing, and then those above it.
    fn prune(&mut self, path: &[(usize, &str)], mut node: usize) {
        for (parent, level) in path.iter().rev() {
            if !self.nodes[node].children.is_empty() {
                return;
            }
            let children = match self.nodes.remove(node).message {
                Some(message) => self.nodes[*parent].children.insert((*level).into(), Child::Leaf(message)),
                None => self.nodes[*parent].children.remove(level.as_bytes()),
            };
            drop(children);
            node = *parent;
        }
    }

    /// The message of a topic.
    pub(super) fn find(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut next = Some(self.root);
        let mut found = None;
        for level in topic.split('/') {
            match self.nodes[next?].children.get(level.as_bytes())? {
                Child::Leaf(message) => (next, found) = (None, Some(message)),
                Child::Node(node) => (next, found) = (Some(*node), self.nodes[*node].message.as_ref()),
            }
        }
        found
    }

    /// Levels and nodes kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1 + self.nodes.iter().map(|(_, node)| node.children.len()).sum::<usize>()
    }

    /// Collects what matches; gives the topic after which to go on when it stopped early.
    pub(super) fn walk(&self, walk: &mut Walk<'_>, found: &mut Vec<Arc<Message>>) -> Option<Arc<str>> {
        let wanted = Wanted::new(walk.filter);
        // A wildcard in the first level leaves out topics that begin with `$` (MQTT-4.7.2-1).
        let hides_system = matches!(wanted.at(0), Some(Asked::Any));
        let cursor: SmallVec<[&[u8]; 8]> =
            walk.after.iter().flat_map(|topic| topic.split('/')).map(str::as_bytes).collect();
        let mut path: Vec<&[u8]> = Vec::new();
        let mut stack = vec![(self.below(self.root, wanted.at(0), cursor.first().copied()), !cursor.is_empty())];
        while let Some((below, on_cursor)) = stack.last_mut() {
            let on_cursor = *on_cursor;
            let Some((level, child)) = below.next() else {
                stack.pop();
                path.pop();
                continue;
            };
            let depth = path.len();
            if depth == 0 && hides_system && level.starts_with(b"$") {
                continue;
            }
            let bound = on_cursor && cursor.get(depth) == Some(&level);
            let (message, node) = match child {
                Child::Leaf(message) => (Some(message), None),
                Child::Node(node) => (self.nodes[*node].message.as_ref(), Some(*node)),
            };
            let message = message.filter(|m| !bound && wanted.accepts(depth + 1, m, walk.now));
            found.extend(message.cloned());
            *walk.steps = walk.steps.saturating_sub(1);
            if found.len() >= walk.messages_max || *walk.steps == 0 {
                path.push(level);
                return Some(message.map_or_else(|| text(&path), |message| Arc::clone(&message.topic)));
            }
            let Some(node) = node else { continue };
            path.push(level);
            let from = if bound { cursor.get(depth + 1).copied() } else { None };
            stack.push((self.below(node, wanted.at(depth + 1), from), from.is_some()));
        }
        None
    }

    /// The children of a node that can lead to a match, from the level `from` on.
    fn below<'t>(&'t self, at: usize, asked: Option<Asked<'_>>, from: Option<&[u8]>) -> Below<'t> {
        let children = &self.nodes[at].children;
        match asked {
            Some(Asked::Any) => {
                let from = from.map_or(Bound::Unbounded, Bound::Included);
                Below::Many(children.range::<[u8], _>((from, Bound::Unbounded)))
            }
            Some(Asked::Level(level)) => {
                let child = children.get_key_value(level).map(|(level, child)| (level.as_bytes(), child));
                Below::One(child.filter(|(level, _)| from.is_none_or(|from| *level >= from)))
            }
            None => Below::One(None),
        }
    }
}

/// The topic of these levels. They were texts, so nothing of them is lost.
fn text(path: &[&[u8]]) -> Arc<str> {
    String::from_utf8_lossy(&path.join(&b'/')).into()
}
