//! Who gains and who loses what between two policies, exactly: for all topics, by walking the levels that rules name
//! and one that stands for all others.
//!
//! Called by `motte acl diff`. Compared is everybody a policy speaks of by name, somebody it does not, nobody, and
//! whoever has an attribute that a group asks for. A client identifier, a tenant and the values of attributes stand for
//! themselves (`%c`, `%t`, `${NAME}`): they are taken for texts that no rule names. Each condition that is not of the
//! publish itself is taken to hold and not to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::space::{Space, Topics};
use crate::facts::{Attributes, Facts};
use crate::identity::{ClientId, Identity, Subject, UserName};
use crate::policy::{Policy, Source};
use crate::ranked::{Condition, Effect, Questions, Rule, Substitution, Variable, canonical, variable};
use crate::topic::{Reserved, reserved};

/// Levels of a filter that are compared.
const LEVELS_MAX: usize = 128;
/// Conditions of which every combination is compared; of more, none, each alone, and all.
const CONDITIONS_MAX: usize = 6;

/// A filter has more levels than are compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a rule has more than {LEVELS_MAX} levels")]
pub struct TooDeep;

/// One difference for somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Who.
    pub who: String,
    /// Under which conditions, as the rules have them; empty for always.
    pub when: Vec<String>,
    /// Whether it is gained or lost.
    pub gains: bool,
    /// What: `publish`, with its ways where it is not all of them, or `receive`.
    pub action: String,
    /// On which topics, as a filter.
    pub topics: String,
    /// Without those of these filters.
    pub except: Vec<String>,
}

/// All differences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Each, in order.
    pub changes: Vec<Change>,
    /// Whether there were too many conditions to compare every combination.
    pub is_partial: bool,
}

/// Publishing in six ways, and being given messages: gained in the low byte, lost in the high one.
const RECEIVE: u16 = 1 << 6;

/// What differs for everybody.
pub fn diff(old: &Policy, new: &Policy) -> Result<Difference, TooDeep> {
    let mut difference = Difference::default();
    for (who, subject) in everybody(old, new) {
        compare(&who, &subject, (old, new), &mut difference)?;
    }
    difference.changes.sort();
    Ok(difference)
}

/// Everybody who may be judged in a way of their own.
fn everybody(old: &Policy, new: &Policy) -> Vec<(String, Subject)> {
    let sets = || old.sets().chain(new.sets());
    let names: BTreeSet<&str> = sets().flat_map(|rules| rules.user_names()).collect();
    let values: BTreeSet<(&str, &str)> = sets().flat_map(|rules| rules.attribute_values()).collect();
    let user = |name: &str| Subject::new(Identity::User(UserName(name.into())), ClientId("%c".into()));
    let mut all: Vec<_> = names.iter().map(|name| (format!("user {name}"), user(name))).collect();
    all.push(("any other user".into(), user("%u")));
    all.push(("clients without a user name".into(), Subject::new(Identity::Anonymous, ClientId("%c".into()))));
    for (name, value) in values {
        let mut attributes = Attributes::default();
        // One pair is less than anybody may have.
        let _ = attributes.add(name, value);
        let facts = Facts { attributes: Arc::new(attributes), ..Facts::default() };
        all.push((format!("any other user with {name} = {value}"), user("%u").with_facts(facts)));
    }
    all
}

/// A rule as it is walked: levels with values in the place of variables.
struct Flat<'a> {
    levels: Vec<&'a str>,
    effect: Effect,
    questions: Questions,
    /// The place of its condition.
    condition: Option<usize>,
    /// The same number for rules that are alike.
    alike: usize,
}

/// The rules of one source in the order in which they decide.
struct Side<'a> {
    sources: Vec<(Source, Vec<Flat<'a>>)>,
}

/// What two rules that are alike have in common: their source, levels, effect, questions and condition.
type Likeness<'a> = (usize, Vec<&'a str>, Effect, u8, Option<usize>);

/// What is needed to make both sides alike.
#[derive(Default)]
struct Names<'a> {
    conditions: Vec<Condition>,
    alike: BTreeMap<Likeness<'a>, usize>,
}

