//! SIGKILL at any moment, again and again: nothing that was acknowledged is lost, nothing comes twice that must not.
//!
//! `MOTTE_CRASH_CYCLES=300 cargo test --release -p motte --test crash -- --nocapture r01_kill` makes that many cycles
//! and shows the table of `docs/durability.md`; `MOTTE_CRASH_SEED=N` replays a seed. A replay makes the same plan; when
//! exactly the processes get how far is not under its control.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use motte_mqtt::{ProtocolVersion, Qos};

use crate::daemon::{Config, Daemon, Home, Starting};
use crate::oracle::mourner::Mourners;
use crate::oracle::publisher::Publisher;
use crate::oracle::retainer::Retainer;
use crate::oracle::subscriber::{Group, Role, Subscriber};
use crate::oracle::toggler::Toggler;
use crate::oracle::{Fault, Findings, Pace};
use crate::random::Random;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;

/// Points at which the store kills the process, and how often they are passed at most before.
const POINTS: [(&str, u64); 6] = [
    ("before_write", 200),
    ("after_write", 200),
    ("before_fsync", 200),
    ("after_fsync", 200),
    ("before_ack", 200),
    ("compaction", 3),
];
/// Longest wait for a point that may not be passed often enough.
const POINT_PATIENCE: Duration = Duration::from_millis(1_000);

/// How a cycle ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// SIGKILL after so long.
    Kill(Duration),
    /// The store kills the process at the n-th passing of this point.
    At(&'static str, u64),
    /// SIGTERM after so long.
    Stop(Duration),
    /// SIGTERM after so long, and SIGKILL so much later.
    StopAndKill(Duration, Duration),
}

impl End {
    /// How long the broker lives at most.
    fn life(self) -> Duration {
        match self {
            Self::Kill(life) | Self::Stop(life) | Self::StopAndKill(life, _) => life,
            Self::At(..) => POINT_PATIENCE,
        }
    }
}

/// Everybody who takes part.
#[derive(Debug)]
struct World {
    home: Home,
    random: Random,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    group: Group,
    togglers: Vec<Toggler>,
    retainers: Vec<Retainer>,
    mourners: Mourners,
    restarts: Vec<Restart>,
    kills_in_recovery: u64,
    ends: [u64; 4],
    begun: Instant,
    /// What happened, for those who read what went wrong.
    story: Vec<String>,
}

/// One start on what was left behind.
#[derive(Clone, Copy, Debug)]
struct Restart {
    after: Duration,
    queued: usize,
}

