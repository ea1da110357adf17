//! Certificates and keys for connections to the stores, as PEM text.

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
