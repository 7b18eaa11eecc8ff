//! One list of rules as a tree of topic levels, so that a decision visits what matches and not what there is.
//!
//! Called by `Policy` only. Every walk keeps its own stack and visits a node at most once, so neither a deep topic
//! nor a deep filter can exhaust the stack of the thread. Names are put into `%u` and `%c` by comparing one whole
//! level.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::identity::Subject;

/// What the rules that match say, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights(u8);

impl Rights {
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    pub(super) const READ_WRITE: Self = Self(3);
    pub(super) const DENY: Self = Self(4);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What stands for `%u` and `%c`.
pub(super) struct Names<'a> {
    user: Option<&'a str>,
    client: &'a str,
}

impl<'a> Names<'a> {
    pub(super) fn of(who: &'a Subject) -> Self {
        Self { user: who.identity.user_name(), client: &who.client_id.0 }
    }
}

type NodeIndex = usize;

const ROOT: NodeIndex = 0;

#[derive(Debug, Default)]
struct Node {
    /// Rules that end here.
    here: Rights,
    /// Rules that end in `#` under this level: they match this level itself and everything below (MQTT-4.7.1.2).
    below: Rights,
    literal: BTreeMap<Box<str>, NodeIndex>,
    any: Option<NodeIndex>,
    user: Option<NodeIndex>,
    client: Option<NodeIndex>,
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

/// A step of a walk that takes the common part of a filter and the rules: the node, the levels on the way to it, the
/// level that leads to it, and what the filter still asks for.
struct Step<'a> {
    node: NodeIndex,
    depth: usize,
    level: &'a str,
    rest: Option<&'a str>,
}

impl Trie {
    /// Adds a `topic` rule; `%u` and `%c` are plain text in it.
    pub(super) fn insert_literal(&mut self, filter: &str, rights: Rights) {
        self.insert(filter, rights, false);
    }

    /// Adds a `pattern` rule.
    pub(super) fn insert_pattern(&mut self, filter: &str, rights: Rights) {
        self.insert(filter, rights, true);
    }

