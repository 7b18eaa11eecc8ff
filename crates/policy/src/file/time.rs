//! The time conditions of a rule: `days`, `hours`, `offset`, `from`, `until`.
//!
//! Called for each rule of the policy file. Works with calendars by arithmetic; asks no clock.

use toml::value::{Date, Datetime, Offset};

use super::reader::{Located, Reader, Table};
use crate::ranked::{DAYS, TimeWindow};
use crate::suggest::suggestion;

const DAY_S: i64 = 24 * 3_600;

/// The window of a rule; `None` when it has no condition on time.
pub(super) fn window(table: &Table<'_>, reader: &mut Reader) -> Option<TimeWindow> {
    let has_any = ["days", "hours", "from", "until"].iter().any(|key| table.has(key));
    let offset_s = table.text("offset", reader).and_then(|text| offset(&text, reader)).unwrap_or(0);
    if !has_any {
        if table.has("offset") {
            let hint = "add days, hours, from or until, or remove it";
            reader.error(table.line_of("offset", reader), "offset without a condition on time", hint);
        }
        return None;
    }
    let hours = table.text("hours", reader).and_then(|text| hours(&text, reader)).unwrap_or((0, 0));
    let (from, until) = (table.date("from", reader), table.date("until", reader));
    let mut second = |date: &Located<Datetime>| {
        let second = second_of(&date.value, offset_s);
        if second.is_none() {
            reader.error(date.line, "the date is before 1970 or after 9999", "name a day in between");
        }
        second
    };
    let (begin, end) = (from.as_ref().and_then(&mut second), until.as_ref().and_then(&mut second));
    if let (Some(begin), Some(end), Some(date)) = (begin, end, &until)
        && begin >= end
    {
        reader.error(date.line, "until is not after from: the rule can never hold", "exchange the two");
    }
    Some(TimeWindow { days: days(table, reader), hours, offset_s, from: begin, until: end })
}

fn days(table: &Table<'_>, reader: &mut Reader) -> u8 {
    if !table.has("days") {
        return 0b111_1111;
    }
    let mut bits = 0;
    for word in table.texts("days", reader) {
        match DAYS.iter().position(|day| *day == word.value) {
            Some(day) => bits |= 1 << day,
            None => {
                let near = suggestion(&word.value, &DAYS).map(|near| format!("did you mean {near:?}?"));
                let hint = near.unwrap_or_else(|| format!("known are {}", DAYS.join(", ")));
                reader.error(word.line, format!("days cannot be {:?}", word.value), hint);
            }
        }
    }
    if bits == 0 {
        reader.error(table.line_of("days", reader), "days names no day", "write days = [\"mon\", \"tue\"]");
    }
    bits
}

/// `08:00-17:30` as minutes of the day.
fn hours(text: &Located<String>, reader: &mut Reader) -> Option<(u16, u16)> {
    let found = text.value.split_once('-').and_then(|(from, to)| Some((minute(from, false)?, minute(to, true)?)));
    if found.is_none_or(|(from, to)| from == to) {
        let hint = "write hours = \"08:00-17:30\"; an end before the begin is on the next day";
        reader.error(text.line, format!("hours cannot be {:?}", text.value), hint);
    }
    // Midnight as an end is minute 0 of the next day.
    found.map(|(from, to)| (from, to % (24 * 60)))
}

fn minute(text: &str, is_end: bool) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| {
        let is_two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_two { text.parse::<u16>().ok() } else { None }
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let is_time = minute < 60 && (hour < 24 || (is_end && hour == 24 && minute == 0));
    is_time.then_some(hour * 60 + minute)
}

/// `+02:00` or `Z` as seconds east of UTC.
fn offset(text: &Located<String>, reader: &mut Reader) -> Option<i32> {
    let of = |value: &str| {
        let (sign, rest) = match value.as_bytes().first()? {
            b'+' => (1, &value[1..]),
            b'-' => (-1, &value[1..]),
            _ => return (value == "Z").then_some(0),
        };
        minute(rest, false).filter(|minutes| *minutes <= 15 * 60).map(|minutes| sign * i32::from(minutes) * 60)
    };
    let found = of(&text.value);
    if found.is_none() {
        let hint = "write offset = \"+02:00\", \"-05:30\" or \"Z\"";
        reader.error(text.line, format!("offset cannot be {:?}", text.value), hint);
    }
    found
}

/// Seconds of Unix time; a date without an offset of its own is one of the rule's.
fn second_of(when: &Datetime, offset_s: i32) -> Option<u64> {
    let date = when.date?;
    let in_day = when.time.map_or(0, |time| {
        i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0))
    });
    let offset_s = match when.offset {
        None => i64::from(offset_s),
        Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes) * 60,
    };
    u64::try_from(day_of(date) * DAY_S + in_day - offset_s).ok()
}

/// Days since the first of January 1970 (H. Hinnant's algorithm: years that begin in March).
fn day_of(date: Date) -> i64 {
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}