/// How long and how much.
#[derive(Clone, Copy, Debug)]
struct Size {
    cycles: u64,
    life_ms: (u64, u64),
    messages: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let publishers = (0..8)
            .map(|number| {
                let qos = if number % 4 < 2 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                Publisher::new(number, if number % 2 == 0 { V5 } else { V311 }, qos, number != 5 && number != 6)
            })
            .collect();
        let subscribers = (0..8)
            .map(|number| {
                let version = if number % 3 == 2 { V311 } else { V5 };
                let qos = if number % 4 == 3 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                let filter = ["m/#", "m/+/t", "m/2/t", "m/#", "m/#", "m/0/t", "m/#", "m/#"][number as usize];
                Subscriber::new(number, version, qos, filter)
            })
            .collect();
        Self {
            home: Home::new(),
            random: Random::new(seed),
            publishers,
            subscribers,
            group: Group([8, 9].map(|number| Subscriber::new(number, V5, Qos::ExactlyOnce, "$share/group/m/#"))),
            togglers: vec![Toggler::new("toggler-5", V5), Toggler::new("toggler-3", V311)],
            retainers: vec![Retainer::new(100, V5), Retainer::new(101, V311)],
            mourners: Mourners::new(),
            restarts: Vec::new(),
            kills_in_recovery: 0,
            ends: [0; 4],
            begun: Instant::now(),
            story: Vec::new(),
        }
    }

    /// Sessions and subscriptions that stay, before anything is published.
    fn establish(&mut self, port: u16) {
        for subscriber in self.subscribers.iter_mut().chain(&mut self.group.0) {
            subscriber.establish(port, &self.publishers);
        }
        self.togglers.iter_mut().for_each(|toggler| toggler.establish(port));
        self.mourners.establish(port);
    }

    /// Lives, dies, and is audited when it is back.
    fn cycle(&mut self, mut daemon: Daemon, size: Size, durability: &str) -> Daemon {
        let end = self.draw_end(size);
        if let End::At(name, times) = end {
            // The point is read at the start.
            daemon.stop();
            let crash_at = Some(format!("{name}:{times}"));
            match self.start(Config { crash_at, durability: durability.to_owned(), ..Config::default() }) {
                Some(started) => daemon = started,
                None => return self.restart(durability),
            }
        }
        self.live(daemon, end, size.messages);
        self.restart(durability)
    }

    fn draw_end(&mut self, size: Size) -> End {
        let (least, most) = size.life_ms;
        let life = Duration::from_millis(least + self.random.below(most - least));
        let (which, end) = match self.random.below(100) {
            0..50 => (0, End::Kill(life)),
            50..80 => {
                let (name, times) = self.random.pick(&POINTS);
                (1, End::At(name, 1 + self.random.below(times)))
            }
            80..90 => (2, End::Stop(life)),
            _ => (3, End::StopAndKill(life, Duration::from_millis(self.random.below(20)))),
        };
        self.ends[which] += 1;
        end
    }

    /// Everybody does what they do until the broker ends.
    fn live(&mut self, daemon: Daemon, end: End, messages: usize) {
        let port = daemon.port;
        let pace = |messages| Pace::new(end.life(), messages);
        let roles: Vec<Role> = (0..10).map(|_| draw_role(&mut self.random)).collect();
        for subscriber in self.subscribers.iter_mut().chain(&mut self.group.0) {
            subscriber.life += 1;
        }
        self.tell(format!("life {}: {end:?}, {roles:?}", self.subscribers[0].life));
        let mut randoms: Vec<Random> = (0..8).map(|_| self.random.fork()).collect();
        thread::scope(|scope| {
            for (subscriber, role) in self.subscribers.iter_mut().chain(&mut self.group.0).zip(roles) {
                scope.spawn(move || subscriber.run(port, role));
            }
            for publisher in &mut self.publishers {
                scope.spawn(move || publisher.run(port, pace(messages)));
            }
            for toggler in &mut self.togglers {
                let mut random = randoms.pop().expect("there are enough");
                scope.spawn(move || toggler.run(port, &mut random, pace(messages / 4)));
            }
            for retainer in &mut self.retainers {
                let mut random = randoms.pop().expect("there are enough");
                scope.spawn(move || retainer.run(port, &mut random, pace(messages / 2)));
            }
            let mut random = randoms.pop().expect("there are enough");
            let mourners = &mut self.mourners;
            scope.spawn(move || mourners.run(port, &mut random));
            put_to_an_end(daemon, end);
        });
        self.mourners.over();
        self.tell("it ended");
    }

    fn tell(&mut self, what: impl fmt::Display) {
        self.story.push(format!("{:>7.3} s  {what}", self.begun.elapsed().as_secs_f64()));
    }

    /// Starts on what was left behind, perhaps killed on the way, perhaps with another number of shards; and audits.
    fn restart(&mut self, durability: &str) -> Daemon {
        let queued = self.subscribers.iter().map(|subscriber| subscriber.owed(&self.publishers).len()).sum();
        let config = Config { durability: durability.to_owned(), ..Config::default() };
        while self.random.chance(20) {
            self.home.configure(&Config { shards: 1 + self.random.below(4), ..config.clone() });
            let starting = Starting::new(&mut self.home.command(&[]));
            thread::sleep(Duration::from_millis(self.random.below(150)));
            starting.kill();
            self.kills_in_recovery += 1;
            self.tell("killed while it started");
        }
        let daemon = self.start(config).expect("it starts on what was left behind");
        self.restarts.push(Restart { after: daemon.ready_after, queued });
        self.tell(format!("started after {:?} with {queued} owed", daemon.ready_after));
        self.audit(daemon.port);
        daemon
    }

    /// `None` when the point at which it kills itself was passed before it listened.
    fn start(&mut self, config: Config) -> Option<Daemon> {
        let may_die = config.crash_at.is_some();
        self.home.configure(&Config { shards: 1 + self.random.below(4), ..config });
        match Starting::new(&mut self.home.command(&[])).listening() {
            Ok(daemon) => Some(daemon),
            Err((status, _)) if may_die && status.code().is_none() => None,
            Err((status, said)) => panic!("it does not start: {status}\n{said}"),
        }
    }

    fn audit(&mut self, port: u16) {
        let are_audited: Vec<bool> = self.subscribers.iter().map(|_| self.random.chance(50)).collect();
        self.mourners.audit(port);
        self.tell("wills");
        self.retainers.iter_mut().for_each(|retainer| retainer.audit(port));
        self.tell("retained");
        self.togglers.iter_mut().for_each(|toggler| toggler.audit(port));
        self.tell(format!("audits {are_audited:?}"));
        self.audit_subscribers(port, &are_audited);
        if self.random.chance(50) {
            self.group.audit(port, &self.publishers);
        }
    }

    fn audit_subscribers(&mut self, port: u16, are_audited: &[bool]) {
        let publishers = &self.publishers;
        thread::scope(|scope| {
            for (subscriber, is_audited) in self.subscribers.iter_mut().zip(are_audited) {
                if *is_audited {
                    scope.spawn(move || subscriber.audit(port, publishers));
                }
            }
        });
    }

    /// Publishers finish what is under way, and every session takes what it is owed.
    fn finish(&mut self, daemon: Daemon) {
        let port = daemon.port;
        self.publishers.iter_mut().for_each(|publisher| publisher.settle(port));
        self.audit_subscribers(port, &[true; 8]);
        self.group.audit(port, &self.publishers);
        daemon.stop();
    }

    fn findings(&self) -> Findings {
        let mut all = self.mourners.findings.clone();
        self.publishers.iter().for_each(|one| all.merge(one.findings.clone()));
        self.subscribers.iter().for_each(|one| all.merge(one.findings.clone()));
        self.group.0.iter().for_each(|one| all.merge(one.findings.clone()));
        self.togglers.iter().for_each(|one| all.merge(one.findings.clone()));
        self.retainers.iter().for_each(|one| all.merge(one.findings.clone()));
        all
    }
}

