//! Further certificates of the listener: one directory of pairs (`TLS_CERT_DIR`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use admission::mode::Mode;

use crate::file::Contents;
use crate::identity::{Identity, Source};
use crate::keys::listener::TLS_CERT_DIR;
use crate::reader::{Read, Reader};
use crate::tls::certificate_period;
use crate::violation::{Quoted, Violation};

/// Most pairs in a directory.
const MAX_PAIRS: usize = 256;

/// Certificates that callers are shown who ask for one of their names (SNI, RFC 6066 §3).
#[derive(Clone, Debug)]
pub struct NamedCertificates {
    directory: PathBuf,
    contents: Contents,
    pairs: Vec<Identity>,
    /// In lower case; the first label may be `*`. Of which pair each is.
    names: BTreeMap<String, usize>,
}

impl NamedCertificates {
    /// Each name with its certificate. A name that begins with `*.` stands for those with one label in its place.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Identity)> {
        let pair = |(name, pair): (_, &usize)| Some((String::as_str(name), self.pairs.get(*pair)?));
        self.names.iter().filter_map(pair)
    }

    /// Reads every `NAME.crt` in a directory with its `NAME.key`.
    pub(crate) fn load(reader: &mut Reader<'_>, mode: Read<Mode>, directory: PathBuf) -> Read<Self> {
        let contents = look(&directory);
        Self::judged(reader, mode, directory, &contents)
    }

    /// The same of what a look found.
    pub(crate) fn made_of(
        &self,
        reader: &mut Reader<'_>,
        mode: Read<Mode>,
        contents: &Contents,
    ) -> Read<Self> {
        Self::judged(reader, mode, self.directory.clone(), contents)
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(crate) fn look(&self) -> Contents {
        look(&self.directory)
    }

    pub(crate) fn pairs(&self) -> &[Identity] {
        &self.pairs
    }

    fn judged(
        reader: &mut Reader<'_>,
        mode: Read<Mode>,
        directory: PathBuf,
        contents: &Contents,
    ) -> Read<Self> {
        let name = TLS_CERT_DIR.name;
        if let Some(kind) = contents.failure(&directory) {
            return Err(reader.report(Violation::Directory(name, kind)));
        }
        let sources: Vec<Source> = contents
            .paths()
            .filter(|path| path.parent() == Some(&directory) && is_half(path, "crt"))
            .map(|path| Source {
                certificate: (".crt", path.to_owned()),
                private_key: (".key", path.with_extension("key")),
            })
            .collect();
        let rule = match sources.len() {
            0 => Some("holds no pair of files NAME.crt and NAME.key"),
            1..=MAX_PAIRS => None,
            _ => Some("holds more than 256 pairs of files"),
        };
        if let Some(rule) = rule {
            return Err(reader.report(Violation::Variable(name, rule)));
        }
        let mut certificates = Self {
            contents: Contents::default(),
            pairs: Vec::new(),
            names: BTreeMap::new(),
            directory,
        };
        // Each pair is judged, so that all faults show at once.
        let mut all = Ok(());
        for source in sources {
            let stem = stem(&source.certificate.1);
            let added = certificates
                .add(reader, mode, source, contents)
                .map_err(|violation| reader.report(Violation::Pair(name, stem, Box::new(violation))));
            all = all.and(added);
        }
        all.map(|()| certificates)
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        mode: Read<Mode>,
        source: Source,
        contents: &Contents,
    ) -> Result<(), Violation> {
        let identity = Identity::made_of(source, contents)?;
        if let Some(warning) = certificate_period(mode.ok(), ".crt", &identity, reader.now())? {
            reader.warn(warning);
        }
        let names = identity.dns_names();
        if names.is_empty() {
            let why = "has no DNS name (subjectAltName), so that nobody could ask for it";
            return Err(Violation::Variable(".crt", why));
        }
        for name in names {
            if let Some(other) = self.names.get(&name).and_then(|pair| self.pairs.get(*pair)) {
                let other = stem(other.certificate_file());
                return Err(Violation::NameTwice(Quoted::new(&name), other));
            }
            self.names.insert(name, self.pairs.len());
        }
        self.contents.add(identity.contents().clone());
        self.pairs.push(identity);
        Ok(())
    }
}

/// Both files of every pair of which one is there. Names that begin with a dot, as Kubernetes' own links do, are none.
fn look(directory: &Path) -> Contents {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return Contents::failed(directory, error.kind()),
    };
    let mut paths = BTreeSet::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => return Contents::failed(directory, error.kind()),
        };
        if is_half(&path, "crt") || is_half(&path, "key") {
            paths.insert(path.with_extension("crt"));
            paths.insert(path.with_extension("key"));
        }
        // One more than fits is enough to know.
        if paths.len() > 2 * MAX_PAIRS {
            break;
        }
    }
    Contents::read(paths.iter().map(PathBuf::as_path))
}

fn is_half(path: &Path, extension: &str) -> bool {
    let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    path.extension().is_some_and(|found| found == extension) && !path.file_name().is_some_and(is_hidden)
}

fn stem(path: &Path) -> Quoted {
    Quoted::new(&path.file_stem().unwrap_or_default().to_string_lossy())
}
