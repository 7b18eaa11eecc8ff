//! Load averages: how much of something happens in a minute, smoothed over three periods.
//!
//! Used by the board of the `$SYS` tree. Knows no clock: the time that passed is an argument.

/// A period an average looks back over.
#[derive(Debug)]
pub(super) struct Period {
    /// As it stands in the topic.
    pub(super) name: &'static str,
    length_ms: f64,
}

/// The three periods.
pub(super) const PERIODS: [Period; 3] = [
    Period { name: "1min", length_ms: 60_000.0 },
    Period { name: "5min", length_ms: 300_000.0 },
    Period { name: "15min", length_ms: 900_000.0 },
];

/// The averages of one count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    count: u64,
    /// Per minute, for each of [`PERIODS`].
    pub(super) averages: [f64; 3],
}

impl Load {
    /// The count stands at `count`, `passed_ms` after the last call. Each average moves towards the rate of that time:
    /// by the part `1 − e^(−passed ÷ period)` of the difference, as Mosquitto and the load of a Unix system do. Without
    /// time nothing moves, so that what happened before the first call is no load.
    pub(super) fn advance(&mut self, count: u64, passed_ms: u64) {
        let more = float(count.saturating_sub(self.count));
        self.count = count;
        let passed_ms = float(passed_ms);
        if passed_ms <= 0.0 {
            return;
        }
        let rate = more * 60_000.0 / passed_ms;
        for (average, period) in self.averages.iter_mut().zip(&PERIODS) {
            *average = rate + (-passed_ms / period.length_ms).exp() * (*average - rate);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "two decimals of an average are shown")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::Load;

    fn shown(load: &Load) -> [String; 3] {
        load.averages.map(|average| format!("{average:.2}"))
    }

    #[test]
    fn averages_follow_the_rate_each_at_its_own_pace() {
        let mut load = Load::default();
        load.advance(1_000, 0);
        assert_eq!(shown(&load), ["0.00", "0.00", "0.00"]);
        // 100 in 10 seconds are 600 a minute: 600 × (1 − e^(−1/6)), 600 × (1 − e^(−1/30)), 600 × (1 − e^(−1/90)).
        load.advance(1_100, 10_000);
        assert_eq!(shown(&load), ["92.11", "19.67", "6.63"]);
        for step in 1..=360 {
            load.advance(1_100 + step * 100, 10_000);
        }
        assert_eq!(shown(&load), ["600.00", "600.00", "589.13"]);
        load.advance(37_100, 60_000);
        assert_eq!(shown(&load), ["220.73", "491.24", "551.14"]);
    }
}
