//! Seconds of Unix time as people write them: `2026-11-22T00:00:00Z`.
//!
//! Called by the password file. Years 1970 to 9999, UTC only; reads no clock.

const DAY: u64 = 86_400;
/// The first second of the year 10000.
const END: u64 = 253_402_300_800;

/// The text of a time, as RFC 3339 has it.
#[must_use]
pub fn format(seconds: u64) -> String {
    let seconds = seconds.min(END - 1);
    let (year, month, day) = date_of(seconds / DAY);
    let rest = seconds % DAY;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// The time of a text in exactly this form.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let seconds = days_to(year, month, day) * DAY + hour * 3_600 + minute * 60 + second;
    // Whatever is out of its range, or written in another way, comes back as another text.
    (format(seconds) == text).then_some(seconds)
}

/// Days from 1970 to a day (Howard Hinnant's `days_from_civil`, for years after 1970).
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day;
    (365 * year + year / 4 - year / 100 + year / 400 + in_year).saturating_sub(719_469)
}

/// Year, month and day of a number of days from 1970 (Howard Hinnant's `civil_from_days`).
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * in_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, in_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::{END, format, parse};

    #[test]
    fn times_are_written_and_read_as_rfc_3339_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_305_600, "2026-11-22T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (END - 1, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!((format(seconds).as_str(), parse(text)), (text, Some(seconds)));
        }
        for day in 0..60_000 {
            assert_eq!(parse(&format(day * 86_400 + 3_661)), Some(day * 86_400 + 3_661));
        }
        for text in ["", "2026-11-22", "2026-11-31T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T00:00:60Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in
            ["2026-11-22 00:00:00Z", "2026-11-22T00:00:00+00:00", "1969-12-31T00:00:00Z", "2026-00-22T00:00:00Z"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
