//! A small volume, to be filled.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small volume of its own, in a mount namespace that lasts as long as this value. Processes see it once they run by
/// [`Volume::enter`].
pub struct Volume {
    holder: Child,
    dir: PathBuf,
    _place: tempfile::TempDir,
}

impl Volume {
    /// Mounts one of this size.
    ///
    /// # Errors
    /// Why this machine does not allow it, in words.
    pub fn mount(bytes: u64) -> Result<Self, &'static str> {
        let place = tempfile::tempdir().expect("a directory");
        let dir = place.path().join("volume");
        fs::create_dir(&dir).expect("a directory");
        let script =
            format!(r#"mount -t tmpfs -o size={bytes},mode=700 tmpfs "$0" && echo mounted && exec cat"#);
        let holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.map_err(|_| "there is no unshare here")?;
        let mut line = String::new();
        let told = holder.stdout.take().expect("a pipe");
        BufReader::new(told).read_line(&mut line).expect("a line");
        let volume = Self {
            holder,
            dir,
            _place: place,
        };
        if line.trim() == "mounted" {
            Ok(volume)
        } else {
            Err("this user may not mount a volume")
        }
    }

    /// Where processes that have entered see it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The same, from outside its namespace.
    pub fn seen(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.dir.strip_prefix("/").expect("an absolute path"))
    }

    /// The command that runs another one where the volume is; it becomes that one, with the same process id.
    pub fn enter(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let enter = [
            "nsenter",
            "--target",
            &pid,
            "--user",
            "--mount",
            "--preserve-credentials",
            "--",
        ];
        enter.map(str::to_owned).into()
    }

    /// Takes all the space that is left, with a file.
    pub fn fill(&self) -> PathBuf {
        let path = self.seen().join("filler");
        let mut file = File::create(&path).expect("a file");
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
