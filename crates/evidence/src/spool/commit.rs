//! What is written becomes durable, what is done with goes, and a disk that failed is tried again. All of it beside
//! the requests, on a thread that may block.

use std::io;
use std::sync::atomic::Ordering;

use super::inner::Inner;
use super::log::{Log, SyncPlan};
use super::segment::{self, Segment};
use super::stats::add;
use super::unreadable::Unread;

/// The disk is asked until this is dropped.
struct Asking<'a>(&'a Inner);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking_since.store(0, Ordering::Relaxed);
    }
}

/// How often in a row a directory may be found missing.
const HOMES: u32 = 2;

impl Inner {
    /// Makes everything written so far durable, repairing the log first where it has to be, and deletes what is done
    /// with.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut unread = self.syncing.lock();
        let _until_done = Asking(self);
        let committed = self.commit();
        let reclaimed = self.reclaim(&mut unread);
        if committed.is_err() && matches!(reclaimed, Ok(true)) {
            // There may be the space now that there was not.
            return self.commit();
        }
        committed.and(reclaimed.map(drop))
    }

    /// Deletes the segments that are done with, and moves on the intents for whose sake others are kept. A flush that is
    /// under way does so itself at its end.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let Some(mut unread) = self.syncing.try_lock() else {
            return Ok(());
        };
        let _until_done = Asking(self);
        self.reclaim(&mut unread).map(drop)
    }

    /// Ends the spool and removes it, if nothing in it is still needed; false where something is.
    pub(crate) fn close(&self) -> io::Result<bool> {
        let _one_at_a_time = self.syncing.lock();
        // A probe in the directory would keep it from being removed.
        let _no_probe = self.probed.lock();
        match self.with_log(|log| self.is_idle(log).then(|| log.close())) {
            Some(closed) => closed.remove().map(|()| true),
            None => Ok(false),
        }
    }

    fn commit(&self) -> io::Result<()> {
        for _ in 0..HOMES {
            if self.with_log(|log| log.is_closed()) {
                return Ok(());
            }
            // What is written becomes durable also where nothing more can be: once it is shipped there may be space.
            let settled = self.settle();
            if settled.is_err() && !self.with_log(|log| log.is_syncable()) {
                return settled;
            }
            let plan = self.with_log(Log::plan_sync);
            if let Some(plan) = &plan
                && let Err(error) = self.sync(plan)
            {
                self.with_log(Log::sync_failed);
                return Err(error);
            }
            if self.is_in_place()? {
                if let Some(plan) = plan {
                    self.with_log(|log| log.synced(plan.until));
                }
                self.announce();
                return settled;
            }
        }
        Err(io::Error::other(
            "the spool's directory was removed again at once",
        ))
    }

    /// Brings the log to where it can be written to.
    fn settle(&self) -> io::Result<()> {
        if self.with_log(|log| log.fault()).is_some() {
            // Where the directory is gone no repair of what is in it helps.
            self.is_in_place()?;
        }
        if let Some(moving) = self.with_log(|log| log.moving()) {
            self.ask();
            let moved = moving.run()?;
            let lost = moved.lost;
            let path = self.with_log(|log| {
                log.move_in(moved);
                log.home().map(|home| home.claim().path().display().to_string())
            });
            add(&self.counters.dropped, lost);
            tracing::warn!(path, lost, "the evidence spool has a new directory");
        }
        if let Some(rewrite) = self.with_log(|log| log.rewrite()) {
            self.ask();
            let rewritten = rewrite.run()?;
            self.with_log(|log| log.rewritten(rewritten))?;
        }
        let now = self.now();
        self.with_log(|log| match log.fault() {
            None if !log.has_parked() => Ok(()),
            _ => log.repair(now),
        })?;
        self.announce();
        Ok(())
    }

    /// Whether the directory and its segments are where they should be. If not, nothing is accepted any more.
    fn is_in_place(&self) -> io::Result<bool> {
        let Some(look) = self.with_log(|log| log.look()) else {
            return Ok(true);
        };
        self.ask();
        let seen = look
            .is_in_place()
            .and_then(|in_place| Ok((in_place, look.lost_spare()?)));
        // What cannot be looked for counts as not there, but for the time being.
        let (in_place, lost_spare) = seen.inspect_err(|_| self.with_log(Log::look_failed))?;
        if let Some(lost) = lost_spare {
            self.with_log(|log| log.lose_spare(lost));
        }
        if in_place && look.misses_chain()? {
            self.restore_chain()?;
        }
        if !in_place {
            let path = self.with_log(|log| {
                log.evict();
                log.home().map(|home| home.claim().path().display().to_string())
            });
            add(&self.counters.removed, 1);
            tracing::error!(
                path,
                "the directory of the evidence spool, or a segment in it, was removed"
            );
        }
        Ok(in_place)
    }

    /// Makes the files of the chain anew. Without them a successor would ship what is shipped already, as other events.
    fn restore_chain(&self) -> io::Result<()> {
        let Some(lost) = self.with_log(|log| log.lost_chain()) else {
            return Ok(());
        };
        let made = lost.restore()?;
        self.with_log(|log| log.take_chain(made));
        add(&self.counters.removed, 1);
        tracing::error!(
            "somebody removed the state of the chain, or its key, from the evidence spool; it was made anew"
        );
        Ok(())
    }

    fn sync(&self, plan: &SyncPlan) -> io::Result<()> {
        for file in &plan.files {
            self.ask();
            file.sync()?;
        }
        if let Some(directory) = &plan.directory {
            self.ask();
            directory.sync()?;
        }
        Ok(())
    }

    /// Tells whoever waits how much is durable.
    fn announce(&self) {
        let durable = self.with_log(|log| log.durable());
        self.durable
            .send_if_modified(|known| std::mem::replace(known, durable) != durable);
    }

    /// Deletes what can be deleted and prepares the next segment. True if there is space now that there was not.
    fn reclaim(&self, unread: &mut Unread) -> io::Result<bool> {
        let deleted = self.delete(unread);
        let prepared = self.prepare();
        deleted.map(|deleted| deleted || prepared)
    }

    fn delete(&self, unread: &mut Unread) -> io::Result<bool> {
        let mut deleted = false;
        // Where it cannot be left, something else may be deleted.
        let left = self.with_log(Log::leave_shipped);
        loop {
            self.acknowledge()?;
            while let Some((dir, segment)) = self.with_log(|log| log.finished()) {
                self.ask();
                segment::discard(&*dir, &segment)?;
                self.with_log(|log| log.forget(segment.base));
                deleted = true;
            }
            let Some((pinned, source)) = self.with_log(|log| log.pinned()) else {
                return left.map(|()| deleted);
            };
            self.ask();
            let length = usize::try_from(pinned.len).map_err(io::Error::other)?;
            let read = segment::read(&source, &pinned, pinned.first(), length);
            let Some(bytes) = self.readable(unread, &pinned, read) else {
                return left.map(|()| deleted);
            };
            let (segment, lost) = (pinned.base, self.with_log(|log| log.carry(pinned.base, &bytes))?);
            if lost > 0 {
                add(&self.counters.dropped, lost.into());
                tracing::error!(
                    segment,
                    lost,
                    "intents of requests under way do not read back and are given up; the outcomes will come all the same, unless this process is killed"
                );
            }
            if let Err(error) = self.commit() {
                // The copies may be durable all the same.
                tracing::error!(%error, "the evidence spool cannot be written");
            }
        }
    }

    /// Makes durable up to where events are shipped, where something could be deleted then.
    fn acknowledge(&self) -> io::Result<()> {
        let Some((file, position)) = self.with_log(Log::unacknowledged)? else {
            return Ok(());
        };
        self.ask();
        let synced = file.sync();
        self.with_log(|log| log.acknowledged(synced.is_ok().then_some(position)));
        synced
    }

    /// What was read of a segment whose intents move on. None while it may be read yet.
    fn readable(&self, unread: &mut Unread, segment: &Segment, read: io::Result<Vec<u8>>) -> Option<Vec<u8>> {
        let (base, intents) = (segment.base, segment.open);
        let error = match read {
            Ok(bytes) => {
                unread.reads(base);
                return Some(bytes);
            }
            Err(error) => error,
        };
        let is_news = !unread.has(base);
        let is_lost = self.flusher_gives_up(unread, base, &error);
        if is_lost {
            unread.reads(base);
        }
        if is_lost || is_news {
            tracing::error!(segment = base, intents, %error, "intents of requests under way cannot be read, to be moved on");
        }
        is_lost.then(Vec::new)
    }

    /// Prepares the spare segment where none is, and looks how much space there is besides. True where the spare one was
    /// missed.
    fn prepare(&self) -> bool {
        let (taken, free) = self.measure();
        let wanted = self.with_log(|log| log.wanted_spare(taken, free));
        let Some(wanted) = wanted else { return false };
        self.ask();
        let spare = wanted.make();
        let was_missed = self.with_log(|log| log.equip(spare));
        self.measure();
        was_missed
    }

    /// The disk is asked for something more.
    pub(super) fn ask(&self) {
        self.asking_since.store((self.monotonic)(), Ordering::Relaxed);
    }

    /// Whether the disk has not answered for longer than it may.
    pub(super) fn is_stuck(&self) -> bool {
        let since = self.asking_since.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let waited = (self.monotonic)().saturating_sub(since);
        u64::try_from(waited).is_ok_and(|waited| u128::from(waited) > self.fsync_timeout.as_micros())
    }
}
