//! Motte's own policy file: roles with ranked rules and conditions, given to users, groups, or everybody, in TOML.
//!
//! Called by the snapshot of the node and by the command line. A broken file is no policy at all: parsing gives every
//! error with its line and what to do.

mod reader;
mod rule;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reader::{Located, Reader, Table};

use crate::acl::AclError;
use crate::ranked::{List, Rule, RuleSet, RuleSetBuilder, Substitution};
use crate::suggest::suggestion;

/// Roles, and groups, in one file.
const NAMES_MAX: usize = 10_000;

const TOP: [&str; 2] = ["role", "group"];
const GROUP: [&str; 4] = ["name", "priority", "users", "attributes"];
const ROLE: [&str; 7] = ["name", "priority", "users", "groups", "anonymous", "everybody", "rule"];

/// A policy file, compiled.
#[derive(Debug)]
pub struct PolicyFile {
    rules: Arc<RuleSet>,
    named: Vec<(Box<str>, usize)>,
    warnings: Vec<AclError>,
}

/// Attributes, each with values of which one is enough.
type Attributes = Vec<(Box<str>, Vec<Box<str>>)>;

/// Users, and whoever has one of some attributes.
struct Group {
    name: Located<String>,
    priority: i32,
    users: Vec<Located<String>>,
    attributes: Attributes,
}

/// Rules, and to whom they are given.
struct Role {
    name: Located<String>,
    priority: i32,
    users: Vec<Located<String>>,
    groups: Vec<Located<String>>,
    anonymous: bool,
    everybody: bool,
    rules: Vec<Rule>,
}

impl PolicyFile {
    /// Compiles the text of a file, or gives all its errors in the order of lines. A text with no role denies
    /// everything.
    pub fn parse(text: &str) -> Result<Self, Vec<AclError>> {
        let mut reader = Reader::new(text);
        let document = reader.document(text);
        let (mut groups, mut roles) = (Vec::new(), Vec::new());
        if let Some(document) = &document {
            let top = reader.top(document, &TOP);
            groups = top
                .tables("group", "[[group]]", &GROUP, &mut reader)
                .iter()
                .filter_map(|t| group(t, &mut reader))
                .collect();
            roles = top
                .tables("role", "[[role]]", &ROLE, &mut reader)
                .iter()
                .filter_map(|t| role(t, &mut reader))
                .collect();
        }
        refuse_twins("group", groups.iter().map(|group: &Group| &group.name), &mut reader);
        refuse_twins("role", roles.iter().map(|role: &Role| &role.name), &mut reader);
        let known: Vec<&str> = groups.iter().map(|group| &*group.name.value).collect();
        for name in roles.iter().flat_map(|role| &role.groups) {
            if !known.contains(&&*name.value) {
                let near = suggestion(&name.value, &known).map(|near| format!("did you mean {near:?}?"));
                let hint = near.unwrap_or_else(|| format!("add [[group]] with name = {:?}", name.value));
                reader.error(name.line, format!("there is no group {:?}", name.value), hint);
            }
        }
        reader.finish()?;
        let mut warnings: Vec<AclError> = roles.iter().filter_map(unused).collect();
        let used: BTreeSet<&str> = roles.iter().flat_map(|role| &role.groups).map(|name| &*name.value).collect();
        let idle = groups.iter().filter(|group| !used.contains(&*group.name.value));
        warnings.extend(idle.map(|group| {
            let what = format!("no role is given to the group {:?}", group.name.value);
            AclError { line: group.name.line, what, hint: "name it in `groups` of a role, or remove it".into() }
        }));
        warnings.sort_by_key(|warning| warning.line);
        let users = groups.iter().flat_map(|group| &group.users).chain(roles.iter().flat_map(|role| &role.users));
        let mut named: Vec<(Box<str>, usize)> = users.map(|name| ((&*name.value).into(), name.line)).collect();
        named.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        named.dedup_by(|later, first| later.0 == first.0);
        Ok(Self { rules: Arc::new(assign(groups, roles)), named, warnings })
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The users it speaks of, each with the first line that names it.
    #[must_use]
    pub fn named(&self) -> &[(Box<str>, usize)] {
        &self.named
    }

    /// What is allowed in the file but hardly meant, in the order of lines.
    #[must_use]
    pub fn warnings(&self) -> &[AclError] {
        &self.warnings
    }
}

fn group(table: &Table<'_>, reader: &mut Reader) -> Option<Group> {
    let name = table.name("users = [\"…\"] and attributes stand below it", reader)?;
    let users = table.user_names("users", reader);
    let attributes = table.attributes("attributes", reader);
    if users.is_empty() && attributes.is_empty() {
        let hint = "add users = [\"…\"], or attributes = { \"cert.ou\" = [\"…\"] }";
        reader.error(name.line, format!("the group {:?} has no members", name.value), hint);
    }
    Some(Group { name, priority: table.number("priority", reader).unwrap_or(0), users, attributes })
}

fn role(table: &Table<'_>, reader: &mut Reader) -> Option<Role> {
    let name = table.name("rules stand below it as [[role.rule]]", reader)?;
    let rules = table.tables("rule", "[[role.rule]]", &rule::KEYS, reader);
    Some(Role {
        name,
        priority: table.number("priority", reader).unwrap_or(0),
        users: table.user_names("users", reader),
        groups: table.texts("groups", reader),
        anonymous: table.flag("anonymous", reader).unwrap_or(false),
        everybody: table.flag("everybody", reader).unwrap_or(false),
        rules: rules.iter().flat_map(|rule| rule::read(rule, reader)).collect(),
    })
}

fn refuse_twins<'a>(kind: &str, names: impl Iterator<Item = &'a Located<String>>, reader: &mut Reader) {
    let mut known = BTreeMap::new();
    for name in names {
        if let Some(first) = known.insert(&*name.value, name.line) {
            let what = format!("the {kind} {:?} is there twice, first in line {first}", name.value);
            reader.error(name.line, what, "give it another name, or bring the two together");
        }
    }
    if known.len() > NAMES_MAX {
        reader.error(0, format!("there are more than {NAMES_MAX} of [[{kind}]]"), "bring some of them together");
    }
}

