//! What the commands of `store` found and did, for people and as JSON.
//!
//! Called by `store`. Texts of peers are escaped before they are shown.

use std::path::Path;

use motte_audit::Escaped;
use motte_store::tools::{Counts, Damage, Repaired, Report};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ui::{Failure, Ui, note, table};

/// So many names are shown for one damaged place; JSON has all of them.
const NAMES_MAX: usize = 5;

/// Shows what `check` found.
pub(super) fn report(directory: &Path, report: &Report, as_json: bool, ui: &mut Ui) -> Result<(), Failure> {
    if as_json {
        return ui.line(json!({
            "directory": directory.display().to_string(),
            "sound": report.is_sound(),
            "closed_in_order": !report.was_unclean,
            "last_commit_cut_off": report.is_cut,
            "counts": counts_json(&report.counts),
            "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
        }));
    }
    count_table(&report.counts, report.damage.len(), ui)?;
    damage_list(&report.damage, ui)?;
    ui.line("")?;
    if report.is_sound() {
        let unclean = match (report.is_cut, report.was_unclean) {
            (true, _) => "; its last commit was cut off before anyone was told of it, which is no damage",
            (false, true) => "; it was not closed in order, which is no damage",
            (false, false) => "",
        };
        return ui.line(format_args!("{}: the store is sound{unclean}", directory.display()));
    }
    ui.line(ui.red(&format!("{}: the store is damaged", directory.display())))?;
    ui.line("`motte store repair` keeps everything that can be verified.")
}

/// Shows what `repair` did.
pub(super) fn repaired(directory: &Path, repaired: &Repaired, as_json: bool, ui: &mut Ui) -> Result<(), Failure> {
    let backup = repaired.backup.as_ref().map(|path| path.display().to_string());
    if as_json {
        return ui.line(json!({
            "directory": directory.display().to_string(),
            "repaired": !repaired.before.is_sound(),
            "backup": backup,
            "lost": repaired.before.damage.iter().map(damage_json).collect::<Vec<_>>(),
            "before": counts_json(&repaired.before.counts),
            "after": counts_json(&repaired.after),
        }));
    }
    if repaired.before.is_sound() {
        return ui.line(format_args!("{}: the store is sound; nothing was changed", directory.display()));
    }
    count_table(&repaired.after, 0, ui)?;
    damage_list(&repaired.before.damage, ui)?;
    ui.line("")?;
    ui.line(format_args!("{}: the store is sound now; what is named above is lost", directory.display()))?;
    match backup {
        Some(backup) => ui.line(format_args!("The damaged store is kept in {backup}.")),
        None => Ok(()),
    }
}

/// One line on standard error about what was exported or imported.
pub(super) fn counts(what: &str, counts: &Counts) {
    let Counts { sessions, subscriptions, messages, retained, wills, .. } = counts;
    note(format_args!(
        "{what}: {}, {}, {}, {}, {}",
        plural(*sessions, "session"),
        plural(*subscriptions, "subscription"),
        plural(*messages, "message"),
        plural(*retained, "retained topic"),
        plural(*wills, "will")
    ));
}

fn count_table(counts: &Counts, damaged: usize, ui: &mut Ui) -> Result<(), Failure> {
    let oldest =
        counts.oldest_ms.map_or_else(|| String::from("-"), |ms| format!("{} before the last commit", span(ms)));
    let committed = counts.committed_ms.map_or_else(|| String::from("-"), moment);
    let rows = [
        ("sessions", counts.sessions.to_string()),
        ("subscriptions", counts.subscriptions.to_string()),
        ("queued", counts.queued.to_string()),
        ("in flight", counts.in_flight.to_string()),
        ("retained", counts.retained.to_string()),
        ("wills", counts.wills.to_string()),
        ("removed users", counts.removals.to_string()),
        ("bans", counts.bans.to_string()),
        ("messages", format!("{} ({})", counts.messages, bytes(counts.message_bytes))),
        ("oldest message", oldest),
        ("file", bytes(counts.file_bytes)),
        ("last commit", committed),
        ("damaged", damaged.to_string()),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&["WHAT", "HOW MUCH"], &rows).into_iter().try_for_each(|line| ui.line(line))
}

fn damage_list(damage: &[Damage], ui: &mut Ui) -> Result<(), Failure> {
    for one in damage {
        ui.line("")?;
        ui.line(ui.red(&format!("{}: {}", one.kind.word(), Escaped(&one.what))))?;
        ui.line(format_args!("  lost      {}", Escaped(&one.lost)))?;
        for (word, names) in [("sessions", &one.sessions), ("topics", &one.topics)] {
            if !names.is_empty() {
                ui.line(format_args!("  {word:<9} {}", names_in_short(names)))?;
            }
        }
    }
    Ok(())
}

fn names_in_short(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(|name| Escaped(name).to_string()).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more (--json names all)") };
    format!("{}{rest}", shown.join(", "))
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "sessions": counts.sessions,
        "subscriptions": counts.subscriptions,
        "queued": counts.queued,
        "in_flight": counts.in_flight,
        "retained": counts.retained,
        "wills": counts.wills,
        "removed_users": counts.removals,
        "bans": counts.bans,
        "messages": counts.messages,
        "message_bytes": counts.message_bytes,
        "oldest_message_ms": counts.oldest_ms,
        "file_bytes": counts.file_bytes,
        "last_commit": counts.committed_ms.map(moment),
    })
}

fn damage_json(damage: &Damage) -> Value {
    let range = |(shard, first, last): &(u16, u64, u64)| json!({ "shard": shard, "first": first, "last": last });
    json!({
        "kind": damage.kind.word(),
        "what": damage.what,
        "lost": damage.lost,
        "positions": damage.ranges.iter().map(range).collect::<Vec<_>>(),
        "sessions": damage.sessions,
        "topics": damage.topics,
    })
}

fn moment(ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    at.and_then(|at| at.replace_millisecond(0).ok()?.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