fn compare(
    who: &str,
    subject: &Subject,
    (old, new): (&Policy, &Policy),
    difference: &mut Difference,
) -> Result<(), TooDeep> {
    let mut names = Names::default();
    let sides = [flatten(old, subject, &mut names)?, flatten(new, subject, &mut names)?];
    let worlds = worlds(names.conditions.len(), difference);
    let mut found: BTreeMap<Vec<(Topics, u16)>, Vec<u64>> = BTreeMap::new();
    for &world in &worlds {
        let space = Walk { world }.space(&[], &sides.each_ref().map(Alive::all));
        let mut topics = Vec::new();
        space.each(&mut |at, value| topics.push((at, value)));
        found.entry(topics).or_default().push(world);
    }
    for (topics, in_worlds) in found {
        let cases: Vec<Vec<String>> = match in_worlds.len() == worlds.len() {
            true => vec![Vec::new()],
            false => in_worlds.iter().map(|world| described(&names.conditions, *world)).collect(),
        };
        for when in cases {
            for (at, value) in &topics {
                add_changes(who, &when, at, *value, difference);
            }
        }
    }
    Ok(())
}

/// Which conditions hold, as bits, in each case that is compared.
fn worlds(conditions: usize, difference: &mut Difference) -> Vec<u64> {
    if conditions <= CONDITIONS_MAX {
        return (0..1 << conditions).collect();
    }
    difference.is_partial = true;
    let each = (0..conditions.min(63)).map(|at| 1 << at);
    std::iter::once(0).chain(each).chain([u64::MAX]).collect()
}

fn described(conditions: &[Condition], world: u64) -> Vec<String> {
    let one = |(at, condition): (usize, &Condition)| {
        let holds = world >> at.min(63) & 1 == 1;
        if holds { condition.to_string() } else { format!("not ({condition})") }
    };
    conditions.iter().enumerate().map(one).collect()
}

fn flatten<'a>(policy: &'a Policy, who: &'a Subject, names: &mut Names<'a>) -> Result<Side<'a>, TooDeep> {
    let mut sources = Vec::new();
    for set in policy.asked_about(who) {
        let mut flat = Vec::new();
        for list in set.rules.asked_about(who) {
            for rule in list.rules() {
                flat.extend(flat_of(rule, list.substitution(), who, names)?);
            }
        }
        sources.push((set.source, flat));
    }
    Ok(Side { sources })
}

fn flat_of<'a>(
    rule: &'a Rule,
    substitution: Substitution,
    who: &'a Subject,
    names: &mut Names<'a>,
) -> Result<Option<Flat<'a>>, TooDeep> {
    let mut levels = Vec::new();
    for level in canonical(&rule.filter).split('/') {
        levels.push(match variable(level, substitution) {
            // Of whoever has no name it matches nothing.
            Ok(Some(Variable::User)) => match who.identity.user_name() {
                Some(name) => name,
                None => return Ok(None),
            },
            _ => level,
        });
    }
    if levels.len() > LEVELS_MAX {
        return Err(TooDeep);
    }
    let questions = Questions::answered_by(rule.actions, rule.when.as_deref());
    let condition =
        rule.when.as_deref().map(Condition::beside_the_message).filter(|when| *when != Condition::default());
    let condition = condition.map(|condition| {
        let known = names.conditions.iter().position(|known| *known == condition);
        known.unwrap_or_else(|| {
            names.conditions.push(condition);
            names.conditions.len() - 1
        })
    });
    let fresh = names.alike.len();
    let key = (0, levels.clone(), rule.effect, questions.0, condition);
    let alike = *names.alike.entry(key).or_insert(fresh);
    Ok(Some(Flat { levels, effect: rule.effect, questions, condition, alike }))
}

/// The rules of a side that match the levels so far, in order.
struct Alive<'a> {
    sources: Vec<(Source, Vec<&'a Flat<'a>>)>,
}

