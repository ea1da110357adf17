//! Certificates and keys for connections to the stores, as PEM text.

use std::fmt;

/// How a TLS connection to a store is secured, beyond what the store's URL says.
#[derive(Clone, Default)]
pub struct PemTls {
    /// Authorities to trust instead of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The certificate that the gateway shows.
    pub identity: Option<PemIdentity>,
}

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct PemIdentity {
    /// The chain, leaf first.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for PemTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemTls")
            .field("authorities", &self.authorities.is_some())
            .field("identity", &self.identity)
            .finish()
    }
}

impl fmt::Debug for PemIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PemIdentity(..)")
    }
}
