//! Tests that what is counted of each block is what the sessions are owed of it, whatever comes in whatever order.
//!
//! Cursors and logs alone, against plain maps; blocks are lists here, and a restart reads them as recovery does.

use std::collections::BTreeMap;

use motte_broker::mqtt::Qos;
use motte_broker::{Origin, Position, ShardId};

use super::logs::{Block, Logs, Staged};
use crate::codec::Reader;
use crate::cursor::Cursor;
use crate::entry::OwedAs;

const SESSIONS: usize = 3;

/// One message of a block: how often each session is a target of it.
type Entry = (u64, [usize; SESSIONS]);

struct Kit {
    random: u64,
    end: u64,
    cursors: [Cursor; SESSIONS],
    logs: Logs,
    staged: Vec<Entry>,
    blocks: BTreeMap<u64, Vec<Entry>>,
    /// How many copies each session is owed of each message.
    owed: BTreeMap<(usize, u64), usize>,
}

impl Kit {
    fn new(seed: u64) -> Self {
        Self {
            random: seed,
            end: 0,
            cursors: Default::default(),
            logs: Logs::default(),
            staged: Vec::new(),
            blocks: BTreeMap::new(),
            owed: BTreeMap::new(),
        }
    }

    /// One of 0 to `count` - 1.
    fn below(&mut self, count: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % count
    }

    fn session(&mut self) -> usize {
        usize::try_from(self.below(SESSIONS as u64)).expect("few sessions")
    }

    fn step(&mut self) {
        match self.below(40) {
            0..12 => self.publish(),
            12..29 => {
                let (session, reach) = (self.session(), self.end.min(400));
                let position = self.end - self.below(reach + 1);
                self.settle(session, position);
            }
            29..33 => self.move_over(),
            33..37 => self.commit(),
            37 => self.rewrite(),
            38 if self.below(8) == 0 => self.restart(),
            _ => {}
        }
    }

    fn publish(&mut self) {
        self.end += 1 + self.below(2);
        let copies = [(); SESSIONS].map(|()| usize::try_from(self.below(5)).expect("few copies").min(2));
        for (session, copies) in copies.into_iter().enumerate().filter(|(_, copies)| *copies > 0) {
            (0..copies).for_each(|_| self.cursors[session].push(origin(self.end)));
            self.owed.insert((session, self.end), copies);
        }
        let holds = u32::try_from(copies.iter().sum::<usize>()).expect("few copies");
        self.logs.log(0).staged.push(Staged { position: self.end, batch: 0, at: 0, len: 1, holds });
        self.staged.push((self.end, copies));
    }

    fn settle(&mut self, session: usize, position: u64) {
        let was_owed = self.cursors[session].settle(origin(position));
        let copies = self.owed.remove(&(session, position)).unwrap_or(0);
        assert_eq!(was_owed, copies > 0, "settling {position}");
        if was_owed {
            self.logs.release(origin(position));
        }
        if copies > 1 {
            self.owed.insert((session, position), copies - 1);
        }
    }

    fn move_over(&mut self) {
        let (from, to, reach) = (self.session(), self.session(), self.end.min(400));
        let position = self.end - self.below(reach + 1);
        if from == to || !self.owed.contains_key(&(from, position)) {
            return;
        }
        assert!(self.logs.hold(origin(position)), "what is owed is there");
        self.cursors[to]
            .adopt(origin(position), OwedAs { qos: Qos::AtLeastOnce, retain: false, ids: Box::default(), share: None });
        *self.owed.entry((to, position)).or_default() += 1;
        self.settle(from, position);
    }

    /// Puts what is held into a block, and drops the blocks that nothing holds.
    fn commit(&mut self) {
        let log = self.logs.log(0);
        let holds: Vec<_> = log.staged.drain(..).map(|staged| staged.holds).collect();
        let held = std::mem::take(&mut self.staged).into_iter().zip(&holds).filter(|(_, holds)| **holds > 0);
        let entries: Vec<Entry> = held.map(|(entry, _)| entry).collect();
        if let (Some((first, _)), Some((last, _))) = (entries.first().copied(), entries.last().copied()) {
            let holds = holds.iter().sum();
            log.blocks.insert(first, Block { last, holds, initial: holds, ..Block::default() });
            self.blocks.insert(first, entries);
        }
        for first in std::mem::take(&mut log.dead) {
            log.blocks.remove(&first);
            self.blocks.remove(&first);
        }
    }

    /// Takes out of the blocks what is owed to nobody.
    fn rewrite(&mut self) {
        self.commit();
        for entries in self.blocks.values_mut() {
            for (position, copies) in entries.iter_mut() {
                for (cursor, copies) in self.cursors.iter().zip(copies) {
                    *copies = if cursor.owed(origin(*position)) > 0 { *copies } else { 0 };
                }
            }
            let is_owed = |position| (0..SESSIONS).any(|session| self.owed.contains_key(&(session, position)));
            entries.retain(|(position, _)| is_owed(*position));
        }
    }

    fn restart(&mut self) {
        self.commit();
        for cursor in &mut self.cursors {
            let mut bytes = Vec::new();
            cursor.encode(&mut bytes);
            *cursor = Cursor::parse(Reader::new(&bytes)).expect("what was written is sound");
        }
        for (first, entries) in &self.blocks {
            let mut holds = 0;
            for (position, copies) in entries {
                for (cursor, copies) in self.cursors.iter_mut().zip(copies).filter(|(_, copies)| **copies > 0) {
                    holds += cursor.on_found(origin(*position), *copies);
                }
                let adopted = self.cursors.iter().flat_map(Cursor::all_adopted);
                holds += adopted.filter(|adopted| adopted.origin == origin(*position)).count();
            }
            let block = self.logs.log(0).blocks.get_mut(first).expect("the same blocks");
            block.holds = u32::try_from(holds).expect("few copies");
        }
    }

    fn check(&self) {
        for (session, cursor) in self.cursors.iter().enumerate() {
            let mut found: Vec<_> = cursor.each().map(|origin| origin.position.0).collect();
            found.sort_unstable();
            let owed = self.owed.range((session, 0)..(session + 1, 0));
            let owed: Vec<_> = owed.flat_map(|((_, at), copies)| std::iter::repeat_n(*at, *copies)).collect();
            assert_eq!(found, owed, "session {session}");
        }
        let log = self.logs.get(0).into_iter();
        for (first, block) in log.flat_map(|log| &log.blocks) {
            let of_it = self.owed.iter().filter(|((_, at), _)| (*first..=block.last).contains(at));
            let owed = u32::try_from(of_it.map(|(_, copies)| copies).sum::<usize>()).expect("few copies");
            assert_eq!(block.holds, owed, "block {first}");
        }
    }
}

fn origin(position: u64) -> Origin {
    Origin { shard: ShardId(0), position: Position(position) }
}

#[test]
fn r01_a_block_is_held_as_often_as_its_messages_are_owed() {
    for seed in 0..8 {
        let mut kit = Kit::new(seed);
        for step in 0..2_000 {
            kit.step();
            if step % 16 == 0 {
                kit.check();
            }
        }
        kit.restart();
        kit.check();
    }
}
