//! Where a session lives: on which node, and on which shard there.
//!
//! Called by `node` for each admission. With one node every client identifier lives on it. Moves no session.

use motte_broker::{ShardId, home};

/// Where a client identifier lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// On this node, on a shard of it.
    Here(ShardId),
}

/// The placement of a node that is alone.
#[derive(Clone, Copy, Debug)]
pub struct SoloNode {
    shards: u16,
}

impl SoloNode {
    /// A node of `shards` shards.
    #[must_use]
    pub const fn new(shards: u16) -> Self {
        Self { shards }
    }

    /// Where the session of this name lives: always here, on the shard that its hash chooses.
    #[must_use]
    pub fn home(&self, session_name: &str) -> Home {
        Home::Here(home(session_name, self.shards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_always_lives_on_the_same_shard() {
        let node = SoloNode::new(4);
        let Home::Here(shard) = node.home("sensor-17");
        assert!((0..100).all(|_| node.home("sensor-17") == Home::Here(shard)));
    }

    #[test]
    fn clients_are_spread_evenly() {
        let node = SoloNode::new(8);
        let mut counts = [0_u32; 8];
        for n in 0..8_000 {
            let Home::Here(ShardId(shard)) = node.home(&format!("device-{n:05}"));
            counts[usize::from(shard)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
