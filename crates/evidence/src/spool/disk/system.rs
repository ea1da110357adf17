//! The operating system's disk.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    Advice, AtFlags, Dir, FallocateFlags, FlockOperation, Mode, OFlags, fadvise, fallocate, flock, fstatvfs,
    mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use super::{DataFile, Directory, Disk, Identity};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The operating system's disk.
#[derive(Debug, Default)]
pub(crate) struct System;

/// A file or directory that is held open.
#[derive(Debug)]
struct Held(File);

impl Disk for System {
    fn open(&self, path: &Path, make: bool) -> io::Result<Arc<dyn Directory>> {
        if make {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Arc::new(Held(File::from(dir))))
    }

    fn boot(&self) -> Uuid {
        let named = fs::read_to_string(BOOT_ID);
        let boot = named.ok().and_then(|id| Uuid::try_parse(id.trim()).ok());
        // Where it has no name, no two runs are taken for the same.
        boot.unwrap_or_else(Uuid::now_v7)
    }

    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }
}

impl Held {
    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self(File::from(opened)))
    }

    fn who(&self) -> io::Result<Identity> {
        let metadata = self.0.metadata()?;
        Ok(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Directory for Held {
    fn identity(&self) -> io::Result<Identity> {
        self.who()
    }

    fn owner(&self) -> io::Result<u32> {
        Ok(self.0.metadata()?.uid())
    }

    fn available(&self) -> io::Result<u64> {
        let volume = fstatvfs(&self.0)?;
        // Some file systems cannot tell, and say nothing but zeros.
        if volume.f_blocks == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn identity_of(&self, name: &str) -> io::Result<Identity> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::RWXU)?)
    }

    fn open_directory(&self, name: &str) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(self.open_at(name, OFlags::RDONLY | OFlags::DIRECTORY)?))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Ok(Arc::new(self.open_at(name, flags)?))
    }

    fn open_file(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        Ok(Arc::new(self.open_at(name, OFlags::RDONLY)?))
    }

    fn open_to_write(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        Ok(Arc::new(self.open_at(name, OFlags::RDWR)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    fn lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl DataFile for Held {
    fn identity(&self) -> io::Result<Identity> {
        self.who()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget(&self) {
        let _ = fadvise(&self.0, 0, None, Advice::DontNeed);
    }
}
