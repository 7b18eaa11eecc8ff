//! Readings of this machine: load, memory, network and disk counters, temperatures, uptime.
//!
//! Called by the demonstration device. Reads what every user of the machine may read, and sends nothing anywhere.

use std::collections::BTreeMap;

use serde_json::Number;
use sysinfo::{Components, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, System};

/// One reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Its name: letters, digits and underscores, one topic level.
    pub(super) name: String,
    /// The number, in the unit.
    pub(super) value: Value,
    /// The unit by its usual sign; `1` for a bare number.
    pub(super) unit: &'static str,
}

/// A number as JSON has it: whole counters stay whole.
pub(super) type Value = serde_json::Value;

/// What is read from.
#[derive(Debug)]
pub(super) struct Sensors {
    system: System,
    networks: Networks,
    disks: Disks,
    components: Components,
}

impl Sensors {
    /// Finds what this machine has.
    pub(super) fn new() -> Self {
        Self {
            system: System::new(),
            networks: Networks::new_with_refreshed_list(),
            disks: Disks::new_with_refreshed_list_specifics(io()),
            components: Components::new_with_refreshed_list(),
        }
    }

    /// Reads everything.
    pub(super) fn read(&mut self) -> Vec<Reading> {
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.networks.refresh(true);
        self.disks.refresh_specifics(true, io());
        self.components.refresh(true);
        let load = System::load_average();
        let mut readings = vec![
            real("load_1m", load.one, "1"),
            real("load_5m", load.five, "1"),
            real("load_15m", load.fifteen, "1"),
            whole("memory_total", self.system.total_memory(), "B"),
            whole("memory_used", self.system.used_memory(), "B"),
            whole("memory_available", self.system.available_memory(), "B"),
            whole("uptime", System::uptime(), "s"),
        ];
        let network = |of: fn(&sysinfo::NetworkData) -> u64| {
            self.networks.list().iter().filter(|(name, _)| *name != "lo").map(|(_, data)| of(data)).sum()
        };
        readings.push(whole("network_received", network(|data| data.total_received()), "B"));
        readings.push(whole("network_sent", network(|data| data.total_transmitted()), "B"));
        let (read, written) = self.disk_counters();
        readings.push(whole("disk_read", read, "B"));
        readings.push(whole("disk_written", written, "B"));
        readings.extend(self.temperatures());
        readings
    }

    /// Bytes read and written by all disks; one that is mounted twice counts once.
    fn disk_counters(&self) -> (u64, u64) {
        let usage = self.disks.list().iter().map(|disk| {
            let usage = disk.usage();
            (disk.name(), (usage.total_read_bytes, usage.total_written_bytes))
        });
        let by_name: BTreeMap<_, _> = usage.collect();
        by_name.values().fold((0, 0), |(read, written), counters| (read + counters.0, written + counters.1))
    }

    /// Temperatures, where the machine tells them.
    fn temperatures(&self) -> Vec<Reading> {
        let known = self.components.list().iter().filter_map(|component| {
            let celsius = component.temperature().filter(|celsius| celsius.is_finite())?;
            let rounded = (f64::from(celsius) * 10.0).round() / 10.0;
            Some((format!("temperature_{}", word(component.label())), rounded))
        });
        // Two of the same name would overwrite one another at the subscriber's.
        let by_name: BTreeMap<String, f64> = known.collect();
        by_name.into_iter().map(|(name, celsius)| real(&name, celsius, "°C")).collect()
    }
}

fn io() -> DiskRefreshKind {
    DiskRefreshKind::nothing().with_io_usage()
}

fn whole(name: &str, value: u64, unit: &'static str) -> Reading {
    Reading { name: name.to_owned(), value: Value::from(value), unit }
}

fn real(name: &str, value: f64, unit: &'static str) -> Reading {
    // A machine without a load average tells no number.
    let value = Number::from_f64(value).map_or(Value::Null, Value::Number);
    Reading { name: name.to_owned(), value, unit }
}

/// A label as one word: letters, digits and underscores.
fn word(label: &str) -> String {
    let lower = label.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::{Sensors, word};

    #[test]
    fn a_machine_has_load_memory_and_counters() {
        let readings = Sensors::new().read();
        let names: Vec<_> = readings.iter().map(|reading| reading.name.as_str()).collect();
        for name in ["load_1m", "memory_used", "uptime", "network_received", "disk_written"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        let memory = readings.iter().find(|reading| reading.name == "memory_total");
        assert!(memory.and_then(|reading| reading.value.as_u64()).is_some_and(|bytes| bytes > 0));
        assert!(names.iter().all(|name| word(name) == **name), "each is one plain topic level: {names:?}");
    }

    #[test]
    fn labels_become_plain_words() {
        assert_eq!(word("coretemp Package id 0"), "coretemp_package_id_0");
        assert_eq!(word("a/+#b"), "a_b");
    }
}
