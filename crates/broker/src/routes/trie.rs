//! Filters as a tree of levels.
//!
//! Called by the route map under its stripe locks. Walks level by level without recursion, so the depth of a topic
//! costs no stack (K08); the caller bounds the number of levels.

use std::collections::BTreeMap;

use slab::Slab;

use super::group::Group;
use super::{SessionRef, Subscription};

/// One level of one or more filters. Ordered maps: keys are chosen by peers, and order is the same in every run.
#[derive(Debug, Default)]
pub(super) struct Node {
    children: BTreeMap<Box<str>, usize>,
    plus: Option<usize>,
    hash: Option<usize>,
    /// Subscriptions of the filter that ends here.
    pub(super) direct: BTreeMap<SessionRef, Subscription>,
    /// Shared subscriptions of the filter that ends here, by group.
    pub(super) groups: BTreeMap<Box<str>, Group>,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.children.is_empty()
            && self.plus.is_none()
            && self.hash.is_none()
            && self.direct.is_empty()
            && self.groups.is_empty()
    }

    fn child(&self, level: &str) -> Option<usize> {
        match level {
            "+" => self.plus,
            "#" => self.hash,
            _ => self.children.get(level).copied(),
        }
    }

    fn attach(&mut self, level: &str, child: usize) {
        match level {
            "+" => self.plus = Some(child),
            "#" => self.hash = Some(child),
            _ => {
                self.children.insert(level.into(), child);
            }
        }
    }

    fn detach(&mut self, level: &str) {
        match level {
            "+" => self.plus = None,
            "#" => self.hash = None,
            _ => {
                self.children.remove(level);
            }
        }
    }
}

/// The tree.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Slab<Node>,
    root: usize,
}

impl Default for Trie {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        Self { nodes, root }
    }
}

impl Trie {
    /// Adds or replaces the subscription of `session` to `filter`.
    pub(super) fn insert(&mut self, filter: &str, share: Option<&str>, session: SessionRef, sub: Subscription) {
        let mut at = self.root;
        for level in filter.split('/') {
            at = match self.nodes[at].child(level) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node::default());
                    self.nodes[at].attach(level, child);
                    child
                }
            };
        }
        let node = &mut self.nodes[at];
        match share {
            None => {
                node.direct.insert(session, sub);
            }
            Some(name) => {
                let group = node.groups.entry(name.into()).or_insert_with(|| Group::new(name, filter));
                group.insert(session, sub);
            }
        }
    }

    /// Removes the subscription of `session` to `filter` and every level nobody needs any longer.
    pub(super) fn remove(&mut self, filter: &str, share: Option<&str>, session: SessionRef) {
        let mut path = vec![(self.root, "")];
        for level in filter.split('/') {
            let (at, _) = path[path.len() - 1];
            let Some(child) = self.nodes[at].child(level) else { return };
            path.push((child, level));
        }
        let node = &mut self.nodes[path[path.len() - 1].0];
        match share {
            None => {
                node.direct.remove(&session);
            }
            Some(name) => {
                if node.groups.get_mut(name).is_some_and(|group| group.remove(session)) {
                    node.groups.remove(name);
                }
            }
        }
        self.prune(&path);
    }

    /// The node where `filter` ends.
    pub(super) fn find(&self, filter: &str) -> Option<&Node> {
        let mut at = self.root;
        for level in filter.split('/') {
            at = self.nodes[at].child(level)?;
        }
        Some(&self.nodes[at])
    }

    fn prune(&mut self, path: &[(usize, &str)]) {
        for pair in path.windows(2).rev() {
            let ((parent, _), (child, level)) = (pair[0], pair[1]);
            if !self.nodes[child].is_unused() {
                return;
            }
            self.nodes.remove(child);
            self.nodes[parent].detach(level);
        }
    }

    /// Calls `found` for every filter that matches `topic`.
    pub(super) fn visit(&self, topic: &str, mut found: impl FnMut(&Node)) {
        let mut front = vec![self.root];
        let mut next = Vec::new();
        for level in topic.split('/') {
            for &at in &front {
                let node = &self.nodes[at];
                if let Some(hash) = node.hash {
                    found(&self.nodes[hash]);
                }
                next.extend(node.children.get(level).copied());
                next.extend(node.plus);
            }
            std::mem::swap(&mut front, &mut next);
            next.clear();
            if front.is_empty() {
                return;
            }
        }
        for &at in &front {
            let node = &self.nodes[at];
            found(node);
            // `a/#` matches `a` as well (MQTT 5.0, 4.7.1.2).
            if let Some(hash) = node.hash {
                found(&self.nodes[hash]);
            }
        }
    }

    /// Levels kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1
    }
}
