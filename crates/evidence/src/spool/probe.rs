//! Whether a device takes what is written and gives what is read. What the system has in memory answers neither: it is
//! let go of, where the file system can. A server's memory, a cache of the file system's own and a volume in memory answer
//! for a device all the same.

use std::io;

use aws_lc_rs::rand;

use super::disk::{DataFile, Directory, gone_is_fine};

/// The name of the file. A process that is killed may leave it.
const PROBE: &str = "probe";

/// How many bytes are read: more than a file system keeps with a file's metadata, which are in memory.
const BYTES: usize = 4096;

/// Writes a small file in this directory, syncs it, reads it back and removes it. Says so each time before it waits for the
/// disk.
pub(super) fn probe(dir: &dyn Directory, ask: &dyn Fn()) -> io::Result<()> {
    ask();
    remove(dir)?;
    let answered = write_and_read(dir, ask);
    ask();
    remove(dir).and(answered)
}

fn write_and_read(dir: &dyn Directory, ask: &dyn Fn()) -> io::Result<()> {
    let mut bytes = [0; BYTES];
    // Others could be compressed until they are few enough.
    rand::fill(&mut bytes).map_err(io::Error::other)?;
    ask();
    let file = dir.create(PROBE)?;
    ask();
    let written = file.write_at(&bytes, 0);
    ask();
    // Where there is no space for the bytes the file itself is new to the device.
    file.sync()?;
    written?;
    if read(&*file, ask)? == bytes {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "other bytes came back",
        ))
    }
}

fn read(file: &dyn DataFile, ask: &dyn Fn()) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    file.forget();
    ask();
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Whether a file is long enough to be [read back](read_back).
pub(super) fn is_long(file: &dyn DataFile) -> bool {
    file.len().is_ok_and(|len| len >= BYTES as u64)
}

/// Syncs a file that is there and reads the beginning of it. Says so each time before it waits for the disk.
pub(super) fn read_back(file: &dyn DataFile, ask: &dyn Fn()) -> io::Result<()> {
    ask();
    file.sync()?;
    read(file, ask).map(drop)
}

/// Removes what a probe may have left.
pub(super) fn remove(dir: &dyn Directory) -> io::Result<()> {
    gone_is_fine(dir.remove(PROBE))
}

#[cfg(test)]
mod tests {
    use super::{PROBE, probe};
    use crate::spool::disk::{Disk, System};

    #[test]
    fn a_probe_leaves_nothing_and_needs_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("below");
        let dir = System.open(&path, true).unwrap();
        for left in [false, true] {
            if left {
                std::fs::write(path.join(PROBE), "left by one who was killed").unwrap();
            }
            probe(&*dir, &|| {}).unwrap();
            assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "{left}");
        }
        std::fs::remove_dir(&path).unwrap();
        assert!(probe(&*dir, &|| {}).is_err());
    }
}
