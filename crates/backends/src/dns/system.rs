//! The system's configuration of name resolution, read again when it changes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use admission::ports::Cause;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};

use super::QUERY_TIMEOUT;
use crate::http::in_words;
use crate::local;

/// Where the system keeps its configuration of name resolution.
#[derive(Clone, Debug)]
pub struct SystemFiles {
    /// The name servers, `resolv.conf(5)`.
    pub resolv_conf: PathBuf,
    /// Names with fixed addresses, `hosts(5)`.
    pub hosts: PathBuf,
    /// The port of the name servers, which the first file cannot say.
    pub port: u16,
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            port: 53,
        }
    }
}

type Servers = (ResolverConfig, ResolverOpts);
/// What tells one content of a file from another: device, inode, size, and when it was written and changed.
type Stamp = Option<(u64, u64, u64, [i64; 4])>;

/// What the files say.
pub(super) struct System {
    servers: Result<Servers, Cause>,
    /// Without name servers it still knows `localhost`.
    pub(super) resolver: Result<TokioResolver, Cause>,
    hosts: HostsFile,
    stamps: [Stamp; 2],
}

/// What the hosts file says.
#[derive(Clone, Default)]
struct HostsFile {
    names: Arc<Hosts>,
    /// At how many looks in a row there was nothing in the file, or none.
    blank: u32,
}

/// From which look on a hosts file without content counts. Before, it is one that is being written.
const BLANK_COUNTS: u32 = 2;

impl System {
    /// What the files say. What this process cannot read now it reads at the next look.
    pub(super) fn read(files: &SystemFiles) -> Self {
        Self::try_read(files, None).unwrap_or_else(|error| {
            let cause = in_words("no name server is configured", &error);
            Self::new(Err(cause), HostsFile::default(), [None; 2])
        })
    }

    /// What the files say now, where they are not those that were read.
    pub(super) fn if_changed(&self, files: &SystemFiles) -> Option<Self> {
        let is_doubtful = self.hosts.blank > 0 && self.hosts.blank < BLANK_COUNTS;
        if stamps(files) == self.stamps && !is_doubtful {
            return None;
        }
        let changed = Self::try_read(files, Some(self)).ok()?;
        tracing::info!("name resolution: the system's configuration was read again");
        Some(changed)
    }

    /// Why there are no name servers, where there are none.
    pub(super) fn without_servers(&self) -> Option<&Cause> {
        self.servers.as_ref().err()
    }

