//! The filters of one list as a tree of levels.
//!
//! Called by the list only. Every walk keeps its own stack and visits a node at most once, so neither a deep topic nor
//! a deep filter can exhaust the stack of the thread. Values are put into variables by comparing one whole level.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::table::Table;
use crate::identity::Subject;

pub(super) type NodeIndex = u32;
/// A place in the order of the rules of a list.
pub(crate) type RuleId = u32;

const ROOT: NodeIndex = 0;

/// What stands for a whole level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    User,
    Client,
    Tenant,
    Attribute(Box<str>),
}

impl Variable {
    /// Calls with each value that can be a level, until one breaks off.
    pub(crate) fn each<'a>(&self, who: &'a Subject, mut take: impl FnMut(&'a str)) {
        let mut safe = |value: &'a str| {
            if !widens(value) {
                take(value);
            }
        };
        match self {
            Self::User => who.identity.user_name().into_iter().for_each(safe),
            Self::Client => safe(&who.client_id.0),
            Self::Tenant => who.tenant.iter().for_each(|tenant| safe(tenant.as_str())),
            Self::Attribute(name) => who.attributes.values(name).for_each(safe),
        }
    }
}

/// Whether a text in the place of a level would be something else than this one level.
pub(crate) fn widens(text: &str) -> bool {
    text.is_empty() || text.contains(['+', '#', '/', '\0'])
}

/// A level of a filter as it is put in.
pub(super) enum Level<'a> {
    Text(&'a str),
    Any,
    Variable(usize),
    /// `#`.
    Rest,
}

#[derive(Debug, Default)]
struct Node {
    /// Rules that end here.
    here: SmallVec<[RuleId; 2]>,
    /// Rules that end in `#` under this level: they match this level itself and everything below (MQTT-4.7.1.2).
    below: SmallVec<[RuleId; 2]>,
    /// What the rules of this node and of all under it answer.
    under: u16,
    literal: Table,
    any: Option<NodeIndex>,
    variables: SmallVec<[(u16, NodeIndex); 1]>,
}

/// The tree while rules are put in.
#[derive(Debug)]
pub(super) struct Growing {
    nodes: Vec<(Node, BTreeMap<Box<str>, NodeIndex>)>,
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Box<[Node]>,
    pub(super) variables: Box<[Variable]>,
}

/// A step of a walk that takes the common part of a filter and the rules: the node, the levels on the way to it, the
/// level that leads to it, and what the filter still asks for.
struct Step<'a> {
    node: NodeIndex,
    depth: usize,
    level: &'a str,
    rest: Option<&'a str>,
}

impl Growing {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Default::default()] }
    }

    /// Puts a rule in that answers `answers`. Rules come in their order.
    pub(super) fn insert<'a>(&mut self, levels: impl Iterator<Item = Level<'a>>, rule: RuleId, answers: u16) {
        let mut at = ROOT as usize;
        self.nodes[at].0.under |= answers;
        for level in levels {
            let fresh = NodeIndex::try_from(self.nodes.len()).expect("a file has fewer levels");
            let (node, literal) = &mut self.nodes[at];
            let next = match level {
                Level::Rest => {
                    node.below.push(rule);
                    return;
                }
                Level::Any => *node.any.get_or_insert(fresh),
                Level::Variable(number) => {
                    let number = u16::try_from(number).expect("variables are counted when they are read");
                    match node.variables.iter().find(|(known, _)| *known == number) {
                        Some((_, next)) => *next,
                        None => {
                            node.variables.push((number, fresh));
                            fresh
                        }
                    }
                }
                Level::Text(text) => match literal.get(text) {
                    Some(known) => *known,
                    None => *literal.entry(text.into()).or_insert(fresh),
                },
            };
            if next == fresh {
                self.nodes.push(Default::default());
            }
            at = next as usize;
            self.nodes[at].0.under |= answers;
        }
        self.nodes[at].0.here.push(rule);
    }

    pub(super) fn freeze(self, variables: Vec<Variable>) -> Trie {
        let freeze = |(node, literal): (Node, BTreeMap<_, _>)| {
            let literal = Table::of(literal.into_iter().collect());
            Node { literal, ..node }
        };
        Trie { nodes: self.nodes.into_iter().map(freeze).collect(), variables: variables.into() }
    }
}

impl Trie {
    /// What all rules answer.
    pub(super) fn answers(&self) -> u16 {
        self.nodes[ROOT as usize].under
    }

    fn node(&self, at: NodeIndex) -> &Node {
        &self.nodes[at as usize]
    }

