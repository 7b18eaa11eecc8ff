//! What a load found out, as lines for people or as one line of JSON.
//!
//! Called by the commands of `bench`.

use serde_json::{Value, json};

use crate::bench::measure::{Latencies, Usage, rounded};
use crate::ui::{Failure, Ui};

/// Characters of the longest bar of a histogram.
const BAR_WIDTH: u64 = 40;

/// The broker's processor time and memory over the measured time.
pub(super) fn broker(usage: Option<(Usage, Usage)>, messages: u64) -> Value {
    let Some((first, last)) = usage else { return Value::Null };
    let cpu_s = last.cpu_s - first.cpu_s;
    json!({
        "cpu_s": rounded(cpu_s, 2),
        "cpu_us_per_message": per(cpu_s * 1e6, messages),
        "rss_bytes": last.rss_bytes,
    })
}

/// A value for each of `count`; `null` where there are none.
pub(super) fn per(value: f64, count: u64) -> Value {
    if count == 0 { Value::Null } else { json!(rounded(value / count as f64, 4)) }
}

/// Events in a second.
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    rounded(count as f64 / seconds.max(1e-9), 1)
}

/// A line with a name.
pub(super) fn line(ui: &mut Ui, name: &str, value: &str) -> Result<(), Failure> {
    ui.line(format_args!("{name:<22}{value}"))
}

/// The quantiles and the histogram.
pub(super) fn latencies(ui: &mut Ui, title: &str, latencies: &Latencies) -> Result<(), Failure> {
    if latencies.len() == 0 {
        return Ok(());
    }
    ui.line("")?;
    ui.line(ui.bold(title))?;
    for (name, share) in [("half within", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("all", 1.0)] {
        line(ui, name, &time(latencies.quantile_us(share)))?;
    }
    ui.line("")?;
    let bars = latencies.bars();
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(1).max(1);
    for (_, to, count) in bars {
        let length = (count * BAR_WIDTH).div_ceil(most);
        let drawn = "█".repeat(usize::try_from(length).unwrap_or_default());
        ui.line(format_args!("up to {:>9}  {drawn:<40}  {}", time(to), grouped(count)))?;
    }
    Ok(())
}

/// Microseconds in a unit that suits them.
fn time(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.1} µs"),
        us if us < 1_000_000.0 => format!("{:.1} ms", us / 1000.0),
        us => format!("{:.1} s", us / 1_000_000.0),
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{grouped, time};

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.5, 1500.0, 2_500_000.0].map(time), ["0.5 µs", "1.5 ms", "2.5 s"]);
    }
}
