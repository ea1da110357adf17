//! What callers are shown over TLS.

use std::time::SystemTime;

use admission::mode::Mode;

use crate::file::Contents;
use crate::identity::Identity;
use crate::keys::listener as keys;
use crate::named::NamedCertificates;
use crate::reader::{Read, Reader};
use crate::renewal::{Renewable, judged};
use crate::tls;
use crate::violation::{Violation, Violations};

/// What the public listener shows over TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificate of callers who ask for no name, or for one that no other has.
    pub identity: Identity,
    /// Those of callers who ask for their names.
    pub named: Option<NamedCertificates>,
}

impl ServerTls {
    /// Reads the files, if a certificate is named.
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Option<Self>> {
        let identity = tls::read_identity(reader, mode, &keys::TLS_CERT_FILE, &keys::TLS_KEY_FILE);
        let directory = reader.file(&keys::TLS_CERT_DIR);
        let named = directory.map(|directory| NamedCertificates::load(reader, mode, directory));
        match (identity?, named.transpose()?) {
            (Some(identity), named) => Ok(Some(Self { identity, named })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(reader.report(Violation::Rule(
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
        contents
    }

    fn look(&self) -> Contents {
        let mut contents = self.identity.contents().read_again();
        if let Some(named) = &self.named {
            contents.add(named.look());
        }
        contents
    }

    fn renewed(&self, contents: &Contents, mode: Mode, now: SystemTime) -> Result<Self, Violations> {
        judged(now, |reader| {
            let source = self.identity.source().clone();
            let identity = tls::judge_identity(reader, Ok(mode), source, contents);
            let named = self.named.as_ref();
            let named = named.map(|named| named.made_of(reader, Ok(mode), contents));
            Ok(Self {
                identity: identity?,
                named: named.transpose()?,
            })
        })
    }

    fn identities(&self) -> Vec<&Identity> {
        let named = self.named.iter().flat_map(NamedCertificates::pairs);
        std::iter::once(&self.identity).chain(named).collect()
    }
}
