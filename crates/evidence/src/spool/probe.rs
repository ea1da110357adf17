//! Whether a device takes what is written and gives what is read. What the system has in memory answers neither.

use std::io;

use super::disk::{Directory, gone_is_fine};

/// The name of the file. A process that is killed may leave it.
const PROBE: &str = "probe";
const BYTES: [u8; 6] = *b"probe\n";

/// Writes a small file in this directory, syncs it, reads it back and removes it.
pub(super) fn probe(dir: &dyn Directory) -> io::Result<()> {
    remove(dir)?;
    let answered = write_and_read(dir);
    remove(dir).and(answered)
}

fn write_and_read(dir: &dyn Directory) -> io::Result<()> {
    let file = dir.create(PROBE)?;
    let written = file.write_at(&BYTES, 0);
    // Where there is no space for the bytes the file itself is new to the device.
    file.sync()?;
    written?;
    file.forget();
    let mut read = [0; BYTES.len()];
    dir.open_file(PROBE)?.read_at(&mut read, 0)?;
    if read == BYTES {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "other bytes came back",
        ))
    }
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
            probe(&*dir).unwrap();
            assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "{left}");
        }
        std::fs::remove_dir(&path).unwrap();
        assert!(probe(&*dir).is_err());
    }
}