impl<'a> Alive<'a> {
    fn all(side: &'a Side<'a>) -> Self {
        Self { sources: side.sources.iter().map(|(source, rules)| (*source, rules.iter().collect())).collect() }
    }

    fn rules(&self) -> impl Iterator<Item = &'a Flat<'a>> {
        self.sources.iter().flat_map(|(_, rules)| rules.iter().copied())
    }

    /// What is allowed for a topic of so many levels; `None` for one of more, where every rule that is left holds all.
    fn allowed(&self, depth: Option<usize>, path: &[&str], world: u64) -> u16 {
        let (mut allowed, mut denied) = (0_u8, 0_u8);
        let closed = reserved(&path.join("/"));
        for (source, rules) in &self.sources {
            let mut left = u8::MAX;
            for rule in rules {
                let matches = depth.is_none_or(|depth| rule.matches_at(depth));
                let holds = rule.condition.is_none_or(|at| world >> at.min(63) & 1 == 1);
                let bits = rule.questions.0 & left;
                if bits == 0 || !matches || !holds {
                    continue;
                }
                left &= !bits;
                let is_open = match closed {
                    Reserved::No => true,
                    Reserved::Control => matches!(source, Source::PolicyFile | Source::Dynamic),
                    Reserved::System => false,
                };
                match rule.effect {
                    Effect::Allow if is_open => allowed |= bits,
                    Effect::Allow => allowed |= bits & !Questions::PUBLISH.0,
                    Effect::Deny => denied |= bits,
                }
            }
        }
        let answer = allowed & !denied;
        let receives = answer & Questions::READ.0 == Questions::READ.0;
        u16::from(answer & Questions::PUBLISH.0) | if receives { RECEIVE } else { 0 }
    }
}

/// The rules of a source with their places in its order.
type Ordered<'a> = Vec<(usize, &'a Flat<'a>)>;

/// The rules of a side by what they want the next level to be, so that 100,000 levels are not each tried with as many
/// rules.
struct Branched<'a> {
    /// Whether the next level is the first, where wildcards do not match what begins with a `$`.
    is_first: bool,
    /// For each source those that go on with any level, and those that go on with one.
    sources: Vec<(Source, Ordered<'a>, BTreeMap<&'a str, Ordered<'a>>)>,
}

impl<'a> Branched<'a> {
    fn of(side: &Alive<'a>, depth: usize) -> Self {
        let branch = |(source, rules): &(Source, Vec<&'a Flat<'a>>)| {
            let (mut any, mut named) = (Vec::new(), BTreeMap::<&str, Ordered<'a>>::new());
            for (place, &rule) in rules.iter().enumerate() {
                match rule.levels.get(depth) {
                    _ if rule.rests_above(depth) => any.push((place, rule)),
                    Some(&"+" | &"#") => any.push((place, rule)),
                    Some(text) => named.entry(text).or_default().push((place, rule)),
                    None => {}
                }
            }
            (*source, any, named)
        };
        Self { is_first: depth == 0, sources: side.sources.iter().map(branch).collect() }
    }

    /// Those that match when another level follows; `None` is one that no rule names.
    fn below(&self, level: Option<&str>) -> Alive<'a> {
        let is_system = self.is_first && level.is_some_and(|level| level.starts_with('$'));
        let keep = |(source, any, named): &(Source, Ordered<'a>, BTreeMap<&'a str, Ordered<'a>>)| {
            let named = level.and_then(|level| named.get(level));
            let any = any.iter().filter(|_| !is_system);
            let mut kept: Ordered<'a> = any.chain(named.into_iter().flatten()).copied().collect();
            kept.sort_by_key(|(place, _)| *place);
            (*source, kept.into_iter().map(|(_, rule)| rule).collect())
        };
        Alive { sources: self.sources.iter().map(keep).collect() }
    }
}

impl Flat<'_> {
    /// Whether its `#` came before this level.
    fn rests_above(&self, depth: usize) -> bool {
        self.levels.last() == Some(&"#") && self.levels.len() <= depth
    }

    /// Whether it matches a topic of so many levels, all of which it matched.
    fn matches_at(&self, depth: usize) -> bool {
        let ends_in_rest = self.levels.last() == Some(&"#");
        self.levels.len() == depth || (ends_in_rest && self.levels.len() <= depth + 1)
    }
}