fn draw_role(random: &mut Random) -> Role {
    match random.below(10) {
        0..4 => Role::Online,
        4..6 => Role::Mute,
        6..8 => Role::Restless(1 + usize::try_from(random.below(60)).unwrap()),
        _ => Role::Offline,
    }
}

fn put_to_an_end(daemon: Daemon, end: End) {
    match end {
        End::Kill(life) => {
            thread::sleep(life);
            daemon.kill();
        }
        End::At(..) => {
            let since = Instant::now();
            while !daemon.has_ended() && since.elapsed() < POINT_PATIENCE {
                thread::sleep(Duration::from_millis(5));
            }
            daemon.kill();
        }
        End::Stop(life) => {
            thread::sleep(life);
            daemon.stop();
        }
        End::StopAndKill(life, later) => {
            thread::sleep(life);
            daemon.ask_to_stop();
            thread::sleep(later);
            daemon.kill();
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = self.findings();
        let accepted = |qos: Qos| -> u64 {
            self.publishers.iter().filter(|publisher| publisher.qos == qos).map(Publisher::accepted).sum()
        };
        let mut restarts: Vec<_> = self.restarts.iter().map(|restart| restart.after).collect();
        restarts.sort_unstable();
        let most = self.restarts.iter().max_by_key(|restart| restart.after);
        let lost = |fault: Fault| findings.count(fault);
        let [kills, points, stops, stops_and_kills] = self.ends;
        writeln!(f, "| what | count |\n|---|---:|")?;
        writeln!(f, "| SIGKILL at a random moment | {kills} |")?;
        writeln!(f, "| SIGKILL at a named point of the store | {points} |")?;
        writeln!(f, "| SIGKILL while it starts | {} |", self.kills_in_recovery)?;
        writeln!(f, "| SIGKILL while it stops in order | {stops_and_kills} |")?;
        writeln!(f, "| stopped in order | {stops} |")?;
        writeln!(f, "| messages acknowledged, QoS 1 | {} |", accepted(Qos::AtLeastOnce))?;
        writeln!(f, "| messages acknowledged, QoS 2 | {} |", accepted(Qos::ExactlyOnce))?;
        let delivered: u64 = self.subscribers.iter().map(|subscriber| subscriber.delivered).sum();
        writeln!(f, "| deliveries | {delivered} |")?;
        writeln!(f, "| **acknowledged messages lost** | **{}** |", lost(Fault::MessageLost))?;
        let again: u64 = self.subscribers.iter().map(|subscriber| subscriber.duplicates).sum();
        writeln!(f, "| QoS 1 delivered again, with DUP or sent again by the publisher | {again} |")?;
        writeln!(f, "| **QoS 1 delivered again otherwise** | **{}** |", lost(Fault::CopyWithoutDup))?;
        writeln!(f, "| **QoS 2 delivered twice** | **{}** |", lost(Fault::SecondCopy))?;
        writeln!(f, "| **out of order** | **{}** |", lost(Fault::OutOfOrder))?;
        writeln!(f, "| **sessions lost** | **{}** |", lost(Fault::SessionLost))?;
        let changes: u64 = self.togglers.iter().map(|toggler| toggler.acknowledged).sum();
        writeln!(f, "| changes of subscriptions acknowledged | {changes} |")?;
        writeln!(f, "| **subscriptions wrong** | **{}** |", lost(Fault::SubscriptionWrong))?;
        let changes: u64 = self.retainers.iter().map(|retainer| retainer.acknowledged).sum();
        writeln!(f, "| changes of retained messages acknowledged | {changes} |")?;
        writeln!(f, "| **retained messages wrong** | **{}** |", lost(Fault::RetainedWrong))?;
        writeln!(f, "| wills owed | {} |", self.mourners.came)?;
        writeln!(f, "| **wills missing, doubled or not withdrawn** | **{}** |", lost(Fault::WillWrong))?;
        let ms = |duration: Option<&Duration>| duration.map_or(0, Duration::as_millis);
        writeln!(f, "| restart, median | {} ms |", ms(restarts.get(restarts.len() / 2)))?;
        let queued = most.map_or(0, |restart| restart.queued);
        writeln!(f, "| restart, longest | {} ms, with {queued} deliveries owed |", ms(restarts.last()))
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs the cycles and gives the world after the last audit.
fn run(seed: u64, size: Size, durability: &str) -> World {
    eprintln!("replay: MOTTE_CRASH_SEED={seed} MOTTE_CRASH_CYCLES={} cargo nextest run -p motte r01_kill", size.cycles);
    let mut world = World::new(seed);
    world.home.configure(&Config { durability: durability.to_owned(), ..Config::default() });
    let mut daemon = world.home.start();
    world.establish(daemon.port);
    for cycle in 0..size.cycles {
        daemon = world.cycle(daemon, size, durability);
        if size.cycles > 100 && cycle % 10 == 9 {
            eprintln!("{} cycles: {}", cycle + 1, world.findings());
        }
    }
    world.finish(daemon);
    world
}

#[test]
fn r01_kill_9_loses_nothing_that_was_acknowledged() {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    let seed = setting("MOTTE_CRASH_SEED").unwrap_or((now & 0xffff_ffff) as u64);
    let cycles = setting("MOTTE_CRASH_CYCLES").unwrap_or(30);
    // Many cycles are run by hand and have the time to live longer.
    let size = if cycles > 100 {
        Size { cycles, life_ms: (50, 3_000), messages: 600 }
    } else {
        Size { cycles, life_ms: (50, 400), messages: 80 }
    };
    let world = run(seed, size, "");
    let findings = world.findings();
    eprintln!("{world}");
    assert!(findings.is_empty(), "seed {seed}: {findings}\n{}", world.story.join("\n"));
}

#[test]
fn r01_the_audit_finds_what_is_lost_without_a_store() {
    let size = Size { cycles: 2, life_ms: (300, 400), messages: 60 };
    let world = run(1, size, "mode = \"memory\"\n");
    let findings = world.findings();
    for fault in
        [Fault::MessageLost, Fault::SessionLost, Fault::SubscriptionWrong, Fault::RetainedWrong, Fault::WillWrong]
    {
        assert!(findings.count(fault) > 0, "no {fault:?} was found: {findings}");
    }
}
