//! What callers are shown over TLS, and what they may show.

use std::time::SystemTime;

use admission::mode::Mode;

use crate::file::Contents;
use crate::identity::Identity;
use crate::keys::listener as keys;
use crate::named::NamedCertificates;
use crate::reader::{Read, Reader};
use crate::renewal::{Renewable, judged, or_kept};
use crate::tls::{self, Authorities};
use crate::violation::{Violation, Violations};

/// What the public listener shows over TLS, and what it asks for.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificate of callers who ask for no name, or for one that no other has.
    pub identity: Identity,
    /// Those of callers who ask for their names.
    pub named: Option<NamedCertificates>,
    /// Which certificates callers may show; none where they are not asked for any.
    pub clients: Option<ClientCertificates>,
}

/// The certificates of callers.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// Who must have signed them.
    pub authorities: Authorities,
    /// Whether a caller without one gets no connection.
    pub are_required: bool,
}

impl ClientCertificates {
    fn read(reader: &mut Reader<'_>) -> Read<Option<Self>> {
        let required = reader.parsed(&keys::TLS_CLIENT_AUTH, "require or request", |text| match text {
            "require" => Some(true),
            "request" => Some(false),
            _ => None,
        });
        let authorities = reader.file(&keys::TLS_CLIENT_CA_FILE);
        let authorities =
            authorities.map(|path| reader.judge(Authorities::load(keys::TLS_CLIENT_CA_FILE.name, path)));
        match (authorities.transpose()?, required?) {
            (None, None) => Ok(None),
            (Some(authorities), required) => Ok(Some(Self {
                authorities,
                are_required: required.unwrap_or(true),
            })),
            (None, Some(_)) => Err(reader.report(Violation::Rule(
                "TLS_CLIENT_CA_FILE is required beside TLS_CLIENT_AUTH; set it to the authorities of the callers' certificates",
            ))),
        }
    }
}

impl ServerTls {
    /// Reads the files, if a certificate is named.
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Option<Self>> {
        let identity = tls::read_identity(reader, mode, &keys::TLS_CERT_FILE, &keys::TLS_KEY_FILE);
        let directory = reader.file(&keys::TLS_CERT_DIR);
        let named = directory.map(|directory| NamedCertificates::load(reader, mode, directory));
        let clients = ClientCertificates::read(reader);
        match (identity?, named.transpose()?, clients?) {
            (Some(identity), named, clients) => Ok(Some(Self {
                identity,
                named,
                clients,
            })),
            (None, None, None) => Ok(None),
            (None, _, Some(_)) => Err(reader.report(Violation::Rule(
                "TLS_CLIENT_CA_FILE needs TLS_CERT_FILE and TLS_KEY_FILE: only a caller over TLS can show a certificate",
            ))),
            (None, Some(_), None) => Err(reader.report(Violation::Rule(
                "TLS_CERT_DIR needs TLS_CERT_FILE and TLS_KEY_FILE, for callers who ask for no name in it; set them",
            ))),
        }
    }
}

impl Renewable for ServerTls {
    fn made_of(&self) -> Contents {
        let mut contents = self.identity.contents().clone();
        if let Some(named) = &self.named {
            contents.add(named.contents().clone());
        }
        if let Some(clients) = &self.clients {
            contents.add(clients.authorities.contents().clone());
        }
        contents
    }

    fn look(&self) -> Contents {
        let mut contents = self.identity.contents().read_again();
        if let Some(named) = &self.named {
            contents.add(named.look());
        }
        if let Some(clients) = &self.clients {
            contents.add(clients.authorities.contents().read_again());
        }
        contents
    }

    fn renewed(&self, contents: &Contents, mode: Mode, now: SystemTime) -> (Self, Option<Violations>) {
        judged(now, |reader| {
            let identity = tls::renewed_identity(reader, mode, &self.identity, contents);
            let named = self.named.as_ref();
            let named = named.map(|named| or_kept(named.renewed(reader, mode, contents), named));
            let clients = self.clients.as_ref().map(|clients| ClientCertificates {
                authorities: tls::renewed_authorities(reader, &clients.authorities, contents),
                ..*clients
            });
            Self {
                identity,
                named,
                clients,
            }
        })
    }

    fn identities(&self) -> Vec<&Identity> {
        let named = self.named.iter().flat_map(NamedCertificates::pairs);
        std::iter::once(&self.identity).chain(named).collect()
    }
}
