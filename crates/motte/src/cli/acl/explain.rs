//! `motte acl explain`: whether somebody may do something, by which rule, and what would change it.
//!
//! Called by `motte acl`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, ValueEnum};
use motte_policy::policy::Reason;
use motte_policy::ranked::Effect;
use motte_policy::{
    Attributes, ClientId, Explanation, Facts, Identity, Publishing, Question, Source, Subject, SubscribeVerdict,
    TenantName, UserName,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::source::Rules;
use crate::ui::{FAILURE, Failure, SUCCESS, USAGE, Ui};

/// Say whether something is allowed, by which rule, and what would change it
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 allowed, or a part of it; 1 denied, or a file is broken; 2 wrong command line.\n\n\
    Example: motte acl explain -f acl --user pump-1 --client c1 publish plant/pump-1/level"
)]
pub(crate) struct Args {
    /// What is to be done
    #[arg(value_enum)]
    action: Doing,
    /// The topic; a filter for subscribe
    topic: String,
    /// An ACL file or a policy file; may be given twice
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "config")]
    files: Vec<PathBuf>,
    /// Take the files that a configuration names
    #[arg(short, long, value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,
    /// The user name; none for a client without one
    #[arg(short, long)]
    user: Option<String>,
    /// The client identifier
    #[arg(long, default_value = "client", value_name = "ID")]
    client: String,
    /// The tenant
    #[arg(long)]
    tenant: Option<String>,
    /// An attribute of the certificate or token, such as cert.ou=Water; may be given often
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// The address the client comes from
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The time, such as 2026-01-31T08:00:00Z; now by default
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The QoS of the publish
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// The publish is to be retained
    #[arg(long)]
    retain: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Doing {
    Publish,
    Subscribe,
    Receive,
}

/// What is shown.
struct Answer {
    verdict: &'static str,
    reasons: Vec<String>,
    details: Vec<Value>,
    holds: Vec<String>,
    except: Vec<String>,
    change: String,
}

pub(super) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let mut rules = match &args.config {
        Some(config) => Rules::of_configuration(config)?,
        None => Rules::of_files(&args.files, None)?,
    };
    rules.policy = rules.policy.at(second(args.at.as_deref())?);
    let who = subject(args)?;
    let answer = answer(args, &rules, &who);
    if args.json {
        let shown = json!({
            "action": format!("{:?}", args.action).to_lowercase(), "topic": args.topic, "decision": answer.verdict,
            "reasons": answer.details, "holds": answer.holds, "except": answer.except, "change": answer.change,
        });
        ui.line(format_args!("{shown}"))?;
    } else {
        ui.line(answer.verdict)?;
        for (title, lines) in [("", &answer.reasons), ("holds for ", &answer.holds), ("but not for ", &answer.except)] {
            for line in lines {
                ui.line(format_args!("  {title}{line}"))?;
            }
        }
        ui.line(format_args!("  {}", answer.change))?;
    }
    Ok(if answer.verdict == "denied" { FAILURE } else { SUCCESS })
}

fn subject(args: &Args) -> Result<Subject, Failure> {
    let usage = |what: String, hint: &str| Failure::new(what, hint).with_code(USAGE);
    let tenant = args.tenant.as_deref().map(TenantName::parse).transpose();
    let tenant = tenant.map_err(|error| usage(error.to_string(), "name the tenant as the configuration does"))?;
    let mut attributes = Attributes::default();
    for pair in &args.attributes {
        let hint = "write it as --attribute cert.ou=Water";
        let (name, value) = pair.split_once('=').ok_or_else(|| usage(format!("{pair:?} has no ="), hint))?;
        attributes.add(name, value).map_err(|error| usage(error.to_string(), "give fewer"))?;
    }
    let identity = args.user.as_deref().map_or(Identity::Anonymous, |name| Identity::User(UserName(name.into())));
    let facts = Facts { attributes: Arc::new(attributes), tenant, address: args.address, ..Facts::default() };
    Ok(Subject::new(identity, ClientId(args.client.as_str().into())).with_facts(facts))
}

fn second(at: Option<&str>) -> Result<u64, Failure> {
    let Some(at) = at else {
        return Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    };
    let parsed = OffsetDateTime::parse(at, &Rfc3339).ok().and_then(|at| u64::try_from(at.unix_timestamp()).ok());
    parsed
        .ok_or_else(|| Failure::new(format!("{at:?} is no time"), "write it as 2026-01-31T08:00:00Z").with_code(USAGE))
}

