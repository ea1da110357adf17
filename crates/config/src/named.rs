//! Further certificates of the listener: one directory of pairs (`TLS_CERT_DIR`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use admission::mode::Mode;

use crate::file::Contents;
use crate::identity::{Identity, Source};
use crate::keys::listener::TLS_CERT_DIR;
use crate::reader::{Read, Reader};
use crate::tls::certificate_period;
use crate::violation::{Quoted, Violation};
use crate::warning::Warning;

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
        let sources = sources(reader, &directory, &contents)?;
        let mut certificates = Self::none(directory);
        // Each pair is judged, so that all faults show at once.
        let mut all = Ok(());
        for source in sources {
            let stem = stem(&source.certificate.1);
            let added = match Identity::made_of(source, &contents) {
                // Whoever is gone must not keep all others from being served.
                Ok(expired) if is_refused_as_expired(mode, &expired, reader.now()) => {
                    reader.warn(Warning::PairExpired(TLS_CERT_DIR.name, stem));
                    continue;
                }
                Ok(identity) => certificates.judge(reader, mode, identity),
                Err(error) => Err(error.into()),
            };
            all = all.and(added.map_err(|violation| reader.report(at(stem, violation))));
        }
        all.map(|()| certificates)
    }

    /// The same of what a look found. A pair that cannot be used stays as it is, or out.
    pub(crate) fn renewed(&self, reader: &mut Reader<'_>, mode: Mode, contents: &Contents) -> Read<Self> {
        let sources = sources(reader, &self.directory, contents)?;
        let known = |source: &Source| {
            let of = |pair: &&Identity| pair.certificate_file() == source.certificate.1;
            self.pairs.iter().find(of)
        };
        let is_same = |source: &Source, known: &Identity| *known.contents() == contents.part(source.paths());
        let mut renewed = Self::none(self.directory.clone());
        let mut changed = Vec::new();
        // First those that are as they were, so that no other takes their names.
        for source in sources {
            match known(&source) {
                Some(known) if is_same(&source, known) => renewed.add(known.clone(), known.dns_names()),
                _ => changed.push(source),
            }
        }
        for source in changed {
            let (known, stem) = (known(&source), stem(&source.certificate.1));
            let judged = Identity::made_of(source, contents).map_err(Violation::from);
            let judged = judged.and_then(|identity| renewed.judge(reader, Ok(mode), identity));
            if let Err(violation) = judged {
                reader.report(at(stem, violation));
                if let Some(known) = known {
                    let mut names = known.dns_names();
                    names.retain(|name| !renewed.names.contains_key(name));
                    renewed.add(known.clone(), names);
                }
            }
        }
        Ok(renewed)
    }

    fn none(directory: PathBuf) -> Self {
        Self {
            directory,
            contents: Contents::default(),
            pairs: Vec::new(),
            names: BTreeMap::new(),
        }
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

    /// Adds a pair that can be used.
    fn judge(
        &mut self,
        reader: &mut Reader<'_>,
        mode: Read<Mode>,
        identity: Identity,
    ) -> Result<(), Violation> {
        if let Some(warning) = certificate_period(mode.ok(), ".crt", &identity, reader.now())? {
            let stem = stem(identity.certificate_file());
            reader.warn(Warning::Pair(TLS_CERT_DIR.name, stem, Box::new(warning)));
        }
        let names = identity.dns_names();
        if names.is_empty() {
            let why = "has no DNS name (subjectAltName), so that nobody could ask for it";
            return Err(Violation::Variable(".crt", why));
        }
        let pair_of = |name| self.names.get(name).and_then(|pair| self.pairs.get(*pair));
        if let Some((name, other)) = names.iter().find_map(|name| Some((name, pair_of(name)?))) {
            return Err(Violation::NameTwice(
                Quoted::new(name),
                stem(other.certificate_file()),
            ));
        }
        self.add(identity, names);
        Ok(())
    }

    fn add(&mut self, identity: Identity, names: Vec<String>) {
        let number = self.pairs.len();
        self.names.extend(names.into_iter().map(|name| (name, number)));
        self.contents.add(identity.contents().clone());
        self.pairs.push(identity);
    }
}

fn at(stem: Quoted, violation: Violation) -> Violation {
    Violation::Pair(TLS_CERT_DIR.name, stem, Box::new(violation))
}

fn is_refused_as_expired(mode: Read<Mode>, identity: &Identity, now: SystemTime) -> bool {
    matches!(mode, Ok(Mode::Production)) && identity.time_left(now).is_none()
}

/// The pairs of a directory.
fn sources(reader: &mut Reader<'_>, directory: &Path, contents: &Contents) -> Read<Vec<Source>> {
    let name = TLS_CERT_DIR.name;
    if let Some(kind) = contents.failure(directory) {
        return Err(reader.report(Violation::Directory(name, kind)));
    }
    let sources: Vec<Source> = contents
        .paths()
        .filter(|path| path.parent() == Some(directory) && is_half(path, "crt"))
        .map(|path| Source {
            certificate: (".crt", path.to_owned()),
            private_key: (".key", path.with_extension("key")),
        })
        .collect();
    let rule = match sources.len() {
        0 => "holds no pair of files NAME.crt and NAME.key",
        1..=MAX_PAIRS => return Ok(sources),
        _ => "holds more than 256 pairs of files",
    };
    Err(reader.report(Violation::Variable(name, rule)))
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
    Contents::of_regular(paths.iter().map(PathBuf::as_path))
}

fn is_half(path: &Path, extension: &str) -> bool {
    let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    path.extension().is_some_and(|found| found == extension) && !path.file_name().is_some_and(is_hidden)
}

fn stem(path: &Path) -> Quoted {
    Quoted::new(&path.file_stem().unwrap_or_default().to_string_lossy())
}