    /// Calls with the rules of each node that match a topic name; passes over what answers nothing of `wanted`. Gives
    /// the number of nodes visited.
    pub(super) fn matching(&self, who: &Subject, topic: &str, wanted: u16, mut each: impl FnMut(&[RuleId])) -> usize {
        let mut stack = SmallVec::<[(NodeIndex, Option<&str>); 8]>::from_slice(&[(ROOT, Some(topic))]);
        let mut visited = 0;
        while let Some((at, rest)) = stack.pop() {
            let node = self.node(at);
            if node.under & wanted == 0 {
                continue;
            }
            visited += 1;
            let hidden = at == ROOT && topic.starts_with('$');
            if !hidden {
                each(&node.below);
            }
            let Some(rest) = rest else {
                each(&node.here);
                continue;
            };
            let (level, rest) = split(rest);
            self.for_each_holding(node, who, level, hidden, |next| stack.push((next, rest)));
        }
        visited
    }

    /// Calls with the rules of each node that match every topic that the filter of these levels matches.
    pub(super) fn covering(&self, who: &Subject, levels: &[&str], wanted: u16, mut each: impl FnMut(&[RuleId])) {
        let of_system = levels.first().is_some_and(|level| level.starts_with('$'));
        let mut stack = SmallVec::<[(NodeIndex, &[&str]); 8]>::from_slice(&[(ROOT, levels)]);
        while let Some((at, rest)) = stack.pop() {
            let node = self.node(at);
            if node.under & wanted == 0 {
                continue;
            }
            let hidden = at == ROOT && of_system;
            if !hidden {
                each(&node.below);
            }
            match rest {
                [] => each(&node.here),
                ["#", ..] => {}
                ["+", rest @ ..] => stack.extend(node.any.map(|next| (next, rest))),
                [level, rest @ ..] => {
                    self.for_each_holding(node, who, level, hidden, |next| stack.push((next, rest)));
                }
            }
        }
    }

    /// Calls with the rules of each node that have topics in common with the filter of these levels, and the levels of
    /// what they have in common, which is a filter again.
    pub(super) fn common<'a, B>(
        &'a self,
        who: &'a Subject,
        filter: &'a str,
        wanted: u16,
        mut each: impl FnMut(&[RuleId], &[&'a str]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut path: Vec<&'a str> = Vec::new();
        let mut stack = vec![Step { node: ROOT, depth: 0, level: "", rest: Some(filter) }];
        while let Some(step) = stack.pop() {
            let node = self.node(step.node);
            if node.under & wanted == 0 {
                continue;
            }
            if step.depth > 0 {
                path.truncate(step.depth - 1);
                path.push(step.level);
            }
            let hidden = step.depth == 0 && filter.starts_with('$');
            if !hidden && !node.below.is_empty() {
                path.extend(step.rest.into_iter().flat_map(|rest| rest.split('/')));
                each(&node.below, &path)?;
                path.truncate(step.depth);
            }
            if matches!(step.rest, None | Some("#")) && !node.here.is_empty() {
                each(&node.here, &path)?;
            }
            self.push_common(node, who, &step, hidden, &mut stack);
        }
        ControlFlow::Continue(())
    }

    /// The children whose level holds the level `level`. `hidden` keeps wildcards and variables from a first level with
    /// a `$` (MQTT-4.7.2-1).
    fn for_each_holding(&self, node: &Node, who: &Subject, level: &str, hidden: bool, mut each: impl FnMut(NodeIndex)) {
        if let Some(next) = node.literal.get(level) {
            each(next);
        }
        if hidden {
            return;
        }
        if let Some(next) = node.any {
            each(next);
        }
        for &(number, next) in &node.variables {
            let mut is_it = false;
            self.variables[usize::from(number)].each(who, |value| is_it |= value == level);
            if is_it {
                each(next);
            }
        }
    }

    /// The children that have a level in common with what the filter asks for next, each with that common level.
    fn push_common<'a>(
        &'a self,
        node: &'a Node,
        who: &'a Subject,
        step: &Step<'a>,
        hidden: bool,
        stack: &mut Vec<Step<'a>>,
    ) {
        let Some(rest) = step.rest else { return };
        let (level, after) = split(rest);
        let depth = step.depth + 1;
        let after = if level == "#" { Some("#") } else { after };
        if level != "#" && level != "+" {
            let push = |node| stack.push(Step { node, depth, level, rest: after });
            return self.for_each_holding(node, who, level, hidden, push);
        }
        let seen = |text: &str| step.depth > 0 || !text.starts_with('$');
        let mut push = |node, level| stack.push(Step { node, depth, level, rest: after });
        // The last one is looked at first.
        for &(number, next) in node.variables.iter().rev() {
            self.variables[usize::from(number)].each(who, |value| {
                if seen(value) {
                    push(next, value);
                }
            });
        }
        for (text, next) in node.literal.iter().rev().filter(|(text, _)| seen(text)) {
            push(next, text);
        }
        if let Some(next) = node.any {
            push(next, "+");
        }
    }
}

/// The first level and what follows it.
pub(super) fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

/// One spelling for filters that match the same topics, so that a rule for either holds the other: every topic has a
/// first level, so `+/#` is `#`; no topic is empty (MQTT-4.7.3-1), so what `/#` matches has a second level.
pub(crate) fn canonical(filter: &str) -> &str {
    match filter {
        "+/#" => "#",
        "/#" => "/+/#",
        other => other,
    }
}
