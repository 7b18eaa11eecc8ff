//! The filters of one stripe: those without a wildcard by their text, the others as a tree of levels.
//!
//! Called by the route map under its stripe locks. Most filters have no wildcard, and a topic finds those in one step,
//! however many there are. Walks level by level without recursion, so the depth of a topic costs no stack (K08); the
//! caller bounds the number of levels.

use std::collections::BTreeMap;

use slab::Slab;
use smallvec::SmallVec;

use super::exact::Exact;
use super::members::Subscribers;
use super::{SessionRef, Subscription};

/// One level of one or more filters. Ordered maps: keys are chosen by peers, and order is the same in every run.
#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, usize>,
    plus: Option<usize>,
    hash: Option<usize>,
    /// Of the filter that ends here.
    subscribers: Subscribers,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.hash.is_none() && self.subscribers.is_empty()
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

/// The filters.
#[derive(Debug)]
pub(super) struct Trie {
    exact: Exact,
    nodes: Slab<Node>,
    root: usize,
}

impl Default for Trie {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        Self { exact: Exact::default(), nodes, root }
    }
}

impl Trie {
    /// Adds or replaces the subscription of `session` to `filter`.
    pub(super) fn insert(&mut self, filter: &str, share: Option<&str>, session: SessionRef, sub: Subscription) {
        if is_exact(filter) {
            return self.exact.insert(filter, share, session, sub);
        }
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
        self.nodes[at].subscribers.insert(filter, share, session, sub);
    }

    /// Removes the subscription of `session` to `filter` and everything nobody needs any longer.
    pub(super) fn remove(&mut self, filter: &str, share: Option<&str>, session: SessionRef) {
        if is_exact(filter) {
            return self.exact.remove(filter, share, session);
        }
        let mut path = vec![(self.root, "")];
        for level in filter.split('/') {
            let (at, _) = path[path.len() - 1];
            let Some(child) = self.nodes[at].child(level) else { return };
            path.push((child, level));
        }
        self.nodes[path[path.len() - 1].0].subscribers.remove(share, session);
        self.prune(&path);
    }

    /// Who has subscribed to `filter`.
    pub(super) fn find(&self, filter: &str) -> Option<&Subscribers> {
        if is_exact(filter) {
            return self.exact.get(filter);
        }
        let mut at = self.root;
        for level in filter.split('/') {
            at = self.nodes[at].child(level)?;
        }
        Some(&self.nodes[at].subscribers)
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
    pub(super) fn visit(&self, topic: &str, mut found: impl FnMut(&Subscribers)) {
        if let Some(subscribers) = self.exact.get(topic) {
            found(subscribers);
        }
        if self.nodes.len() > 1 {
            self.visit_tree(topic, found);
        }
    }

    fn visit_tree(&self, topic: &str, mut found: impl FnMut(&Subscribers)) {
        let mut front = SmallVec::<[usize; 8]>::from_slice(&[self.root]);
        let mut next = SmallVec::<[usize; 8]>::new();
        for level in topic.split('/') {
            for &at in &front {
                let node = &self.nodes[at];
                if let Some(hash) = node.hash {
                    found(&self.nodes[hash].subscribers);
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
            found(&node.subscribers);
            // `a/#` matches `a` as well (MQTT 5.0, 4.7.1.2).
            if let Some(hash) = node.hash {
                found(&self.nodes[hash].subscribers);
            }
        }
    }

    /// Filters without a wildcard, and levels of the others.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.nodes.len() - 1
    }
}

/// Whether a filter matches the one topic that it spells: a valid one has a wildcard or no such character.
fn is_exact(filter: &str) -> bool {
    !filter.contains(['+', '#'])
}
