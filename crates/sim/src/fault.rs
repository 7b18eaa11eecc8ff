//! Faults put into a run on purpose, so that each checker is seen to fail.
//!
//! Used by tests alone. The world applies them at its border: what a client was given, what was seen, what was counted,
//! what the journal gives back at a start.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A client acknowledges one message and its application never sees it.
    SwallowDelivery,
    /// The application of a client sees one QoS 2 message twice.
    DuplicateQos2,
    /// The application of a client sees two messages of a stream in the other order.
    SwapTwo,
    /// The connection that was taken over is not seen to end.
    HideTakeover,
    /// A message is written once more after the right to receive it was taken away.
    LeakDenied,
    /// One retained message is not found in the end.
    LoseRetained,
    /// A shard counts one delivery too many.
    CountOneMore,
    /// The journal does not give back one message a session is owed.
    LoseRecord,
    /// The journal gives back a QoS 2 message that has arrived, under an identifier that is free.
    RestoreArrived,
    /// The journal gives back the retained message before the last one of a topic.
    RestoreOldRetained,
    /// The journal gives back a will that was published.
    RestoreWill,
    /// The journal forgets a will.
    DropWill,
}
