//! What may happen next.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A request from its intent to its outcome.
    Whole,
    /// A request that leaves, and does not end yet.
    Leave,
    /// A request that has to wait before it leaves.
    Intend,
    /// A request that is about to leave.
    Hold,
    /// It has to wait.
    Keep,
    /// It leaves.
    Mark,
    /// The oldest request ends.
    End,
    /// The newest one is dropped.
    Drop,
    Flush,
    Ship,
    /// Somebody removes the directory.
    Remove,
    /// Somebody removes the segment with this number, of so many as there are.
    RemoveSegment(u8),
    /// The disk does not sync any more, or does again.
    FailSyncs(bool),
    /// Somebody removes the spare segment.
    RemoveSpare,
    /// The volume has so many bytes left.
    Fill(u16),
    /// It has all the space there is.
    Free,
    /// A request is refused.
    Refuse,
    /// The volume is asked whether it is sound.
    Probe,
    /// Nothing happens for a while.
    Wait,
    /// Whatever is wrong with the disk ends.
    Recover,
}