    fn insert(&mut self, filter: &str, rights: Rights, substitutes: bool) {
        let mut at = ROOT;
        for level in canonical(filter).split('/') {
            if level == "#" {
                self.nodes[at].below.add(rights);
                return;
            }
            let fresh = self.nodes.len();
            let node = &mut self.nodes[at];
            let next = match level {
                "+" => *node.any.get_or_insert(fresh),
                "%u" if substitutes => *node.user.get_or_insert(fresh),
                "%c" if substitutes => *node.client.get_or_insert(fresh),
                text => match node.literal.get(text) {
                    Some(&known) => known,
                    None => *node.literal.entry(text.into()).or_insert(fresh),
                },
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        self.nodes[at].here.add(rights);
    }

    /// All rights of the rules that match a topic name; a `deny` ends the search, since nothing outweighs it.
    pub(super) fn rights(&self, names: &Names<'_>, topic: &str) -> Rights {
        let mut found = Rights::default();
        self.walk(names, topic, |rights| {
            found.add(rights);
            found.has(Rights::DENY)
        });
        found
    }

    /// Calls `stop` with the rights of each node whose rules match, until it says so. Gives the number of nodes
    /// visited.
    fn walk(&self, names: &Names<'_>, topic: &str, mut stop: impl FnMut(Rights) -> bool) -> usize {
        let mut stack = SmallVec::<[(NodeIndex, Option<&str>); 8]>::from_slice(&[(ROOT, Some(topic))]);
        let mut visited = 0;
        while let Some((at, rest)) = stack.pop() {
            visited += 1;
            let node = &self.nodes[at];
            let hidden = at == ROOT && topic.starts_with('$');
            if !hidden && stop(node.below) {
                break;
            }
            let Some(rest) = rest else {
                if stop(node.here) {
                    break;
                }
                continue;
            };
            let (level, rest) = split(rest);
            node.for_each_holding(names, level, hidden, |next| stack.push((next, rest)));
        }
        visited
    }

    /// Whether one `deny` rule matches every topic that `filter` matches.
    pub(super) fn denies_all_of(&self, names: &Names<'_>, filter: &str) -> bool {
        let levels: Vec<&str> = canonical(filter).split('/').collect();
        self.denies_all(names, &levels)
    }

    /// Whether one `deny` rule matches every topic that the filter of these levels matches.
    pub(super) fn denies_all(&self, names: &Names<'_>, levels: &[&str]) -> bool {
        let of_system = levels.first().is_some_and(|level| level.starts_with('$'));
        let mut stack = vec![(ROOT, levels)];
        while let Some((at, rest)) = stack.pop() {
            let node = &self.nodes[at];
            let hidden = at == ROOT && of_system;
            if !hidden && node.below.has(Rights::DENY) {
                return true;
            }
            match rest {
                [] if node.here.has(Rights::DENY) => return true,
                [] | ["#", ..] => {}
                ["+", rest @ ..] => stack.extend(node.any.map(|next| (next, rest))),
                [level, rest @ ..] => node.for_each_holding(names, level, hidden, |next| stack.push((next, rest))),
            }
        }
        false
    }

    /// Whether `open` says yes to the common part of `filter` and some rule that lets read. A common part of two
    /// filters is a filter again; `open` gets its levels.
    pub(super) fn overlaps<'a>(
        &'a self,
        names: &Names<'a>,
        filter: &'a str,
        mut open: impl FnMut(&[&'a str]) -> bool,
    ) -> bool {
        let filter = canonical(filter);
        let mut path: Vec<&'a str> = Vec::new();
        let mut stack = vec![Step { node: ROOT, depth: 0, level: "", rest: Some(filter) }];
        while let Some(step) = stack.pop() {
            if step.depth > 0 {
                path.truncate(step.depth - 1);
                path.push(step.level);
            }
            let node = &self.nodes[step.node];
            let hidden = step.depth == 0 && filter.starts_with('$');
            if !hidden && node.below.has(Rights::READ) {
                path.extend(step.rest.into_iter().flat_map(|rest| rest.split('/')));
                if open(&path) {
                    return true;
                }
                path.truncate(step.depth);
            }
            if matches!(step.rest, None | Some("#")) && node.here.has(Rights::READ) && open(&path) {
                return true;
            }
            node.push_common(names, &step, hidden, &mut stack);
        }
        false
    }
}

impl Node {
    /// The children whose level holds the level `level`. `hidden` keeps wildcards and placeholders from a first level
    /// with a `$` (MQTT-4.7.2-1).
    fn for_each_holding(&self, names: &Names<'_>, level: &str, hidden: bool, mut each: impl FnMut(NodeIndex)) {
        if let Some(&next) = self.literal.get(level) {
            each(next);
        }
        if hidden {
            return;
        }
        if let Some(next) = self.any {
            each(next);
        }
        if let Some(next) = self.user.filter(|_| names.user == Some(level)) {
            each(next);
        }
        if let Some(next) = self.client.filter(|_| names.client == level) {
            each(next);
        }
    }

    /// The children that have a level in common with what the filter asks for next, each with that common level.
    fn push_common<'a>(&'a self, names: &Names<'a>, step: &Step<'a>, hidden: bool, stack: &mut Vec<Step<'a>>) {
        let Some(rest) = step.rest else { return };
        let (level, after) = split(rest);
        let depth = step.depth + 1;
        let after = if level == "#" { Some("#") } else { after };
        if level != "#" && level != "+" {
            let push = |node| stack.push(Step { node, depth, level, rest: after });
            return self.for_each_holding(names, level, hidden, push);
        }
        let seen = |text: &str| step.depth > 0 || !text.starts_with('$');
        let mut push = |node, level| stack.push(Step { node, depth, level, rest: after });
        for (text, &next) in self.literal.iter().filter(|(text, _)| seen(text)) {
            push(next, text);
        }
        if let Some(next) = self.any {
            push(next, "+");
        }
        if let (Some(next), Some(user)) = (self.user, names.user.filter(|name| seen(name))) {
            push(next, user);
        }
        if let Some(next) = self.client.filter(|_| seen(names.client)) {
            push(next, names.client);
        }
    }
}

/// The first level and what follows it.
fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

/// One spelling for filters that match the same topics, so that a `deny` of either holds the other: every topic has a
/// first level, so `+/#` is `#`; no topic is empty (MQTT-4.7.3-1), so what `/#` matches has a second level.
fn canonical(filter: &str) -> &str {
    match filter {
        "+/#" => "#",
        "/#" => "/+/#",
        other => other,
    }
}

#[cfg(test)]
mod tests;