fn unused(role: &Role) -> Option<AclError> {
    let is_given = role.anonymous || role.everybody || !role.users.is_empty() || !role.groups.is_empty();
    let what = format!("the role {:?} is given to nobody", role.name.value);
    let hint = "add users, groups, everybody = true or anonymous = true, or remove it";
    (!is_given).then(|| AclError { line: role.name.line, what, hint: hint.into() })
}

/// Gives each role its places: a user's own before those of its groups before those of everybody; among each by
/// priority, then in the order of the file.
fn assign(mut groups: Vec<Group>, mut roles: Vec<Role>) -> RuleSet {
    groups.sort_by_key(|group| std::cmp::Reverse(group.priority));
    roles.sort_by_key(|role| std::cmp::Reverse(role.priority));
    let count = u32::try_from(roles.len()).expect("the number of roles is bounded");
    let mut set = RuleSetBuilder::default();
    for (role, at) in roles.into_iter().zip(0_u32..) {
        let Role { name, users, groups: given, anonymous, everybody, rules, .. } = role;
        let name = format!("role {}", name.value);
        let list = List::compile(&name, rules, Substitution::All).expect("every topic was checked");
        let list = Arc::new(list);
        users.iter().for_each(|user| set.user(&user.value, at, &list));
        if anonymous {
            set.anonymous(at, &list);
        }
        for (group, nth) in groups.iter().zip(1_u32..) {
            if !given.iter().any(|name| name.value == group.name.value) {
                continue;
            }
            let place = nth * count + at;
            group.users.iter().for_each(|user| set.user(&user.value, place, &list));
            for (name, values) in &group.attributes {
                values.iter().for_each(|value| set.attribute(name, value, place, &list));
            }
        }
        if everybody {
            set.everybody(u32::MAX - count + at, &list);
        }
    }
    set.build()
}

#[cfg(test)]
mod tests;