/// The topics of bridges stand among those of the broker and are not reserved: the walk goes down to them.
const BRIDGE: [&str; 5] = ["$SYS", "broker", "connection", "+", "state"];

struct Walk {
    world: u64,
}

impl Walk {
    /// The differences at a place and below.
    fn space(&self, path: &[&str], sides: &[Alive<'_>; 2]) -> Space {
        let depth = path.len();
        let [old, new] = sides;
        let is_alike =
            old.sources.iter().map(|(source, _)| source).eq(new.sources.iter().map(|(source, _)| source))
                && old.sources.iter().zip(&new.sources).all(|((_, old), (_, new))| {
                    old.iter().map(|rule| rule.alike).eq(new.iter().map(|rule| rule.alike))
                });
        if is_alike {
            return Space::Whole(0);
        }
        let is_system = path.first() == Some(&"$SYS") && depth <= BRIDGE.len() && path == &BRIDGE[..depth];
        let is_resting = old.rules().chain(new.rules()).all(|rule| rule.rests_above(depth));
        if is_resting && !is_system {
            return Space::Whole(changed(sides, None, path, self.world));
        }
        let here = changed(sides, Some(depth), path, self.world);
        // No topic is empty.
        let here = Some(here).filter(|_| !path.is_empty() && path != [""]);
        let next = old.rules().chain(new.rules()).filter_map(|rule| rule.levels.get(depth).copied());
        let mut texts: BTreeSet<&str> = next.filter(|level| !matches!(*level, "+" | "#")).collect();
        texts.extend(BRIDGE.get(depth).filter(|level| is_system && **level != "+"));
        let branched = sides.each_ref().map(|side| Branched::of(side, depth));
        let at = |level: Option<&str>| {
            let sides = branched.each_ref().map(|side| side.below(level));
            let path: Vec<&str> = path.iter().copied().chain([level.unwrap_or("+")]).collect();
            self.space(&path, &sides)
        };
        let named = texts.into_iter().map(|text| (text.into(), at(Some(text)))).collect();
        Space::node(here, named, at(None))
    }
}

fn changed([old, new]: &[Alive<'_>; 2], depth: Option<usize>, path: &[&str], world: u64) -> u16 {
    let (old, new) = (old.allowed(depth, path, world), new.allowed(depth, path, world));
    (new & !old) | (old & !new) << 8
}

fn add_changes(who: &str, when: &[String], at: &Topics, value: u16, difference: &mut Difference) {
    for (gains, bits) in [(true, value & 0x7f), (false, value >> 8)] {
        let mut add = |action: String| {
            let (topics, except) = (at.filter.clone(), at.except.clone());
            difference.changes.push(Change { who: who.into(), when: when.into(), gains, action, topics, except });
        };
        let ways = bits & u16::from(Questions::PUBLISH.0);
        if ways != 0 {
            add(publish(ways));
        }
        if bits & RECEIVE != 0 {
            add("receive".into());
        }
    }
}

/// Publishing in some of the six ways.
fn publish(ways: u16) -> String {
    let qos = |bits: u16| (0..3).filter(|qos| bits >> qos & 1 == 1).map(|qos| qos.to_string()).collect::<Vec<_>>();
    let (plain, retained) = (ways & 0b111, ways >> 3);
    let named = |bits, how: &str| match bits {
        0 => None,
        0b111 => Some(how.to_owned()),
        bits => Some(format!("{how} with QoS {}", qos(bits).join(", "))),
    };
    match (plain, retained) {
        (0b111, 0b111) => "publish".into(),
        (plain, retained) if plain == retained => format!("publish with QoS {}", qos(plain).join(", ")),
        (plain, retained) => {
            let parts = [named(plain, "publish without RETAIN"), named(retained, "publish with RETAIN")];
            parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
    }
}
