//! Of the directories that hold one chain, the one that goes on with it.
//!
//! A process whose directory is removed in part copies what can be read to another one, and dies perhaps on the way. Until
//! the copy is whole its chain file has [another name](COPY), and the old directory counts. From then on the copy does: its
//! chain stands behind everything that the old one holds. Whoever takes over or ends the one that counts removes the other
//! first, for none could tell later that its events are shipped already.

use std::io;

use uuid::Uuid;

use super::chain_file::{self, CHAIN, COPY, ChainFile, Reading};
use super::claim::Claim;
use super::disk::{Directory, Disk, gone_is_fine, standing};
use super::segment::{self, SPARE, Segment};

/// Whether what is in this directory is a copy that is not whole.
pub(super) fn is_copy(dir: &dyn Directory) -> io::Result<bool> {
    Ok(standing(dir, CHAIN)?.is_none() && standing(dir, COPY)?.is_some())
}

/// Removes a copy that is not whole. Where the directory that it was made of is gone, its segments are kept aside, for
/// someone to look at: how much of them is shipped nobody knows. How many those are.
pub(super) fn discard_copy(disk: &dyn Disk, claim: &Claim) -> io::Result<u64> {
    let copied = Reading::from_file(&**claim.dir(), COPY)?;
    let mut is_alone = true;
    for (_, dir) in claim.siblings(disk)? {
        let other = Reading::from_file(&*dir, CHAIN)?;
        is_alone &= other.map(|other| other.id) != copied.as_ref().map(|copied| copied.id);
    }
    let segments = remove(disk, claim, is_alone)?;
    let lost = if is_alone { segments } else { 0 };
    if lost > 0 {
        let path = claim.path().display().to_string();
        tracing::error!(
            path,
            segments,
            "a process was killed while it saved the evidence of a directory that was removed; what it had saved is set aside"
        );
    }
    Ok(lost)
}

/// Whether another directory goes on with this chain: then this one is removed. If not, the others that hold it are.
pub(super) fn settle(disk: &dyn Disk, claim: &Claim, own: &ChainFile) -> io::Result<bool> {
    for (name, dir) in claim.siblings(disk)? {
        let (whole, copy) = (
            of_chain(&*dir, CHAIN, own.chain().id)?,
            of_chain(&*dir, COPY, own.chain().id)?,
        );
        if whole
            .as_ref()
            .is_some_and(|other| other.position > own.position())
        {
            // It must be there after a power cut, too.
            dir.sync()?;
            remove(disk, claim, false)?;
            return Ok(true);
        }
        if whole.or(copy).is_some() {
            claim.dir().sync()?;
            let held = || io::Error::other(format!("another process holds {name}, which has the same chain"));
            let other = claim.sibling(disk, name.clone())?.ok_or_else(held)?;
            remove(disk, &other, false)?;
        }
    }
    Ok(false)
}

fn of_chain(dir: &dyn Directory, name: &str, id: Uuid) -> io::Result<Option<Reading>> {
    Ok(Reading::from_file(dir, name)?.filter(|other| other.id == id))
}

/// Removes a directory, or all of it but its segments. How many those are.
fn remove(disk: &dyn Disk, claim: &Claim, aside: bool) -> io::Result<u64> {
    let dir = &**claim.dir();
    let bases = segment::list(dir)?;
    for base in &bases {
        let segment = Segment {
            damaged: aside,
            ..Segment::empty(*base)
        };
        segment::discard(dir, &segment)?;
    }
    gone_is_fine(dir.remove(SPARE))?;
    chain_file::remove_for_good(dir)?;
    claim.conclude(disk)?;
    Ok(bases.len() as u64)
}
