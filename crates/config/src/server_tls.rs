//! What callers are shown over TLS.

use std::time::SystemTime;

use admission::mode::Mode;

use crate::file::Contents;
use crate::identity::Identity;
use crate::keys::listener as keys;
use crate::reader::{Read, Reader};
use crate::renewal::{Renewable, judged};
use crate::tls;
use crate::violation::Violations;

/// What the public listener shows over TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificate that callers are shown.
    pub identity: Identity,
}

impl ServerTls {
    /// Reads the files, if a certificate is named.
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Option<Self>> {
        let identity = tls::read_identity(reader, mode, &keys::TLS_CERT_FILE, &keys::TLS_KEY_FILE)?;
        Ok(identity.map(|identity| Self { identity }))
    }
}

impl Renewable for ServerTls {
    fn made_of(&self) -> Contents {
        self.identity.contents().clone()
    }

    fn renewed(&self, contents: &Contents, mode: Mode, now: SystemTime) -> Result<Self, Violations> {
        judged(now, |reader| {
            let source = self.identity.source().clone();
            let identity = tls::judge_identity(reader, Ok(mode), source, contents);
            Ok(Self { identity: identity? })
        })
    }

    fn identities(&self) -> Vec<&Identity> {
        vec![&self.identity]
    }
}