fn answer(args: &Args, rules: &Rules, who: &Subject) -> Answer {
    let topic = args.topic.as_str();
    let is_filter = args.action == Doing::Subscribe && topic.split('/').any(|level| matches!(level, "+" | "#"));
    if args.action == Doing::Subscribe && is_filter {
        return of_filter(rules, who, topic);
    }
    let what = Publishing { topic, qos: args.qos, retain: args.retain };
    let questions = match args.action {
        Doing::Publish => vec![Question::Publish(what)],
        // A subscription holds where messages may be received, and they are received where it may be held.
        Doing::Subscribe | Doing::Receive => vec![Question::Subscribe(topic), Question::Receive(topic)],
    };
    let explained: Vec<Explanation<'_>> =
        questions.into_iter().map(|question| rules.policy.explain(who, question)).collect();
    let is_allowed = explained.iter().all(|one| one.allowed);
    let mut reasons: Vec<String> = Vec::new();
    let mut details = Vec::new();
    for reason in explained.iter().flat_map(|one| &one.reasons) {
        let line = shown(rules, reason);
        if !reasons.contains(&line) {
            reasons.push(line);
            details.push(detail(rules, reason));
        }
    }
    let change = change(rules, &explained, is_allowed);
    let verdict = if is_allowed { "allowed" } else { "denied" };
    Answer { verdict, reasons, details, holds: Vec::new(), except: Vec::new(), change }
}

fn of_filter(rules: &Rules, who: &Subject, filter: &str) -> Answer {
    let told = rules.policy.narrowed(who, filter);
    let (verdict, change) = match rules.policy.may_subscribe(who, filter) {
        SubscribeVerdict::Granted => ("allowed", "every topic it matches may be received"),
        SubscribeVerdict::Narrowed => ("narrowed", "ask about a single topic to see the rule that decides on it"),
        SubscribeVerdict::Refused => ("denied", "nothing it matches may be received; a rule that allows it is missing"),
    };
    let (mut holds, except) = if verdict == "narrowed" { (told.holds, told.except) } else { Default::default() };
    if told.has_more && verdict == "narrowed" {
        holds.push("…".into());
    }
    Answer { verdict, reasons: Vec::new(), details: Vec::new(), holds, except, change: change.into() }
}

fn place(rules: &Rules, reason: &Reason<'_>) -> String {
    let path = rules.path_of(reason.source).map(|path| path.display().to_string()).unwrap_or_default();
    format!("{path}:{}", reason.rule.line)
}

fn effect(reason: &Reason<'_>) -> &'static str {
    match reason.rule.effect {
        Effect::Allow if reason.counts => "allows",
        Effect::Allow => "would allow, and does not count",
        Effect::Deny => "denies",
    }
}

fn shown(rules: &Rules, reason: &Reason<'_>) -> String {
    let when = reason.rule.when.as_ref().map(|when| format!(" when {when}")).unwrap_or_default();
    format!("{}: {} {} `{}`{when}", place(rules, reason), reason.list, effect(reason), reason.rule.filter)
}

fn detail(rules: &Rules, reason: &Reason<'_>) -> Value {
    let file = rules.path_of(reason.source).map(|path| path.display().to_string());
    json!({ "file": file, "line": reason.rule.line, "list": reason.list, "filter": reason.rule.filter,
        "effect": effect(reason), "when": reason.rule.when.as_ref().map(ToString::to_string) })
}

/// What would make it otherwise.
fn change(rules: &Rules, explained: &[Explanation<'_>], is_allowed: bool) -> String {
    if explained.iter().any(|one| one.is_unsafe) {
        return "the user name or client identifier holds +, #, / or nothing, and rules put it into topics: nobody of \
                that name is let in; use another name"
            .into();
    }
    let deciding = |wanted: Effect| {
        explained.iter().flat_map(|one| &one.reasons).find(|reason| reason.rule.effect == wanted && reason.counts)
    };
    match (is_allowed, deciding(Effect::Deny), deciding(Effect::Allow)) {
        (true, _, Some(reason)) => {
            format!("to deny it: narrow or remove {}, or deny the topic before it", place(rules, reason))
        }
        (false, Some(reason), _) => {
            let hint = match reason.source {
                Source::PolicyFile => "narrow or remove {}, or allow the topic with a higher priority in that file",
                _ => "narrow or remove {}; a denial is not outweighed by another file",
            };
            format!("to allow it: {}", hint.replace("{}", &place(rules, reason)))
        }
        _ => "to allow it: add a rule that does; no rule that counts speaks of this topic".into(),
    }
}
