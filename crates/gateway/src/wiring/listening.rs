//! How the public listener speaks to callers, and to the proxies before them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{Config, ProxyProtocol, ServerTls, Transport};
use forwarding::TrustedProxies;

use super::StartError;
use super::runtime::Runtime;
use crate::ingress::listener::Speaks;
use crate::ingress::proxy_header::ProxyHeaders;
use crate::ingress::tls;
use crate::renewal::Shown;

/// What callers are spoken to in.
pub(super) fn speaks(runtime: &mut Runtime) -> Result<Speaks, StartError> {
    let Transport::Tls(server) = &runtime.config.listener.transport else {
        return Ok(Speaks::Plain);
    };
    let config = Arc::new(ArcSwap::from_pointee(tls::server_config(server)?));
    let renewed = Arc::clone(&config);
    runtime
        .renewal
        .watch(Shown::ToCallers, ServerTls::clone(server), move |server| {
            let config = tls::server_config(server).map_err(|error| format!("TLS: {error}"))?;
            renewed.store(Arc::new(config));
            Ok(())
        });
    Ok(Speaks::Tls(config))
}

/// Which proxies say first whose connection they pass on.
pub(super) fn proxy_headers(config: &Config) -> Option<Arc<ProxyHeaders>> {
    let are_required = match config.listener.proxy_protocol {
        ProxyProtocol::Off => return None,
        ProxyProtocol::Optional => false,
        ProxyProtocol::Required => true,
    };
    let trusted = TrustedProxies::new(config.listener.trusted_proxies.clone());
    Some(Arc::new(ProxyHeaders {
        trusted,
        are_required,
    }))
}