    /// The addresses of a name that is in the hosts file. It has no others then: the library would ask name servers for the
    /// family that is not in the file, and for the name below each search domain first.
    pub(super) fn pinned(&self, name: &Name) -> Option<Arc<[IpAddr]>> {
        let of = |kind| {
            let found = self
                .hosts
                .names
                .lookup_static_host(&Query::query(name.clone(), kind));
            let addresses = found.iter().flat_map(|found| found.answers());
            addresses
                .filter_map(|record| record.data.ip_addr())
                .collect::<Vec<_>>()
        };
        let (mut four, mut six) = (of(RecordType::A), of(RecordType::AAAA));
        if four.is_empty() && six.is_empty() {
            return None;
        }
        // Files often name one family only (RFC 6761 §6.3).
        if name.is_localhost() {
            four.extend(four.is_empty().then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            six.extend(six.is_empty().then_some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        }
        Some([four, six].concat().into())
    }

    /// The absolute names that a name may mean, the first that exists counts (`search` and `ndots`, resolv.conf(5)).
    pub(super) fn names(&self, name: Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        let Ok((config, options)) = &self.servers else {
            return vec![whole];
        };
        if name.is_fqdn() {
            return vec![whole];
        }
        let domains = config.domain().into_iter().chain(config.search());
        // A name that is too long with a domain behind it is none there.
        let mut names: Vec<_> = domains
            .filter_map(|domain| name.clone().append_domain(domain).ok())
            .collect();
        let whole_first = usize::from(name.num_labels()) > options.ndots || name.is_localhost();
        names.insert(if whole_first { 0 } else { names.len() }, whole);
        names.dedup();
        names
    }

    /// A file without name servers is one that is being written: those that are known stay.
    fn try_read(files: &SystemFiles, known: Option<&Self>) -> io::Result<Self> {
        // Before the contents: what is written in between is read, and read again the next time.
        let stamps = stamps(files);
        let (resolv_conf, hosts_file) = (contents(&files.resolv_conf)?, contents(&files.hosts)?);
        let known_servers = known.and_then(|known| known.servers.as_ref().ok());
        let servers = match (servers(resolv_conf, files.port), known_servers) {
            (Err(cause), Some(known)) => {
                tracing::warn!(%cause, "name resolution: the name servers known so far stay in use");
                Ok(known.clone())
            }
            (read, _) => read,
        };
        let hosts = HostsFile::after(known.map(|known| &known.hosts), &hosts_file.unwrap_or_default())?;
        Ok(Self::new(servers, hosts, stamps))
    }

    fn new(servers: Result<Servers, Cause>, hosts: HostsFile, stamps: [Stamp; 2]) -> Self {
        let none = |_| {
            (
                ResolverConfig::from_name_servers(Vec::new()),
                ResolverOpts::default(),
            )
        };
        Self {
            resolver: resolver(servers.clone().unwrap_or_else(none)),
            servers,
            hosts,
            stamps,
        }
    }
}

impl HostsFile {
    /// What the file says, after what it said before.
    fn after(known: Option<&Self>, content: &[u8]) -> io::Result<Self> {
        let blank = match (content.trim_ascii().is_empty(), known) {
            (false, _) => 0,
            (true, Some(known)) => known.blank.saturating_add(1),
            (true, None) => BLANK_COUNTS,
        };
        if let Some(known) = known
            && blank > 0
            && blank < BLANK_COUNTS
        {
            tracing::warn!(
                "name resolution: the hosts file is empty or gone; what it said stays in use for now"
            );
            let names = Arc::clone(&known.names);
            return Ok(Self { names, blank });
        }
        let mut names = Hosts::default();
        names.read_hosts_conf(String::from_utf8_lossy(content).as_bytes())?;
        Ok(Self {
            names: Arc::new(names),
            blank,
        })
    }
}

fn servers(resolv_conf: io::Result<Vec<u8>>, port: u16) -> Result<Servers, Cause> {
    let parsed = resolv_conf.map_err(NetError::from).and_then(parse_resolv_conf);
    let (mut config, options) = parsed.map_err(|error| in_words("no name server is configured", &error))?;
    let servers = config.name_servers.iter_mut();
    servers
        .flat_map(|server| &mut server.connections)
        .for_each(|connection| connection.port = port);
    Ok((config, options))
}

fn resolver((config, mut options): Servers) -> Result<TokioResolver, Cause> {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = options.timeout.min(QUERY_TIMEOUT);
    options.attempts = options.attempts.min(1);
    // The library would read the system's own, once.
    options.use_hosts_file = ResolveHosts::Never;
    // Answers are remembered by whoever asks; the aliases on the way to them bound for how long.
    options.cache_size = 0;
    options.preserve_intermediates = true;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|error| in_words("name resolution cannot be set up", &error))
}

/// What a file holds, or why it cannot be read.
///
/// # Errors
/// This process lacks what it needs to read it, which says nothing about the file.
fn contents(path: &Path) -> io::Result<io::Result<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if local::cause(String::new(), &error).is_local() => Err(error),
        read => Ok(read),
    }
}

fn stamps(files: &SystemFiles) -> [Stamp; 2] {
    [&files.resolv_conf, &files.hosts].map(|path| {
        let about = std::fs::metadata(path).ok()?;
        let times = [
            about.mtime(),
            about.mtime_nsec(),
            about.ctime(),
            about.ctime_nsec(),
        ];
        Some((about.dev(), about.ino(), about.size(), times))
    })
}
